"""Claims about which run goes on, from which checkpoint, and when it does not."""

import logging
import os
import pickle
import signal
from functools import cache
from pathlib import Path

import pytest
import torch
from jsonargparse import Namespace

from callbacks.checkpoint import KEY, publish, step_path, write_checkpoint
from experiments.checkpoints import write_configuration
from experiments.configuration import load_layers, parse_stage
from experiments.running.resume import (
    FINISHED,
    RunDirectory,
    Stages,
    check_same,
    choose_directory,
    newest_valid,
    plan_stage,
)
from experiments.runs import write_results

CONTENT: dict[str, object] = {KEY: {"metrics": {}}, "weight": torch.arange(1000)}


@cache
def stage(**overrides: object) -> Namespace:
    pairs = {key.replace("__", "."): str(value) for key, value in overrides.items()}
    return parse_stage(load_layers(["stage1_tiny.yaml"], pairs))


def stages(output: Path, *names: str) -> Stages:
    one = stage().clone()
    one.output, one.name = str(output), "one"
    return [(name, one) for name in names or ("",)]


def begun(output: Path, name: str, *, finished: bool = False) -> Path:
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


def test_never_begins_a_new_run(tmp_path: Path) -> None:
    begun(tmp_path, "one")
    assert choose_directory("never", stages(tmp_path)) is None


def test_auto_takes_the_newest_unfinished_run_of_the_name(tmp_path: Path) -> None:
    for name in ("one", "one-2", "one-10", "one-two", "other"):
        begun(tmp_path, name)
    begun(tmp_path, "one-11", finished=True)
    assert choose_directory("auto", stages(tmp_path)) == tmp_path / "runs" / "one-10"


def test_auto_begins_a_new_run_where_none_is_unfinished_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun(tmp_path, "one", finished=True)
    with caplog.at_level(logging.INFO):
        assert choose_directory("auto", stages(tmp_path)) is None
    assert "no unfinished run one" in caplog.text


def test_auto_leaves_a_run_alone_that_another_process_holds(tmp_path: Path) -> None:
    held = RunDirectory(begun(tmp_path, "one"))
    held.take()
    assert choose_directory("auto", stages(tmp_path)) is None
    held.release()
    assert choose_directory("auto", stages(tmp_path)) == held.path


def test_directory_is_held_by_one_process_and_keeps_no_trace_of_it(tmp_path: Path) -> None:
    one, other = RunDirectory(tmp_path), RunDirectory(tmp_path)
    one.take()
    with pytest.raises(ValueError, match="is being run by another process"):
        other.take()
    one.release()
    assert not list(tmp_path.iterdir())


def test_two_stages_are_unfinished_until_the_last_has_results(tmp_path: Path) -> None:
    two = stages(tmp_path, "pretrain", "finetune")
    first = begun(tmp_path, "one/pretrain", finished=True)
    assert choose_directory("auto", two) == first.parent
    begun(tmp_path, "one/finetune", finished=True)
    assert choose_directory("auto", two) is None


def test_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such directory; expected auto"):
        choose_directory(str(tmp_path / "nowhere"), stages(tmp_path))


def test_finished_run_is_refused(tmp_path: Path) -> None:
    directory = begun(tmp_path, "one", finished=True)
    with pytest.raises(ValueError, match="the run is finished"):
        choose_directory(str(directory), stages(tmp_path))


def test_directory_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no stage of this config was begun there"):
        choose_directory(str(tmp_path), stages(tmp_path))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model__init_args__base_learning_rate", 0.5),
        ("data__init_args__split_seed", 3),
        ("data__init_args__batch_size", 8),
        ("seed", 3),
    ],
)
def test_other_model_data_or_seed_is_refused_by_name(
    key: str, value: object, tmp_path: Path
) -> None:
    directory = begun(tmp_path, "one")
    name = key.replace("__", ".")
    with pytest.raises(ValueError, match=f"says {name} .* this config {value}"):
        check_same(stage(**{key: value}), directory)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data__init_args__num_workers", 3),
        ("trainer__devices", 2),
        ("trainer__strategy", "ddp"),
        ("trainer__max_epochs", 99),
        ("trainer__precision", "bf16-mixed"),
        ("output", "elsewhere"),
    ],
)
def test_settings_of_the_machine_may_change(key: str, value: object, tmp_path: Path) -> None:
    check_same(stage(**{key: value}), begun(tmp_path, "one"))


def test_batch_of_a_process_may_change_where_the_whole_one_is_given(tmp_path: Path) -> None:
    whole = {"data__init_args__global_batch_size": 32}
    write_configuration(stage(**whole), tmp_path)
    check_same(stage(**whole, data__init_args__batch_size=8), tmp_path)


def test_newest_checkpoint_is_taken(tmp_path: Path) -> None:
    folder = saved(tmp_path, 3, 12, 100_000_000)
    assert newest_valid(tmp_path) == step_path(folder, 100_000_000)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_with_weights_alone(path: Path) -> None:
    write_checkpoint({"state_dict": {}}, path)


def trap(path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(path.parent / "sprung"),)

    torch.save({"a": Trap()}, path, pickle_module=pickle)


@pytest.mark.parametrize("break_it", [truncate, flip, empty, replace_with_weights_alone, trap])
def test_broken_newest_checkpoint_is_passed_over_and_named(
    break_it, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved(tmp_path, 3, 4)
    break_it(step_path(folder, 4))
    assert newest_valid(tmp_path) == step_path(folder, 3)
    assert "step_00000004.ckpt is passed over: " in caplog.text
    assert not (folder / "sprung").exists()


def test_no_good_checkpoint_among_some_is_refused(tmp_path: Path) -> None:
    truncate(step_path(saved(tmp_path, 3), 3))
    with pytest.raises(ValueError, match="none of its 1 checkpoints can be gone on with"):
        newest_valid(tmp_path)


def test_last_alone_is_enough(tmp_path: Path) -> None:
    folder = saved(tmp_path, 3)
    step_path(folder, 3).rename(folder / "last.ckpt")
    assert newest_valid(tmp_path) == folder / "last.ckpt"


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


def test_stage_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    folder = saved(begun(tmp_path, "one"), 3)
    assert plan_stage("auto", stage(), folder.parent) == str(step_path(folder, 3))


def test_finished_stage_is_left(tmp_path: Path) -> None:
    assert plan_stage("auto", stage(), begun(tmp_path, "one", finished=True)) == FINISHED


def test_finished_run_whose_tracker_was_down_is_gone_on_with(tmp_path: Path) -> None:
    one = begun(tmp_path, "one", finished=True)
    assert choose_directory("auto", stages(tmp_path)) is None
    (one / "spool.jsonl").write_text("{}\n")
    assert choose_directory("auto", stages(tmp_path)) == one


def test_stage_that_was_not_begun_begins(tmp_path: Path) -> None:
    assert plan_stage(str(tmp_path), stage(), tmp_path / "finetune") == ""


def test_stage_without_a_checkpoint_starts_anew_under_auto_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert plan_stage("auto", stage(), begun(tmp_path, "one")) == ""
    assert "has no checkpoint yet: the stage starts anew" in caplog.text


def test_stage_without_a_checkpoint_is_refused_where_the_directory_is_named(tmp_path: Path) -> None:
    directory = begun(tmp_path, "one")
    with pytest.raises(FileNotFoundError, match=r"has no checkpoint yet.* give --resume auto"):
        plan_stage(str(directory), stage(), directory)
