"""Claims about several processes: they train what one would, and none waits for another."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from callbacks.ema import LIVE_KEY
from lightning_modules.distribution import ShardedStrategy, trainable_parts
from tests.lightning_modules.shared_training import (
    JOBS,
    evaluate,
    read_notes,
    train,
    weights_of,
    write_data,
)
from tests.lightning_modules.small_parts import run_two

WORKER = Path(__file__).with_name("shared_training.py")
SLOW = pytest.mark.slow
EACH_JOB = pytest.mark.parametrize("job", JOBS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where one process has trained alone, and then two together, each of JOBS."""
    folder = tmp_path_factory.mktemp("shared_training")
    write_data(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two: several would add up their parts in another order
    train(folder, "one", batch_size=8, strategy="auto", resume=None)
    evaluate(folder, "evaluated_one")
    torch.set_num_threads(threads)
    run_two(WORKER, folder)
    return folder


def difference(folder: Path, one: str, two: str, key: str = "state_dict") -> float:
    """The greatest absolute difference of two checkpoints' weights, which have the same names."""
    first, second = weights_of(folder / f"{one}.ckpt", key), weights_of(folder / f"{two}.ckpt", key)
    assert first.keys() == second.keys()
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


@SLOW
@EACH_JOB
@pytest.mark.parametrize("key", [LIVE_KEY, "state_dict"])
def test_two_processes_have_the_weights_and_averages_of_one(
    trained: Path, job: str, key: str
) -> None:
    assert difference(trained, "one", job, key) < 1e-6


@SLOW
@pytest.mark.parametrize("job", ["ddp", "sharded"])
def test_checkpoint_in_mid_epoch_is_the_one_that_one_process_saves(trained: Path, job: str) -> None:
    assert difference(trained, "one_half", f"{job}_half", LIVE_KEY) < 1e-6


@SLOW
@EACH_JOB
def test_uneven_shares_of_validation_count_each_image_once(trained: Path, job: str) -> None:
    (one,), (first, second) = read_notes(trained, "one"), read_notes(trained, job)
    assert len(first["rows"]) != len(second["rows"])
    assert sorted(first["rows"] + second["rows"]) == one["rows"]
    for notes in (first, second):
        assert notes["figures"] == pytest.approx(one["figures"], abs=1e-5)


@SLOW
def test_one_process_goes_on_from_what_two_have_saved_sharded(trained: Path) -> None:
    half = trained / "sharded_half.ckpt"
    train(trained, "continued", batch_size=8, strategy="auto", resume=half)
    assert difference(trained, "one", "continued", LIVE_KEY) < 1e-6
    assert difference(trained, "one", "continued") < 1e-6


@SLOW
def test_two_processes_test_each_image_once_and_have_the_figures_of_one(trained: Path) -> None:
    (one,) = read_notes(trained, "evaluated_one")
    first, second = read_notes(trained, "evaluated_two")
    assert len(first["rows"]) == len(second["rows"]) + 1
    assert sorted(first["rows"] + second["rows"]) == one["rows"]
    for kind in ("figures", "curves"):  # to the last bit
        assert repr(first[kind]) == repr(second[kind]) == repr(one[kind])
    for name in ("iou_image", "pixel_auroc", "aupro", "recall_small"):
        assert 0 < one["figures"][f"mask/test/{name}"] < 1


@SLOW
def test_processes_that_shard_validate_and_end_with_the_first_ones_batch_statistics(
    trained: Path,
) -> None:
    first, second = (json.loads((trained / f"norm_{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert 0 < first[0][0] < 0.19  # of two steps a tenth each, of numbers under 1


def test_parts_that_train_are_the_outermost_ones_that_are_called(tmp_path: Path) -> None:
    model = nn.Module()
    model.box = nn.ModuleList([nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2)])
    model.frozen = nn.Linear(2, 2).requires_grad_(False)
    assert list(trainable_parts(model)) == list(model.box)


def test_part_that_trains_by_half_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"0 \(Linear\) holds trainable weights beside frozen"):
        list(trainable_parts(model))


def test_units_of_no_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="unit_weights: got 0, expected 1 or more"):
        ShardedStrategy(unit_weights=0)
