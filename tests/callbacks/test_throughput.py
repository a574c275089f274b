"""Claims about what is counted as training speed; never about how fast."""

from pathlib import Path

import pytest

from callbacks.throughput import Throughput
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


def test_first_steps_are_not_counted(tmp_path: Path) -> None:
    throughput = Throughput(skip_steps=3)
    toy_trainer(tmp_path, [throughput]).fit(ToyModule(), toy_loader(4))
    assert throughput.image_count == 2
    assert throughput.seconds > 0


def test_speed_is_a_metric(tmp_path: Path) -> None:
    throughput = Throughput(skip_steps=0)
    trainer = toy_trainer(tmp_path, [throughput])
    trainer.fit(ToyModule(), toy_loader(4))
    logged = float(trainer.callback_metrics["perf/images_per_s"])
    assert logged == pytest.approx(throughput.images_per_s, rel=1e-4)


def test_run_shorter_than_the_skip_has_no_speed(tmp_path: Path) -> None:
    throughput = Throughput(skip_steps=10)
    trainer = toy_trainer(tmp_path, [throughput])
    trainer.fit(ToyModule(), toy_loader(4))
    assert throughput.images_per_s == 0.0
    assert "perf/images_per_s" not in trainer.callback_metrics


def test_test_says_what_an_image_took(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, [Throughput()])
    (results,) = trainer.test(ToyModule(), toy_loader(3), verbose=False)
    assert results["perf/test_ms_per_image"] > 0


def test_negative_skip_is_refused() -> None:
    with pytest.raises(ValueError, match="skip_steps: got -1"):
        Throughput(-1)
