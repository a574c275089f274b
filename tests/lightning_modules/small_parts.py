"""Both stages at their smallest, and four defect images: what nets and stages are tried on."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.autoencoder import Autoencoder, DctAutoencoder, KlAutoencoder
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


def small_diffusion(
    autoencoder: Autoencoder | None = None, *, tower: str = "test_resnet", **denoiser: object
) -> DiffusionModel:
    """A diffusion model of about 0.6 M weights; its coarsest stride is 32 px."""
    return DiffusionModel(
        autoencoder or DctAutoencoder(),
        HashedTextEncoder(16),
        TimmImageEncoder(tower),
        denoiser=partial(small_denoiser, **denoiser),  # type: ignore[arg-type]
    )


def small_vae(folder: Path | str = "", *, layers_per_block: int = 2) -> KlAutoencoder:
    """A KL-VAE of few channels, for the weights in a folder."""
    channels = (8, 16, 24, 32)
    return KlAutoencoder(
        str(folder), block_channels=channels, norm_groups=4, layers_per_block=layers_per_block
    )


def awake_diffusion() -> DiffusionModel:
    """A small model whose denoiser predicts something and hears its text, measured and frozen."""
    torch.manual_seed(0)
    diffusion = small_diffusion(zero_init=False).eval().requires_grad_(False)
    diffusion.measure(defect_batch().image)
    return diffusion


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


def batch_of(mask: Tensor | np.ndarray, **changes: object) -> Batch:
    """A batch of exact masks (B, H, W), whose other parts say nothing more, but for the changes."""
    mask = torch.as_tensor(mask)
    count = len(mask)
    batch = Batch(
        image=torch.zeros(count, 3, *mask.shape[1:]),
        mask=mask,
        has_mask=torch.ones(count, dtype=torch.bool),
        is_box=torch.zeros(count, dtype=torch.bool),
        captions=[""] * count,
        class_ids=[tuple(one.unique()[one.unique() > 0].tolist()) for one in mask],
        row=torch.arange(count),
        seeds=list(range(count)),
    )
    return replace(batch, **changes)  # type: ignore[arg-type]


def rows_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch."""
    parts = {each.name: getattr(batch, each.name) for each in fields(batch)}
    chosen = {
        name: [part[row] for row in rows] if isinstance(part, list) else part[list(rows)]
        for name, part in parts.items()
        if part is not None and len(part)
    }
    return Batch(**chosen)


def measured_finetune(**settings: object) -> MaskFinetune:
    """`small_finetune` from seed 0, its scale fitted to `defect_batch`."""
    torch.manual_seed(0)
    model = small_finetune(**settings)  # type: ignore[arg-type]
    model.measure(defect_batch().image)
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
    captions = ["steel with crack", "steel with stain", "steel with crack", "steel, no defect"]
    seeds = list(range(4 * turn, 4 * turn + 4))
    return batch_of(mask, image=image, captions=captions, seeds=seeds)


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


def quiet_trainer(folder: Path, **settings: object) -> Trainer:
    """A trainer of one epoch on the CPU that says and keeps nothing."""
    defaults = {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": folder}
    outputs = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(**{**defaults, **dict.fromkeys(outputs, False), **settings})  # type: ignore[arg-type]


def train(module: LightningModule, folder: Path, *, steps: int) -> LossRecord:
    """The losses of `steps` steps on the four images, trained for real on the CPU."""
    record = LossRecord()
    trainer = quiet_trainer(folder, callbacks=[record], gradient_clip_val=1.0)
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
