"""Which directory a run has and from which checkpoint it goes on, the same on all its processes.

How checkpoints are written is in `callbacks/checkpoint.py`.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from jsonargparse import Namespace
from lightning import Trainer
from lightning.fabric.plugins.environments import (
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import distributed
from torch.distributed import distributed_c10d

from callbacks.checkpoint import FOLDER_NAME, KEY, LAST_NAME, step_of
from experiments.checkpoints import CONFIG_NAME
from experiments.config import build_stage, parse_stage, read_layer
from experiments.run_logger import SPOOL_NAME
from experiments.tracking import RESULTS_NAME
from lightning_modules.weights_io import UNREADABLE, check_archive, first_line

logger = logging.getLogger(__name__)

NEVER, AUTO = "never", "auto"
LOCK_NAME = ".lock"
# Directory and checkpoint of a run, for the processes that its first one starts.
PLACE_VARIABLE = "DIFFUSE_DEFECT_RUN"
LAUNCHERS = (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment)
TRAINER_KEYS = ("accelerator", "devices", "num_nodes", "strategy")
COMPARED = ("seed", "data.", "model.")
# What a machine decides and a result does not depend on.
MACHINE_KEYS = {
    f"data.init_args.{key}"
    for key in ("num_workers", "eval_batch_size", "in_memory", "manifest_folder")
}
# Of this process, over all its runs: the store keeps the answers to the earlier ones.
_QUESTIONS = count(1)


@contextmanager
def run_directory(stage: Namespace, choice: str) -> Iterator[tuple[Path, Path | None]]:
    """The run's directory and the checkpoint it goes on from, held by this run alone.

    choice: what --resume says. A new directory in which nothing was written goes again. Raises
    FileNotFoundError or ValueError, on every process, where the run can't go on.
    """
    held: list[FileLock] = []

    def choose() -> str:
        for directory in begun_runs(stage, choice):
            try:
                held.append(hold(directory))
            except ValueError:
                if choice != AUTO:
                    raise
                logger.info("%s is being run by another process and left alone", directory)
            else:
                return f"{directory}\n{find_place(stage, choice, directory) or ''}"
        if choice == AUTO:
            logger.info(
                "no unfinished run %s in %s/runs: a new one starts", stage.name, stage.output
            )
        directory = new_run_directory(Path(stage.output), stage.name)
        held.append(hold(directory))
        return f"{directory}\n"

    try:
        directory, checkpoint = agree(stage, choose).split("\n")
        yield Path(directory), Path(checkpoint) if checkpoint else None
    finally:
        for lock in held:
            release(lock)
            with suppress(OSError):
                Path(lock.lock_file).parent.rmdir()


def begun_runs(stage: Namespace, choice: str) -> list[Path]:
    """The directories of begun, unfinished runs that `--resume` may mean, newest first.

    Raises ValueError where a named one is none.
    """
    if choice == NEVER:
        return []
    if choice != AUTO:
        directory = Path(choice)
        if not (directory / CONFIG_NAME).is_file():
            raise ValueError(
                f"--resume {choice}: no run was begun there (no {CONFIG_NAME}); expected the "
                "directory of a run of the same config"
            )
        if is_finished(directory):
            raise ValueError(
                f"--resume {choice}: the run is finished, its results are in {RESULTS_NAME}; leave "
                "--resume out to start another"
            )
        return [directory]
    pattern = re.compile(re.escape(stage.name) + r"(?:-(\d+))?")
    found: list[tuple[int, Path]] = []
    for path in (Path(stage.output) / "runs").glob("*"):
        match = pattern.fullmatch(path.name)
        if match and (path / CONFIG_NAME).is_file() and not is_finished(path):
            found.append((int(match[1] or 1), path))
    return [path for _, path in sorted(found, reverse=True)]


def is_finished(directory: Path) -> bool:
    """Whether the run has its results, and nothing waits for the tracker."""
    return (directory / RESULTS_NAME).is_file() and not (directory / SPOOL_NAME).is_file()


def new_run_directory(output: Path, name: str) -> Path:
    """A directory of this name under `output`/runs that did not exist before.

    Where the name is taken -2, -3, ... is added. Raises ValueError for a name with folders in it.
    """
    if not name or name in (".", "..") or Path(name).name != name:
        raise ValueError(f"run name: got {name!r}, expected one word without folders")
    parent = output / "runs"
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (NotADirectoryError, FileExistsError) as error:
        raise ValueError(
            f"cannot write to {output}: it is a file, or lies in one; expected a folder, choose "
            "another with --output"
        ) from error
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    while True:
        directory = parent / next(names)
        # mkdir is the test: two runs that start together must not share a directory.
        with suppress(FileExistsError):
            directory.mkdir()
            return directory


def find_place(stage: Namespace, choice: str, directory: Path) -> Path | None:
    """The checkpoint that a begun run goes on from, None for its beginning.

    Raises ValueError or FileNotFoundError where it can't go on.
    """
    if (directory / RESULTS_NAME).is_file():
        return None  # only its tracker waits
    check_same(stage, directory)
    checkpoint = newest_valid(directory)
    if checkpoint is not None:
        logger.info("the run goes on from %s", checkpoint)
    elif choice != AUTO:
        raise FileNotFoundError(
            f"--resume {choice}: {directory / FOLDER_NAME} has no checkpoint yet, there is nothing "
            "to go on from; give --resume auto to start the run anew in its place"
        )
    else:
        logger.info("%s has no checkpoint yet: the run starts anew", directory)
    return checkpoint


def hold(directory: Path) -> FileLock:
    """The lock of a directory, taken; ValueError where another process has it."""
    lock = FileLock(directory / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(
            f"{directory} is being run by another process: wait for it or end it, expected one "
            "process (and its ranks) in a run's directory"
        ) from error
    return lock


def release(lock: FileLock) -> None:
    """Let another process have the directory, and leave no file behind."""
    # While it is still held: afterwards the file may be another process's.
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release(force=True)


def check_same(stage: Namespace, directory: Path) -> None:
    """ValueError where the run that was begun in `directory` had another model, data or seed."""
    file = directory / CONFIG_NAME
    try:
        saved = dict(parse_stage(read_layer(file)).items())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    current = dict(stage.items())
    left_out = set(MACHINE_KEYS)
    if current.get("data.init_args.global_batch_size"):
        left_out.add("data.init_args.batch_size")
    for key in sorted({*saved, *current} - left_out):
        if key.startswith(COMPARED) and saved.get(key) != current.get(key):
            raise ValueError(
                f"{file} says {key} {saved.get(key)!r}, this config {current.get(key)!r}: a run "
                "goes on with the model, data and seed that it began with; set it back, or start "
                "a new run"
            )


def newest_valid(directory: Path) -> Path | None:
    """The run's newest checkpoint that is whole; each one passed over is named in a warning.

    Raises ValueError where there are some and none is whole: starting anew would hide it.
    """
    folder = directory / FOLDER_NAME
    named = [path for path in folder.glob("*.ckpt") if step_of(path) >= 0]
    known = sorted(named, key=step_of, reverse=True)
    last = folder / LAST_NAME
    if last.is_file() and not any(last.samefile(path) for path in named):
        known.append(last)
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


def agree(stage: Namespace, choose: Callable[[], str]) -> str:
    """What `choose` answers on the run's first process, or its refusal, on each of them.

    Processes that Lightning starts inherit the answer in their environment. Those that torchrun,
    SLURM, LSF or MPI start ask over the process group, which is made early for it.
    """
    if any(environment.detect() for environment in LAUNCHERS):
        if not distributed.is_initialized():
            settings = {key: getattr(stage.trainer, key) for key in TRAINER_KEYS}
            if not isinstance(settings["strategy"], str):
                with torch.device("meta"):
                    settings["strategy"] = build_stage(stage).trainer.strategy
            # The group outlives this Trainer, and the run's own takes it as it is.
            Trainer(
                **settings, logger=False, enable_checkpointing=False
            ).strategy.setup_environment()
        if distributed.is_initialized():
            return _agree_over_store(choose)
    elif int(os.environ.get("LOCAL_RANK", "0")) > 0:
        return os.environ[PLACE_VARIABLE]
    os.environ[PLACE_VARIABLE] = choose()
    return os.environ[PLACE_VARIABLE]


def _agree_over_store(choose: Callable[[], str]) -> str:
    """The first rank's answer, or its refusal, on all ranks.

    By the store in which they met: after a refusal the first one ends, which must not be before
    all have read it, and a broadcast does not wait for that.
    """
    store, rank = distributed_c10d._get_default_store(), distributed.get_rank()
    key = f"diffuse_defect/question/{next(_QUESTIONS)}"
    if rank == 0:
        try:
            answer = ["answer", choose()]
        except (ValueError, OSError) as error:
            answer = ["refusal", str(error)]
        store.set(key, json.dumps(answer))
        others = [f"{key}/{other}" for other in range(1, distributed.get_world_size())]
        if others:
            store.wait(others)
    else:
        answer = json.loads(store.get(key))
        store.set(f"{key}/{rank}", "read")
    kind, words = answer
    if kind == "refusal":
        raise ValueError(words)
    return words


def metrics_of_the_end(checkpoint: Path | None, trainer: Trainer) -> dict[str, float]:
    """What a checkpoint of the end of training measured; nothing where training goes on."""
    if checkpoint is None:
        return {}
    # Mapped into memory: only what is looked at is read.
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    epochs = saved["loops"]["fit_loop"]["epoch_progress"]["current"]
    end = trainer.max_epochs
    is_end = (
        0 < trainer.max_steps <= saved["global_step"]
        or (end is not None and 0 <= end <= epochs["processed"])
        # A checkpoint from within an epoch awaits its validation.
        or (saved[KEY].get("stopped", False) and epochs["processed"] == epochs["ready"])
    )
    return dict(saved[KEY]["metrics"]) if is_end else {}
