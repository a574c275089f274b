"""Claims about when training is saved, and what a disk that refuses does to it."""

from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision

from callbacks.checkpoint import SafeCheckpoint, StopSignal
from callbacks.checkpoint_file import file_sha256
from callbacks.ema import LIVE_KEY, WeightEma
from tests.callbacks.saved_training import PlacedBatches, saved_steps, trainer_of
from tests.callbacks.toy_training import ToyModule, toy_loader


class Witness(SafeCheckpoint):
    """Notes after which steps something was saved."""

    def __init__(self, every_steps: int, keep: int = 2) -> None:
        super().__init__(every_steps, keep)
        self.steps: list[int] = []

    def save(self, trainer: Trainer, *, validation_pending: bool = False) -> None:
        super().save(trainer, validation_pending=validation_pending)
        self.steps.append(trainer.global_step)


def fit(folder: Path, checkpoint: SafeCheckpoint, **settings: int) -> ToyModule:
    module = ToyModule()
    trainer_of(folder, [checkpoint], **settings).fit(module, PlacedBatches())  # type: ignore[arg-type]
    return module


def test_training_is_saved_every_so_many_steps_and_each_epoch(tmp_path: Path, seed: int) -> None:
    witness = Witness(3)
    fit(tmp_path, witness, max_epochs=3)
    assert witness.steps == [3, 4, 6, 8, 9, 12]


def test_so_many_are_kept(tmp_path: Path, seed: int) -> None:
    fit(tmp_path, Witness(1, keep=3))
    assert saved_steps(tmp_path) == [6, 7, 8]


def test_steps_are_optimizer_steps_and_none_is_saved_within_one(tmp_path: Path, seed: int) -> None:
    witness = Witness(1, keep=9)
    fit(tmp_path, witness, accumulate=2, max_epochs=1)
    assert witness.steps == [1, 2]


def test_checkpoint_is_plain_and_holds_averages_and_training_weights(
    tmp_path: Path, seed: int
) -> None:
    module = ToyModule()
    trainer_of(tmp_path, [WeightEma(), SafeCheckpoint()]).fit(module, PlacedBatches())  # type: ignore[arg-type]
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["state_dict"]["head.weight"].equal(module.head.weight)
    assert not saved[LIVE_KEY]["head.weight"].equal(module.head.weight)


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_resume_ends_where_an_unbroken_training_ends(step: int, tmp_path: Path, seed: int) -> None:
    whole = ToyModule()
    start = {name: value.clone() for name, value in whole.state_dict().items()}
    trainer_of(tmp_path / "a", [WeightEma(), SafeCheckpoint(1, 9)]).fit(whole, PlacedBatches())  # type: ignore[arg-type]
    resumed = ToyModule()
    resumed.load_state_dict(start)
    trainer_of(tmp_path / "b", [WeightEma(), SafeCheckpoint(1, 9)]).fit(
        resumed,
        PlacedBatches(),  # type: ignore[arg-type]
        ckpt_path=tmp_path / "a" / "checkpoints" / f"step_{step:08d}.ckpt",
        weights_only=True,
    )
    assert saved_steps(tmp_path / "b")[-1] == 8
    assert resumed.head.weight.equal(whole.head.weight)


def test_loss_scale_of_mixed_precision_is_carried_over(tmp_path: Path, seed: int) -> None:
    def scaled(**settings: float) -> MixedPrecision:
        return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", **settings))

    first = scaled(init_scale=2.0, growth_interval=2)
    trainer_of(tmp_path, [], max_epochs=1, precision=first).fit(ToyModule(), PlacedBatches())  # type: ignore[arg-type]
    second = scaled(init_scale=1.0)
    trainer_of(tmp_path, [], max_epochs=1, precision=second).fit(
        ToyModule(),
        PlacedBatches(),  # type: ignore[arg-type]
        ckpt_path=tmp_path / "checkpoints" / "last.ckpt",
        weights_only=True,
    )
    assert second.state_dict() == first.state_dict() and first.scaler.get_scale() == 8.0  # type: ignore[union-attr]


def test_full_disk_keeps_the_last_good_checkpoint_and_training_goes_on(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Filling(Witness):
        def save(self, trainer: Trainer, *, validation_pending: bool = False) -> None:
            if trainer.global_step == 5:
                monkeypatch.setattr("callbacks.checkpoint_file.os.fsync", refuse)
            super().save(trainer, validation_pending=validation_pending)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    logger = CSVLogger(tmp_path, "csv", "")
    trainer = trainer_of(tmp_path, [Filling(1)], logger=logger)
    trainer.fit(ToyModule(), PlacedBatches())  # type: ignore[arg-type]
    assert trainer.global_step == 8 and saved_steps(tmp_path) == [3, 4]
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 4
    assert "No space left on device" in caplog.text and "free space" in caplog.text
    assert "perf/failed_checkpoints" in (tmp_path / "csv" / "metrics.csv").read_text()


def test_disk_that_recovers_is_saved_to_again(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def refuse_once(path: Path) -> str:
        calls.append(path)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        return file_sha256(path)

    monkeypatch.setattr("callbacks.checkpoint_file.file_sha256", refuse_once)
    fit(tmp_path, SafeCheckpoint(3), max_epochs=1)
    assert saved_steps(tmp_path) == [4]


def test_validation_that_a_stop_cut_off_is_done_anew(tmp_path: Path, seed: int) -> None:
    class Stopping(ToyModule):
        def validation_step(self, batch: object, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)  # type: ignore[arg-type]
            if self.stop is not None and batch_idx == 1:
                self.stop.requested = "SIGTERM"

    module, stop = Stopping(), StopSignal()
    module.stop = stop
    with pytest.raises(BaseException, match="stopped by SIGTERM at step 4, step 4 is saved"):
        trainer_of(tmp_path, [stop]).fit(module, PlacedBatches(), toy_loader(3))  # type: ignore[arg-type]
    assert len(module.validated) == 2
    resumed = Stopping()
    resumed.stop = None
    trainer = trainer_of(tmp_path, [StopSignal()])
    trainer.fit(
        resumed,
        PlacedBatches(),  # type: ignore[arg-type]
        toy_loader(3),
        ckpt_path=tmp_path / "checkpoints" / "last.ckpt",
        weights_only=True,
    )
    assert len(resumed.validated) == 2 * 3 and trainer.global_step == 8


class Shared(SafeCheckpoint):
    """One whose data has so many samples a batch."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        trainer.datamodule = self  # type: ignore[attr-defined]

    def plan(self, process_count: int) -> "Shared":
        return self

    @property
    def device_batch_size(self) -> int:
        return self.samples


def test_other_number_of_samples_a_step_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, [one := Shared(8)])
    trainer.datamodule, trainer.state.fn = one, "fit"  # type: ignore[attr-defined,assignment]
    progress = {"samples_per_batch": 4, "samples_per_step": 4}
    saved = {"progress": progress, "global_step": 4}
    with pytest.raises(
        ValueError, match=r"with 4 samples a step, got 8: set .*global_batch_size to 4"
    ):
        one.on_load_checkpoint(trainer, ToyModule(), saved)


@pytest.mark.parametrize("settings", [{"every_steps": 0}, {"keep": 1}])
def test_settings_that_would_lose_work_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="checkpoints: got every_steps"):
        SafeCheckpoint(**settings)
