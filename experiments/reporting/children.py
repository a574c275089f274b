"""The children of a study as processes: several at once, each after those that it needs.

A child that fails stops only what needs it. When the study ends, however, its children do too:
each is told by the system when its parent is gone, saves, and can be gone on with.
"""

import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.reporting.plan import Child

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"  # of a run directory
DONE, FAILED, SKIPPED = "done", "failed", "skipped"
LOCK_SECONDS, LOOK_SECONDS = 120.0, 0.5
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
# Loaded here, because between fork and exec nothing may be.
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended; reason: the last line that it wrote, or what it lacked."""

    status: str
    reason: str = ""


def run_children(
    children: Sequence[Child],
    finished: set[str],
    run: Callable[[Child], Outcome],
    *,
    jobs: int,
    on_end: Callable[[Child, Outcome], None],
) -> dict[str, Outcome]:
    """Runs what has not finished, at most `jobs` at once; how each child ended, by name.

    The first in the plan that is ready goes next, so that seeds end one after the other.
    on_end: called in this thread as each one ends.
    """
    outcomes = {child.name: Outcome(DONE) for child in children if child.name in finished}
    waiting = [child for child in children if child.name not in finished]
    running: dict[Future[Outcome], Child] = {}

    def end(child: Child, outcome: Outcome) -> None:
        outcomes[child.name] = outcome
        on_end(child, outcome)

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        while waiting or running:
            for child in list(waiting):
                failed = [n for n in child.needs if n in outcomes and outcomes[n].status != DONE]
                if failed:
                    waiting.remove(child)
                    end(child, Outcome(SKIPPED, f"needs {failed[0]}, which has failed"))
                elif len(running) < jobs and all(need in outcomes for need in child.needs):
                    waiting.remove(child)
                    running[pool.submit(run, child)] = child
            if running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    end(running.pop(future), future.result())
    return outcomes


def run_process(words: Sequence[str], log: Path, *, threads: int, held: int) -> Outcome:
    """Runs `python WORDS` with its output in the file `log`.

    threads: that it may compute with, so that children beside each other do not wait on one
    another; 0 leaves it as it is. held: the study's lock, which the process holds too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    with log.open("a", encoding="utf-8") as file:
        ended = subprocess.run(
            [sys.executable, *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
            pass_fds=(held,),
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    if ended.returncode == 0:
        return Outcome(DONE)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
    return Outcome(FAILED, f"{last} (exit code {ended.returncode}; see {log})")


def put_aside(directory: Path, sha256: str) -> None:
    """Renames a run directory that a child of other words began, so that the run starts anew.

    sha256: of the words that it has now, as its configuration names them among the tags.
    """
    config = directory / CONFIG_NAME
    if not config.is_file() or sha256 in config.read_text(encoding="utf-8"):
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
    ValueError where they do not end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        give_up = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > give_up:
                    raise ValueError(
                        f"study {folder.name} is being run by another process: wait for it, end "
                        "it, or give this one another --name"
                    ) from error
            time.sleep(LOOK_SECONDS)
        yield file.fileno()


def _die_with_parent() -> None:
    """Asks the system to send this process SIGTERM when the one that made it ends, however."""
    assert LIBC is not None
    LIBC.prctl(DIE_WITH_PARENT, signal.SIGTERM)
