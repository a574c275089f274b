"""Which run goes on, from which of its checkpoints, and whether its configuration is the same.

How they were written is in `callbacks/safe_checkpoint.py`; a stage that goes on is `stage_run.py`.
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from jsonargparse import Namespace

from callbacks.checkpoint import FOLDER_NAME, KEY, LAST_NAME, step_of
from experiments.checkpoints import CONFIG_NAME
from experiments.configuration import parse_stage, read_layer, stage_parser
from experiments.running.spooled_logger import SPOOL_NAME
from experiments.runs import RESULTS_NAME
from lightning_modules.weights_io import UNREADABLE, check_archive, first_line

logger = logging.getLogger(__name__)

NEVER, AUTO = "never", "auto"
FINISHED = "finished"
LOCK_NAME = ".lock"
COMPARED = ("seed", "data", "model")
# What a machine decides and a result does not depend on.
MACHINE_KEYS = {
    "data.init_args.num_workers",
    "data.init_args.eval_batch_size",
    "data.init_args.in_memory",
    "data.init_args.manifest_folder",
}
Stages = Sequence[tuple[str, Namespace]]


class RunDirectory:
    """A run's directory, held by this process alone until it ends or is killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / LOCK_NAME)

    def is_free(self) -> bool:
        """Whether no process holds the directory."""
        try:
            self.take()
        except ValueError:
            return False
        self.release()
        return True

    def take(self) -> None:
        """Hold the directory; ValueError where another process does."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(
                f"{self.path} is being run by another process: wait for it or end it, expected "
                "one process (and its ranks) in a run's directory"
            ) from error

    def release(self) -> None:
        """Let another process have it, and leave no file behind."""
        # While it is still held: afterwards the file may be another process's.
        (self.path / LOCK_NAME).unlink(missing_ok=True)
        self._lock.release(force=True)


def choose_directory(choice: str, stages: Stages) -> Path | None:
    """The directory that `--resume` means, None for a new one, which is said.

    Raises FileNotFoundError or ValueError where a named one can't be gone on with.
    """
    if choice == NEVER:
        return None
    if choice == AUTO:
        return _newest_unfinished(stages)
    directory = Path(choice)
    if not directory.is_dir():
        raise FileNotFoundError(
            f"--resume {choice}: there is no such directory; expected auto, never or a run's "
            "directory, as it was printed when the run stopped"
        )
    if is_finished(directory, stages):
        raise ValueError(
            f"--resume {choice}: the run is finished, its results are in {RESULTS_NAME}; leave "
            "--resume out to start another"
        )
    if not any(_stage_directories(directory, stages)):
        raise ValueError(
            f"--resume {choice}: no stage of this config was begun there (no {CONFIG_NAME}); "
            "expected the directory of a run of the same config"
        )
    return directory


def plan_stage(
    choice: str, stage: Namespace, directory: Path, *, ignored: Sequence[str] = ()
) -> str:
    """What is left of a stage: FINISHED, the checkpoint that it goes on from, or "" for all of it.

    Raises ValueError or FileNotFoundError where it can't go on; `choice` is what --resume said.
    """
    if (directory / RESULTS_NAME).is_file():
        return FINISHED
    check_same(stage, directory, ignored=ignored)
    checkpoint = newest_valid(directory)
    if checkpoint is not None:
        logger.info("the stage goes on from %s", checkpoint)
        return str(checkpoint)
    if not (directory / CONFIG_NAME).is_file():
        return ""
    if choice != AUTO:
        raise FileNotFoundError(
            f"--resume {choice}: {directory / FOLDER_NAME} has no checkpoint yet, there is nothing "
            "to go on from; give --resume auto to start the stage anew in its place"
        )
    logger.info("%s has no checkpoint yet: the stage starts anew", directory)
    return ""


def is_finished(directory: Path, stages: Stages) -> bool:
    """Whether every stage has its results, and nothing waits for the tracker."""
    places = [directory / name for name, _ in stages]
    return all((place / RESULTS_NAME).is_file() for place in places) and not any(
        (place / SPOOL_NAME).is_file() for place in places
    )


def check_same(stage: Namespace, directory: Path, *, ignored: Sequence[str] = ()) -> None:
    """ValueError where the stage that was begun in `directory` had another model, data or seed.

    ignored: keys that the run itself has set.
    """
    file = directory / CONFIG_NAME
    if not file.is_file():
        return
    try:
        saved = _flat(parse_stage(read_layer(file)))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    current = _flat(stage)
    left_out = {*MACHINE_KEYS, *ignored}
    if current.get("data.init_args.global_batch_size"):
        left_out.add("data.init_args.batch_size")
    for key in sorted({*saved, *current} - left_out):
        if saved.get(key) != current.get(key):
            raise ValueError(
                f"{file} says {key} {saved.get(key)!r}, this config {current.get(key)!r}: a run "
                "goes on with the model, data and seed that it began with; set it back, or start "
                "a new run"
            )


def newest_valid(directory: Path) -> Path | None:
    """The stage's newest checkpoint that is whole; each one passed over is named in a warning.

    Raises ValueError where there are some and none is whole: starting anew would hide it.
    """
    folder = directory / FOLDER_NAME
    known = list(checkpoints_in(folder))
    for path in known:
        fault = fault_of(path)
        if fault is None:
            return path
        logger.warning("checkpoint %s is passed over: %s", path, fault)
    if known:
        raise ValueError(
            f"{folder}: none of its {len(known)} checkpoints can be gone on with; move the "
            "directory away to start anew, or put back a copy of one"
        )
    return None


def checkpoints_in(folder: Path) -> Iterator[Path]:
    """The checkpoints of a folder, newest step first; `last.ckpt` where it is a file of its own."""
    named = [path for path in folder.glob("*.ckpt") if step_of(path) >= 0]
    yield from sorted(named, key=step_of, reverse=True)
    last = folder / LAST_NAME
    if last.is_file() and not any(last.samefile(path) for path in named):
        yield last


def fault_of(path: Path) -> str | None:
    """Why training can't go on from a checkpoint, in words; None where it can."""
    try:
        check_archive(path)
        # Memory-mapped: only the pickle is read, and one that would run code is refused.
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UNREADABLE as error:
        return first_line(error)
    if not isinstance(saved, dict) or KEY not in saved:
        return "it holds weights alone, not where training stood"
    return None


def _newest_unfinished(stages: Stages) -> Path | None:
    """The newest begun and unfinished run of the config's name that nobody is running."""
    output, name = Path(stages[0][1].output), stages[0][1].name
    for directory in runs_named(output, name):
        if is_finished(directory, stages) or not any(_stage_directories(directory, stages)):
            continue
        if RunDirectory(directory).is_free():
            return directory
        logger.info("%s is being run by another process and left alone", directory)
    logger.info("no unfinished run %s in %s: a new one starts", name, output / "runs")
    return None


def runs_named(output: Path, name: str) -> list[Path]:
    """The directories <name>, <name>-2, <name>-3, ... of runs, newest first."""
    pattern = re.compile(re.escape(name) + r"(?:-(\d+))?")
    found: list[tuple[int, Path]] = []
    parent = output / "runs"
    for path in parent.iterdir() if parent.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match and path.is_dir():
            found.append((int(match[1] or 1), path))
    return [path for _, path in sorted(found, reverse=True)]


def _stage_directories(directory: Path, stages: Stages) -> Iterator[Path]:
    """The stages' directories in which something was begun."""
    places = (directory / name for name, _ in stages)
    return (place for place in places if (place / CONFIG_NAME).is_file())


def _flat(stage: Namespace) -> dict[str, object]:
    """What must agree, with dotted keys."""
    settings = json.loads(stage_parser().dump(stage, format="json"))
    flat: dict[str, object] = {}
    waiting = [(key, settings[key]) for key in COMPARED]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{key}.{name}", inner) for name, inner in value.items()]
        else:
            flat[key] = value
    return flat
