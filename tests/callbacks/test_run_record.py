"""Claims about what a run record, the frozen audit, progress lines and the speed say of a run."""

import json
import logging
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning import Callback, LightningDataModule
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks.checkpoint import SafeCheckpoint
from callbacks.ema import WeightEma
from callbacks.finite_guard import FiniteGuard
from callbacks.frozen_audit import FrozenAudit, checksum
from callbacks.progress import PlainProgress
from callbacks.run_record import RunRecord, git_state
from callbacks.throughput import Throughput, time_alone
from datamodules.sample import Batch
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


class ToyData(LightningDataModule):
    """Toy batches with the hashes of a manifest."""

    index = SimpleNamespace(
        source="tiles",
        sha256="aa",
        split_sha256="bb",
        leaks=0,
        rows_of=lambda split: range({"train": 6, "val": 2, "test": 3}[split]),
    )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Four batches."""
        return toy_loader()


class NotingLogger(CSVLogger):
    """A logger that keeps tags and data in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tags: dict[str, str] = {}
        self.said: list[object] = []

    def log_tags(self, tags: dict[str, str]) -> None:
        self.tags |= tags

    def log_dataset(self, name: str, digest: str, counts: dict[str, int]) -> None:
        self.said.append((name, digest, counts))


def test_record_and_tracker_know_code_packages_data_and_parameters(tmp_path: Path) -> None:
    logger, module = NotingLogger(tmp_path), ToyModule()
    module.tied = nn.Linear(3, 1, bias=False)
    module.tied.weight = module.head.weight  # counts in both, once in the total
    toy_trainer(tmp_path, [RunRecord()], logger=logger).fit(module, datamodule=ToyData())
    record = json.loads((tmp_path / "run_record.json").read_text())
    data = {"dataset": "tiles", "manifest_sha256": "aa", "split_sha256": "bb", "leaks": "0"}
    assert record["data"] == data
    assert record["parameters"] == {
        "backbone": {"trainable": 0, "frozen": 12},
        "head": {"trainable": 4, "frozen": 0},
        "tied": {"trainable": 3, "frozen": 0},
        "total": {"trainable": 4, "frozen": 12},
    }
    assert record["packages"]["torch"].startswith("2.")
    assert set(record["git"]) == {"commit", "dirty"} and record["model"].endswith("ToyModule")
    images = ("tiles", "aa", {"train": 6, "val": 2, "test": 3})
    assert logger.said == [images]
    assert logger.tags.items() >= (data | {"parameters_trainable": "4"}).items()


def test_test_without_training_is_recorded_too(tmp_path: Path) -> None:
    toy_trainer(tmp_path, [RunRecord()]).test(ToyModule(), toy_loader(1), verbose=False)
    assert json.loads((tmp_path / "run_record.json").read_text())["data"] == {}


def test_dirty_tree_is_told_from_a_clean_one_and_from_none(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": "unknown", "dirty": "unknown"}
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True)
    assert git_state(tmp_path)["dirty"] == "no"
    (tmp_path / "new.py").touch()
    assert git_state(tmp_path)["dirty"] == "yes"


class Leaky(ToyModule):
    """Changes a frozen weight by hand."""

    def on_train_batch_end(self, *rest: object) -> None:
        self.backbone.bias.data[1] += 1e-6


class Normed(ToyModule):
    """Leaves a frozen norm in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3).requires_grad_(False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.norm(batch.image)
        return super().training_step(batch, batch_idx)


def test_frozen_tensor_that_moves_stops_the_run_and_others_pass(tmp_path: Path) -> None:
    audit = FrozenAudit()
    toy_trainer(tmp_path, [audit]).fit(ToyModule(), toy_loader())
    assert set(audit.checksums) == {"backbone.weight", "backbone.bias"}
    with pytest.raises(RuntimeError, match=r"1 of 2 frozen tensors moved.*backbone\.bias"):
        toy_trainer(tmp_path, [FrozenAudit()]).fit(Leaky(), toy_loader())
    with pytest.raises(RuntimeError, match=r"norm\.running_mean.*training mode"):
        toy_trainer(tmp_path, [FrozenAudit()]).fit(Normed(), toy_loader())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_checksum_sees_one_changed_number_and_no_memory_layout(dtype: torch.dtype) -> None:
    tensor = torch.arange(15).reshape(5, 3).to(dtype)
    before = checksum(tensor)
    assert checksum(tensor.t().contiguous().t()) == before
    tensor[4, 2] += 1
    assert checksum(tensor) != before


def test_one_line_every_so_many_steps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="callbacks.progress")
    trainer = toy_trainer(tmp_path, [PlainProgress(every_steps=2)])
    trainer.fit(ToyModule(), toy_loader(5), toy_loader(1))
    records = [record for record in caplog.records if record.name == "callbacks.progress"]
    first, second, third = (record.getMessage() for record in records)
    assert first.startswith("step 2, epoch 0: loss ") and second.startswith("step 4,")
    assert "steps/s" in first and "images/s" in first
    assert third == "validated at step 5: mask/val/iou_image 0.5000"


def test_a_line_says_the_loss_of_the_crops_however_many_passes_a_step_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="callbacks.progress")
    trainer = toy_trainer(tmp_path, [PlainProgress(every_steps=1)])
    trainer.accumulate_grad_batches = 2
    trainer.fit(ToyModule(), toy_loader(2))
    logged = float(trainer.callback_metrics["mask/train/loss"])
    said = [one.getMessage() for one in caplog.records if one.name == "callbacks.progress"]
    assert f"loss {logged:.4f}," in said[-1]


def test_speed_is_a_metric_and_leaves_the_first_steps_out(tmp_path: Path) -> None:
    throughput = Throughput(skip_steps=3)
    trainer = toy_trainer(tmp_path, [throughput])
    trainer.fit(ToyModule(), toy_loader(4))
    assert throughput.image_count == 2
    logged = float(trainer.callback_metrics["perf/images_per_s"])
    assert logged == pytest.approx(2 / throughput.seconds, rel=1e-4)
    minutes = float(trainer.callback_metrics["perf/train_minutes"])
    assert minutes >= throughput.seconds / 60
    (results,) = trainer.test(ToyModule(), toy_loader(3), verbose=False)
    assert results["perf/test_ms_per_image"] > 0
    assert 0 < float(trainer.callback_metrics["perf/peak_memory_mb"]) < 1e6


def test_time_of_an_image_holds_its_share_of_the_look_at_all() -> None:
    looks: list[int] = []

    class ScoresByOthers(ToyModule):
        def look_at(self, images: Iterable[Tensor]) -> None:
            looks.append(len(list(images)))

        def predict_images(self, images: Sequence[Tensor]) -> list[Tensor]:
            assert looks
            return super().predict_images(images)

    assert time_alone(ScoresByOthers(), [torch.zeros(3, 8, 8)] * 5) > 0
    # Once to warm up, once on time.
    assert looks == [5, 5]


@pytest.mark.parametrize(
    ("callback", "setting"),
    [
        (PlainProgress, {"every_steps": 0}),
        (FiniteGuard, {"max_consecutive": 0}),
        (WeightEma, {"decay": 1.0}),
        (WeightEma, {"decay": -0.1}),
        (SafeCheckpoint, {"every_steps": 0}),
        (SafeCheckpoint, {"keep": 1}),
    ],
)
def test_numbers_that_mean_nothing_are_refused(
    callback: type[Callback], setting: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match=f"got.*{min(setting.values())}.*expected"):
        callback(**setting)
