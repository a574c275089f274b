"""Claims about which run goes on, from which checkpoint, and that all its processes agree."""

import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
    find_place,
    find_run,
    hold,
    new_run_directory,
    newest_valid,
    release,
    run_directory,
)
from experiments.tracking import write_results

REPOSITORY = Path(__file__).parents[2]
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


def named_one(output: Path) -> Namespace:
    """The stage as a run called `one` in `output`."""
    one = stage().clone()
    one.output, one.name = str(output), "one"
    return one


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
    (tmp_path / "runs" / "one-12").mkdir()
    assert find_run(named_one(tmp_path), "auto") == tmp_path / "runs" / "one-10"
    assert find_run(named_one(tmp_path), "never") is None


def test_auto_begins_a_new_run_where_none_is_unfinished_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun(tmp_path, finished=True)
    with caplog.at_level(logging.INFO):
        assert find_run(named_one(tmp_path), "auto") is None
    assert "no unfinished run one" in caplog.text


def test_finished_run_whose_tracker_was_down_is_gone_on_with(tmp_path: Path) -> None:
    directory = begun(tmp_path, finished=True)
    (directory / "spool.jsonl").write_text("{}\n")
    assert find_run(named_one(tmp_path), "auto") == directory
    assert find_place(named_one(tmp_path), "auto", directory) is None


def test_directory_is_held_by_one_process_and_keeps_no_trace_of_it(tmp_path: Path) -> None:
    directory = begun(tmp_path)
    lock = hold(directory)
    with pytest.raises(ValueError, match="is being run by another process"):
        hold(directory)
    assert find_run(named_one(tmp_path), "auto") is None
    release(lock)
    assert find_run(named_one(tmp_path), "auto") == directory
    assert [path.name for path in directory.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere", "there is no such directory; expected auto"),
        ("one", "the run is finished"),
        ("", "no run was begun there"),
    ],
)
def test_directory_that_cannot_be_gone_on_with_is_refused(
    name: str, reason: str, tmp_path: Path
) -> None:
    begun(tmp_path, finished=True)
    with pytest.raises((FileNotFoundError, ValueError), match=reason):
        find_run(named_one(tmp_path), str(tmp_path / "runs" / name))


def test_taken_run_name_gets_a_number(tmp_path: Path) -> None:
    names = [new_run_directory(tmp_path, "tiny").name for _ in range(3)]
    assert names == ["tiny", "tiny-2", "tiny-3"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "/a"])
def test_run_name_with_folders_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="one word without folders"):
        new_run_directory(tmp_path, name)


def test_new_directory_stays_where_something_was_written(tmp_path: Path) -> None:
    for is_written in (False, True):
        with run_directory(named_one(tmp_path), "never") as (directory, checkpoint):
            assert directory == tmp_path / "runs" / "one" and checkpoint is None
            if is_written:
                (directory / "config.yaml").touch()
        assert directory.exists() == is_written


def test_begun_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    folder = saved(begun(tmp_path), 3)
    with run_directory(named_one(tmp_path), "auto") as place:
        assert place == (folder.parent, step_path(folder, 3))


def test_run_without_a_checkpoint_starts_anew_under_auto_and_is_refused_where_it_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = begun(tmp_path)
    with caplog.at_level(logging.INFO):
        assert find_place(stage(), "auto", directory) is None
    assert "has no checkpoint yet: the run starts anew" in caplog.text
    with pytest.raises(FileNotFoundError, match=r"has no checkpoint yet.* give --resume auto"):
        find_place(stage(), str(directory), directory)


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
    name = key.replace("__", ".")
    with pytest.raises(ValueError, match=f"says {name} .* this config {value}"):
        check_same(stage(**{key: value}), begun(tmp_path))


def test_another_class_in_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"says data.init_args.manifest '', this config 'm'"):
        check_same(stage(manifest="m"), begun(tmp_path))


def test_settings_of_the_machine_may_change(tmp_path: Path) -> None:
    changed = {
        "data__init_args__num_workers": 3,
        "trainer__devices": 2,
        "trainer__strategy": "ddp",
        "trainer__max_epochs": 99,
        "trainer__precision": "bf16-mixed",
        "output": "elsewhere",
    }
    check_same(stage(**changed), begun(tmp_path))


def test_batch_of_a_process_may_change_where_the_whole_one_is_given(tmp_path: Path) -> None:
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


# Both ranks ask twice; the second question is one that the first rank refuses.
ASKING = """
import os
from experiments.config import load_config, parse_stage
from experiments.resume import agree
keys = {"name": "x", "trainer.devices": "2", "trainer.strategy": "ddp"}
stage = parse_stage(load_config(["stage1_tiny.yaml"], keys))
rank = os.environ["RANK"]
def say(words):
    os.write(1, f"rank {rank}: {words}\\n".encode())  # at once: print would mix the ranks' lines
say(agree(stage, lambda: "the answer of " + rank))
def refuse():
    raise ValueError("no, says " + rank)
try:
    agree(stage, refuse)
except ValueError as error:
    say(error)
"""


@pytest.mark.slow
def test_processes_that_torchrun_starts_get_the_first_ones_answer_and_refusal(
    tmp_path: Path,
) -> None:
    (tmp_path / "asking.py").write_text(ASKING)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    stale = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", PLACE_VARIABLE: "stale"}
    ended = subprocess.run(
        [*words, str(tmp_path / "asking.py")],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=REPOSITORY,
        env={**os.environ, **stale},
    )
    said = {line for line in ended.stdout.splitlines() if line.startswith("rank ")}
    words = ["the answer of 0", "no, says 0"]
    assert said == {f"rank {rank}: {word}" for rank in (0, 1) for word in words}


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
