"""The children of a study as processes, and in the tracker below the study's own run.

Several run at once, each after those that it needs; one that fails stops only what needs it. When
the study ends, however, its children do too: each is told by the system when its parent is gone,
saves, and can be gone on with.
"""

import ctypes
import fcntl
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import psutil
from mlflow.tracking import MlflowClient

from experiments.cli import error_line, is_user_error
from experiments.reporting.plan import CHILD_TAG, COMMAND_TAG, STUDY_TAG, Child, Study
from experiments.reporting.report import Results
from experiments.run_logger import RunLogger
from experiments.tracking import RunRow, experiment_names, initialise_tracking, read_runs

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"  # of a run directory
ROLE_TAG, PARENT_ROLE, PARENT_TAG = "role", "study", "mlflow.parentRunId"
FINISHED = "FINISHED"
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
# Loaded here, because between fork and exec nothing may be.
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class StudyRun:
    """The parent run of a study: the newest that the tracker has, or a new one."""

    def __init__(self, study: Study) -> None:
        self.study, self.output = study, Path(study.output)
        self.client = MlflowClient(initialise_tracking(self.output))
        rows = [row for row in self._rows() if self._is_own(row)]
        parents = [row for row in rows if row.tags.get(ROLE_TAG) == PARENT_ROLE]
        if parents:
            self.run_id = parents[-1].run_id
        else:
            tags = {STUDY_TAG: study.name, ROLE_TAG: PARENT_ROLE}
            self.run_id = str(RunLogger(self.output, study.name, study.name, tags).begin())

    def elsewhere(self) -> dict[str, str]:
        """The folders of the finished runs of other studies by what they ran, a child's sha256."""
        ran = [row for row in self._rows() if row.status == FINISHED and COMMAND_TAG in row.tags]
        folders = {row.tags[COMMAND_TAG]: self._folder(row) for row in ran if not self._is_own(row)}
        return {sha256: at for sha256, at in folders.items() if was_begun_with(Path(at), sha256)}

    def results(self, children: Sequence[Child]) -> Results:
        """What the children left that have finished, with the words that they have now.

        Of one that finished several times the newest counts; one whose words have changed since
        is said, and counts as not run. A run of another study with these words is as good.
        """
        by_name = {child.name: child for child in children}
        by_folder = {child.folder: child for child in children}
        found: dict[tuple[str, int], RunRow] = {}
        for row in self._rows():
            if row.status != FINISHED or CHILD_TAG not in row.tags:
                continue
            child = by_folder.get(self._folder(row))
            if self._is_own(row):
                child = by_name.get(row.tags[CHILD_TAG])
            if child is None:
                continue
            if row.tags.get(COMMAND_TAG) == child.sha256:
                found[child.variant, child.seed] = row
            elif self._is_own(row):
                logger.warning("child %s: run %s had other words", child.name, row.run_id)
        return Results(self.study, found)

    def finished(self, children: Sequence[Child]) -> set[str]:
        """The names of the children that have finished."""
        found = self.results(children).found
        return {child.name for child in children if (child.variant, child.seed) in found}

    def command(self, child: Child) -> list[str]:
        """What follows `python`; a run gets the tags by which its study finds it.

        One that trains goes on where it was; with given weights there is nothing to go on with.
        """
        if not child.is_run:
            return ["-m", child.module, *child.words]
        resume = () if "--weights" in child.words else ("--resume", "auto")
        return ["-m", child.module, *child.words, "--tags", json.dumps(self._tags(child)), *resume]

    def run(self, children: Sequence[Child], *, jobs: int, alone: str = "") -> dict[str, str]:
        """Runs the children that have not finished; why some have failed or not begun, by name.

        alone: the one child to run beside others that do the same; ValueError where one that it
        needs has not finished.
        """
        missing = {child.name for child in children} - self.finished(children) - {alone}
        if alone and missing:
            raise ValueError(
                f"--child {alone} needs {min(missing)}, which has not finished: run that one first"
            )
        with study_lock(self.study.folder, shared=bool(alone)) as lock:
            self.client.update_run(self.run_id, status="RUNNING")
            finished = self.finished(children)
            print(f"{len(finished)} of {len(children)} children had finished before", flush=True)
            try:
                return run_children(children, finished, lambda one: self._run(one, lock), jobs=jobs)
            except KeyboardInterrupt as stop:
                self.client.set_terminated(self.run_id, status="KILLED")
                raise KeyboardInterrupt(
                    f"{len(self.finished(children))} of {len(children)} children have finished, "
                    "the same command goes on from there"
                ) from stop

    def close(self, *, is_whole: bool) -> None:
        """The run has ended, whole or with children that are missing."""
        self.client.set_terminated(self.run_id, status=FINISHED if is_whole else "FAILED")

    def track(self, child: Child) -> None:
        """Tracks a child that is no run: its tags, its words, and the numbers that it left, if any.

        Raises FileNotFoundError where it left none.
        """
        tags = {"stage": child.module, "seed": str(child.seed), **self._tags(child)}
        numbers = {}
        if child.results:
            numbers = flat_numbers(json.loads(Path(child.results).read_text(encoding="utf-8")))
        tracked = RunLogger(self.output, self.study.name, child.name, tags)
        tracked.log_hyperparams({"command": shlex.join([child.module, *child.words])})
        tracked.log_metrics(numbers)
        tracked.close()

    def _run(self, child: Child, lock: int) -> str:
        """Runs a child and tracks it if it doesn't itself; why it failed, "" if it did not."""
        log = self.study.folder / "logs" / f"{child.name}.log"
        try:
            if child.is_run:
                put_aside(Path(child.folder), child.sha256)
            else:
                Path(child.folder).mkdir(parents=True, exist_ok=True)
            words = self.command(child)
            reason = run_process(words, log, threads=self.study.threads, held=lock)
            if not reason and not child.is_run:
                self.track(child)
            if not reason and not self.finished([child]):
                reason = f"it stopped before its end; see {log}"
        except Exception as error:
            if not is_user_error(error):
                raise
            reason = error_line(error)
        reason = f"failed: {reason}" if reason else ""
        print(f"child {child.name}: {reason or 'done'}", flush=True)
        return reason

    def _tags(self, child: Child) -> dict[str, str]:
        """What the tracked run of a child says of whose it is."""
        own = {STUDY_TAG: self.study.name, CHILD_TAG: child.name, COMMAND_TAG: child.sha256}
        return {**child.tags, **own, PARENT_TAG: self.run_id}

    def _is_own(self, row: RunRow) -> bool:
        return row.tags.get(STUDY_TAG) == self.study.name

    def _folder(self, row: RunRow) -> str:
        """That of the run of a child."""
        return f"{self.study.output}/runs/{row.tags.get(STUDY_TAG)}.{row.tags.get(CHILD_TAG)}"

    def _rows(self) -> list[RunRow]:
        """All runs that are tracked with this study's, oldest first."""
        return read_runs(self.output, *experiment_names(self.output))


def run_children(
    children: Sequence[Child], finished: set[str], run: Callable[[Child], str], *, jobs: int
) -> dict[str, str]:
    """Runs what has not finished, at most `jobs` at once; why some failed or never began, by name.

    The first in the plan that is ready goes next, so that seeds end one after the other. run: gives
    why the child failed, "" if it did not.
    """
    done, failed = {*finished}, dict[str, str]()
    waiting = [child for child in children if child.name not in finished]
    running: dict[Future[str], Child] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool, _stopping_processes():
        while waiting or running:
            for child in list(waiting):
                if lacking := failed.keys() & child.needs:
                    waiting.remove(child)
                    failed[child.name] = f"skipped: needs {min(lacking)}, which has failed"
                elif len(running) < jobs and done >= {*child.needs}:
                    waiting.remove(child)
                    running[pool.submit(run, child)] = child
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                child, reason = running.pop(future), future.result()
                if reason:
                    failed[child.name] = reason
                else:
                    done.add(child.name)
    return failed


@contextmanager
def _stopping_processes() -> Iterator[None]:
    """Tells all processes of this one to stop, which save, when Ctrl-C does not reach them."""
    try:
        yield
    except KeyboardInterrupt:
        for process in psutil.Process().children():
            process.terminate()
        raise


def run_process(words: Sequence[str], log: Path, *, threads: int, held: int) -> str:
    """Runs `python WORDS` with its output in the file `log`; its last line if it failed, else "".

    threads: that it may compute with, so that children beside each other do not wait on one
    another; 0 leaves it as it is. held: the study's lock, which the process holds too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        ended = subprocess.run(
            [sys.executable, *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})},
            check=False,
            pass_fds=(held,),
            preexec_fn=_die_with_parent if LIBC else None,
        )
    if ended.returncode == 0:
        return ""
    last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    return f"{last or 'it wrote nothing'} (exit code {ended.returncode}; see {log})"


def was_begun_with(directory: Path, sha256: str) -> bool:
    """Whether a child of these words began a run directory, as its configuration has it."""
    config = directory / CONFIG_NAME
    return config.is_file() and sha256 in config.read_text(encoding="utf-8")


def put_aside(directory: Path, sha256: str) -> None:
    """Renames a run directory that a child of other words began, so that the run starts anew.

    sha256: of the words that it has now.
    """
    if not (directory / CONFIG_NAME).is_file() or was_begun_with(directory, sha256):
        return
    number = 1
    while (aside := directory.with_name(f"{directory.name}.other-{number}")).exists():
        number += 1
    directory.rename(aside)
    logger.warning("run directory %s was begun with other words: it is now %s", directory, aside)


@contextmanager
def study_lock(folder: Path, *, shared: bool = False) -> Iterator[int]:
    """Holds the study in this folder and gives the lock's file descriptor.

    Alone, or shared with others that run one child each. Children that inherit it hold the study
    too: those of a study that was killed may still be saving, and a second process waits for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("study %s is being run by another process: waiting for it", folder.name)
            fcntl.flock(file, kind)
        yield file.fileno()


def flat_numbers(value: object, prefix: str = "") -> dict[str, float]:
    """The numbers of a JSON file by their path; an item of a list by its `name`, or its place."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {prefix: float(value)}
    if isinstance(value, list):
        value = {
            (item.get("name", place) if isinstance(item, dict) else place): item
            for place, item in enumerate(value)
        }
    found: dict[str, float] = {}
    for key, inner in value.items() if isinstance(value, dict) else ():
        found |= flat_numbers(inner, f"{prefix}/{key}".strip("/"))
    return found


def _die_with_parent() -> None:
    """Asks the system to send this process SIGTERM when the one that made it ends, however."""
    assert LIBC is not None
    LIBC.prctl(DIE_WITH_PARENT, signal.SIGTERM)
