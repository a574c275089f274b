"""Claims about which run goes on, from which checkpoint, and that all its processes agree."""

import logging
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import Namespace

from callbacks.checkpoint import KEY, publish, step_path, write_checkpoint
from experiments.checkpoints import write_configuration
from experiments.config import load_config, parse_stage
from experiments.resume import (
    PLACE_VARIABLE,
    agree,
    check_same,
    hold,
    metrics_of_the_end,
    newest_valid,
    release,
    run_directory,
)
from experiments.tracking import write_results

CONTENT: dict[str, object] = {KEY: {"metrics": {}}, "weight": torch.arange(1000)}


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """No trace of this test in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (PLACE_VARIABLE, "LOCAL_RANK"):
            patch.setenv(name, "")
            patch.delenv(name)
        yield


@cache
def stage(**overrides: object) -> Namespace:
    pairs = {key.replace("__", "."): str(value) for key, value in overrides.items()}
    return parse_stage(load_config(["stage1_tiny.yaml"], pairs))


def place(output: Path, choice: str, name: str = "one") -> tuple[str, str | None]:
    """The names of directory and checkpoint that a run in `output` gets."""
    one = stage().clone()
    one.output, one.name = str(output), name
    with run_directory(one, choice) as (directory, checkpoint):
        assert directory.parent == output / "runs"
        return directory.name, checkpoint and checkpoint.name


def begun(output: Path, name: str = "one", *, finished: bool = False) -> Path:
    """The directory of a run that has begun."""
    directory = output / "runs" / name
    write_configuration(stage(), directory)
    if finished:
        write_results(directory, {"a": 1.0})
    return directory


def saved(directory: Path, *steps: int) -> Path:
    """The directory with checkpoints of these steps; the folder of them."""
    for step in steps:
        write_checkpoint(CONTENT, step_path(directory / "checkpoints", step))
    return directory / "checkpoints"


def test_auto_takes_the_newest_unfinished_run_of_the_name_never_a_new_one(tmp_path: Path) -> None:
    for name in ("one", "one-2", "one-10", "one-two", "other"):
        begun(tmp_path, name)
    begun(tmp_path, "one-11", finished=True)
    assert place(tmp_path, "auto") == ("one-10", None)
    assert place(tmp_path, "never") == ("one-3", None)


def test_auto_begins_a_new_run_and_says_so_unless_a_finished_one_waits_for_its_tracker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = begun(tmp_path, finished=True)
    with caplog.at_level(logging.INFO):
        assert place(tmp_path, "auto") == ("one-2", None)
    assert "no unfinished run one" in caplog.text
    (directory / "spool.jsonl").write_text("{}\n")
    assert place(tmp_path, "auto") == ("one", None)


def test_directory_is_held_by_one_process_and_keeps_no_trace_of_it(tmp_path: Path) -> None:
    directory = begun(tmp_path)
    lock = hold(directory)
    with pytest.raises(ValueError, match="is being run by another process"):
        hold(directory)
    assert place(tmp_path, "auto") == ("one-2", None)
    release(lock)
    assert place(tmp_path, "auto") == ("one", None)
    assert [path.name for path in directory.iterdir()] == ["config.yaml"]


def test_directory_that_cannot_be_gone_on_with_is_refused(tmp_path: Path) -> None:
    begun(tmp_path)
    begun(tmp_path, "done", finished=True)
    reasons = {"done": "the run is finished", "": "no run was begun there"}
    for name, reason in (reasons | {"one": r"no checkpoint yet.* give --resume auto"}).items():
        with pytest.raises((FileNotFoundError, ValueError), match=reason):
            place(tmp_path, str(tmp_path / "runs" / name))


def test_new_directory_is_one_word_and_goes_where_nothing_was_written(tmp_path: Path) -> None:
    for name in ("", "..", "a/b", "/a"):
        with pytest.raises(ValueError, match="one word without folders"):
            place(tmp_path, "never", name)
    assert place(tmp_path, "never") == place(tmp_path, "never") == ("one", None)
    (tmp_path / "runs" / "one").mkdir()
    (tmp_path / "runs" / "one" / "config.yaml").touch()
    assert place(tmp_path, "never") == ("one-2", None)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["one"]


def test_begun_run_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    directory = begun(tmp_path)
    saved(directory, 3, 12, 100_000_000)
    for choice in (str(directory), "auto"):
        assert place(tmp_path, choice) == ("one", "step_100000000.ckpt")


@pytest.mark.parametrize(
    ("processed", "stopped", "is_end"),
    [(2, False, False), (9, False, True), (2, True, True), (1, True, False)],
    ids=["goes on", "all epochs", "stopped early", "stopped, but not validated yet"],
)
def test_end_of_training_is_known_from_its_checkpoint(
    processed: int, stopped: bool, is_end: bool, tmp_path: Path
) -> None:
    epochs = {"ready": max(2, processed), "processed": processed}
    content = {
        KEY: {"metrics": {"a": 1.0}, "stopped": stopped},
        "loops": {"fit_loop": {"epoch_progress": {"current": epochs}}},
        "global_step": 5,
    }
    write_checkpoint(content, tmp_path / "one.ckpt")
    trainer = SimpleNamespace(max_epochs=9, max_steps=-1)
    found = metrics_of_the_end(tmp_path / "one.ckpt", trainer)  # type: ignore[arg-type]
    assert found == ({"a": 1.0} if is_end else {})


OTHERS = {
    "model__init_args__base_learning_rate": 0.5,
    "data__init_args__split_seed": 3,
    "data__init_args__batch_size": 8,
    "seed": 3,
}


def test_other_model_data_or_seed_is_refused_but_machine_and_length_may_change(
    tmp_path: Path,
) -> None:
    for key, value in OTHERS.items():
        line = f"says .*{key.replace('__', '.')} .* this config {value}"
        with pytest.raises(ValueError, match=line):
            check_same(stage(**{key: value}), begun(tmp_path))
    machine = {"data__init_args__num_workers": 3, "trainer__devices": 2, "trainer__strategy": "ddp"}
    length = {"trainer__max_epochs": 99, "trainer__precision": "bf16-mixed", "output": "elsewhere"}
    check_same(stage(**machine, **length), begun(tmp_path))
    whole = {"data__init_args__global_batch_size": 32}
    write_configuration(stage(**whole), tmp_path)
    check_same(stage(**whole, data__init_args__batch_size=8), tmp_path)


def test_process_that_the_first_one_starts_inherits_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert agree(stage(), lambda: "old") == "old"
    assert agree(stage(), lambda: "new") == "new"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert agree(stage(), lambda: "mine") == "new"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_with_weights_alone(path: Path) -> None:
    write_checkpoint({"state_dict": {}}, path)


def trap(path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(path.parent / "sprung"),)

    torch.save({"a": Trap()}, path, pickle_module=pickle)


@pytest.mark.parametrize("break_it", [truncate, flip, replace_with_weights_alone, trap])
def test_broken_newest_checkpoint_is_passed_over_and_named(
    break_it: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved(tmp_path, 3, 4)
    break_it(step_path(folder, 4))
    assert newest_valid(tmp_path) == step_path(folder, 3)
    assert "step_00000004.ckpt is passed over: " in caplog.text
    assert not (folder / "sprung").exists()


def test_last_alone_is_enough_and_none_that_is_good_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, 3)
    last = step_path(folder, 3).rename(folder / "last.ckpt")
    assert newest_valid(tmp_path) == last
    truncate(last)
    with pytest.raises(ValueError, match="none of its 1 checkpoints can be gone on with"):
        newest_valid(tmp_path)


@pytest.mark.parametrize("call", ["fsync", "replace", "unlink", "link"])
def test_kill_at_any_moment_of_a_save_leaves_a_good_checkpoint(call: str, tmp_path: Path) -> None:
    for moment in range(30):
        folder = saved(tmp_path / str(moment), 3)
        child = os.fork()
        if child == 0:
            save_and_die(folder, call, moment)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert newest_valid(folder.parent) is not None
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert status == 0 and moment > 0


def save_and_die(folder: Path, call: str, moment: int) -> None:
    """Save again, and once more for the next step, but die at the so-many-eth such call."""
    original, calls = getattr(os, call), iter(range(1000))

    def die_in_time(*words: object, **more: object) -> object:
        if next(calls) == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*words, **more)

    setattr(os, call, die_in_time)
    for step in (3, 4):
        path = step_path(folder, step)
        write_checkpoint(CONTENT, path)
        publish(path, keep=1)
    os._exit(0)
