"""Both stages at their smallest, and four defect images: what nets and stages are tried on."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.autoencoder import DctAutoencoder
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.image_encoder import TimmImageEncoder
from lightning_modules.nets.mask_generator import MaskGenerator
from lightning_modules.nets.text_encoder import HashedTextEncoder
from lightning_modules.weights_io import RANDOM, SavedStage, read_stage

ROOT = Path(__file__).parents[2]
SIDE_PX = 64
NAMES = ("crack", "stain")

small_denoiser = partial(
    Denoiser,
    block_channels=(16, 16, 32),
    attention=(False, False, True),
    layers_per_block=1,
    attention_heads=2,
    norm_groups=8,
)
small_tower = partial(TimmImageEncoder, "test_resnet")


def small_diffusion() -> DiffusionModel:
    """A diffusion model of about 0.6 M weights; its coarsest stride is 32 px."""
    return DiffusionModel(
        DctAutoencoder(), HashedTextEncoder(16), small_tower(), denoiser=small_denoiser
    )


def small_generator(strides: tuple[int, ...] = (4, 8, 16, 32)) -> MaskGenerator:
    """A mask generator with 6 queries and 2 layers."""
    return MaskGenerator(
        width=32,
        mask_queries=6,
        transformer_layers=2,
        pixel_decoder_layers=1,
        attention_heads=4,
        feedforward_width=32,
        pixel_feedforward_width=32,
        strides=strides,
    )


def small_finetune(
    pretrained: str = RANDOM, *, names: tuple[str, ...] = NAMES, **settings: object
) -> MaskFinetune:
    """Stage 2 over `small_diffusion` that names `names`."""
    small = {"base_learning_rate": 2e-3, "warmup_steps": 5, "point_count": 256, "stem": True}
    small |= {"tile_px": SIDE_PX, "tile_overlap_px": 16, **settings}
    model = MaskFinetune(small_diffusion(), small_generator(), pretrained, **small)  # type: ignore[arg-type]
    model.set_vocabulary(Vocabulary.from_names(names))
    return model


def defect_batch(turn: int = 0) -> Batch:
    """Four images of 64 px: two bright cracks and a dark stain with exact masks, and a good one.

    turn: the how-many-eth time they are drawn, which seeds their noise.
    """
    image = torch.full((4, 3, SIDE_PX, SIDE_PX), 0.1)
    image += 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(4, SIDE_PX, SIDE_PX, dtype=torch.int64)
    for index, (class_id, value) in enumerate([(1, 0.9), (2, -0.9), (1, 0.9)]):
        top = 8 + 12 * index
        image[index, :, top : top + 20, 12:40] = value
        mask[index, top : top + 20, 12:40] = class_id
    return Batch(
        image=image,
        mask=mask,
        has_mask=torch.ones(4, dtype=torch.bool),
        is_box=torch.zeros(4, dtype=torch.bool),
        captions=["steel with crack", "steel with stain", "steel with crack", "steel, no defect"],
        class_ids=[(1,), (2,), (1,), ()],
        row=torch.arange(4),
        seeds=list(range(4 * turn, 4 * turn + 4)),
    )


class FourImages(LightningDataModule):
    """The one batch of `defect_batch`, again and again."""

    def __init__(self, steps_per_epoch: int) -> None:
        super().__init__()
        self.vocabulary = Vocabulary.from_names(NAMES)
        self.steps_per_epoch = steps_per_epoch
        self.train_transform = SimpleNamespace(size_px=SIDE_PX, variants=None)

    def batches_per_epoch(self, process_count: int) -> int:
        """As many as there are steps."""
        return self.steps_per_epoch

    def train_dataloader(self) -> DataLoader[Batch]:
        """As many batches as an epoch has steps."""
        batches = [defect_batch(turn) for turn in range(self.steps_per_epoch)]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class LossRecord(Callback):
    """The loss of each training step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: dict[str, Tensor],
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note the loss."""
        self.losses.append(float(outputs["loss"]))

    def mean(self, first: int, last: int) -> float:
        """The mean loss of the steps from `first` up to `last`."""
        return sum(self.losses[first:last]) / (last - first)


def train(module: LightningModule, folder: Path, *, steps: int) -> LossRecord:
    """The losses of `steps` steps on the four images, trained for real on the CPU."""
    record = LossRecord()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        default_root_dir=folder,
        callbacks=[record],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
    )
    trainer.fit(module, FourImages(steps))
    return record


def save(module: LightningModule, path: Path) -> SavedStage:
    """What a checkpoint of the module, written to `path`, is read as."""
    checkpoint: dict[str, object] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return read_stage(path)


def run_two(worker: Path, folder: Path) -> None:
    """Two processes that run the file `worker` on the folder together."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(worker), str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
