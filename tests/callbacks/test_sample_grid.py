"""Holds when SampleGrid draws, from which captions, and that it leaves the module as it was."""

from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from callbacks.sample_grid import SampleGrid
from datamodules.sample import Batch, Sample, collate


def samples(kind: str) -> list[Sample]:
    return [
        Sample(torch.zeros(3, 16, 16), torch.zeros(16, 16).long(), False, f"{kind} {row}", (), row)
        for row in range(4)
    ]


class Dreams(LightningModule):
    """Generates flat images and notes how it was asked; trains one number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.frozen_part = torch.nn.Dropout().eval()
        self.asked: list[tuple[list[str], int, int, bool, bool]] = []

    def generate(self, captions: list[str], *, seed: int, steps: int) -> Tensor:
        has_gradient = (self.weight * 1).requires_grad
        self.asked.append((list(captions), seed, steps, self.training, has_gradient))
        return torch.zeros(len(captions), 3, 16, 16)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        assert self.training
        return self.weight**2

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module: Dreams, callback: SampleGrid, folder: Path, *, epochs: int, has_val: bool) -> None:
    trainer = Trainer(
        default_root_dir=folder,
        callbacks=[callback],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=epochs,
    )
    train, val = (
        DataLoader(samples(kind), batch_size=2, collate_fn=collate)  # type: ignore[arg-type]
        for kind in ("train", "val")
    )
    trainer.fit(module, train, val if has_val else None)


def pictures_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("pictures/*.png"))


def test_pictures_come_every_few_epochs_and_at_the_end(tmp_path: Path) -> None:
    fit(Dreams(), SampleGrid(3, every_n_epochs=2), tmp_path, epochs=5, has_val=True)
    assert pictures_in(tmp_path) == ["samples_10.png", "samples_4.png", "samples_8.png"]


def test_the_end_is_not_drawn_twice(tmp_path: Path) -> None:
    module = Dreams()
    fit(module, SampleGrid(3, every_n_epochs=1), tmp_path, epochs=2, has_val=True)
    assert len(module.asked) == 2


def test_captions_are_those_of_validation_images_and_stay_the_same(tmp_path: Path) -> None:
    module = Dreams()
    callback = SampleGrid(3, every_n_epochs=1, sampling_steps=7, seed=5)
    fit(module, callback, tmp_path, epochs=2, has_val=True)
    first, second = module.asked
    assert first == second == (["val 0", "val 1", "val 2"], 5, 7, False, False)


def test_captions_are_spread_over_the_validation_split(tmp_path: Path) -> None:
    module = Dreams()
    fit(module, SampleGrid(2, every_n_epochs=1), tmp_path, epochs=1, has_val=True)
    assert module.asked[0][0] == ["val 0", "val 2"]


def test_without_validation_the_end_shows_training_captions(tmp_path: Path) -> None:
    module = Dreams()
    fit(module, SampleGrid(2, every_n_epochs=1), tmp_path, epochs=2, has_val=False)
    assert [captions for captions, *_ in module.asked] == [["train 0", "train 1"]]
    assert pictures_in(tmp_path) == ["samples_4.png"]


def test_parts_keep_their_own_mode(tmp_path: Path) -> None:
    module = Dreams()
    fit(module, SampleGrid(2, every_n_epochs=1), tmp_path, epochs=1, has_val=False)
    assert module.training
    assert not module.frozen_part.training


def test_cached_latents_without_validation_draw_nothing(tmp_path: Path) -> None:
    callback, batch = SampleGrid(image_count=2), collate(samples("train")[:2])
    batch.image = batch.image[..., :0, :0]
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False)
    callback.on_train_batch_end(trainer, Dreams(), None, batch, 0)
    callback.on_fit_end(trainer, Dreams())
    assert not list(tmp_path.rglob("*.png"))
