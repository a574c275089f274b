"""Children of a study as processes: several at once, each after those that it needs.

A child that fails stops only what needs it. When the study ends, however, its children do too:
each is told by the system when its parent is gone, saves, and can be gone on with.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from experiments.checkpoints import CONFIG_NAME
from experiments.comparing.study_plan import Child

logger = logging.getLogger(__name__)

DONE, FAILED, SKIPPED = "done", "failed", "skipped"
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
    tell: Callable[[Child, Outcome], None],
) -> dict[str, Outcome]:
    """Runs what has not finished, at most `jobs` at once; how each child ended, by name.

    The first in the plan that is ready goes next, so that seeds end one after the other.
    tell: called in this thread as each one ends.
    """
    outcomes = {child.name: Outcome(DONE) for child in children if child.name in finished}
    waiting = [child for child in children if child.name not in finished]
    running: dict[Future[Outcome], Child] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        while waiting or running:
            for child in [child for child in waiting if is_settled(child, outcomes)]:
                if missing := missing_need(child, outcomes):
                    waiting.remove(child)
                    outcomes[child.name] = Outcome(SKIPPED, f"needs {missing}, which has failed")
                    tell(child, outcomes[child.name])
                elif len(running) < jobs:
                    waiting.remove(child)
                    running[pool.submit(run, child)] = child
            if running:
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    child = running.pop(future)
                    outcomes[child.name] = future.result()
                    tell(child, outcomes[child.name])
    return outcomes


def is_settled(child: Child, outcomes: Mapping[str, Outcome]) -> bool:
    """Whether all that the child needs has ended."""
    return all(need in outcomes for need in child.needs)


def missing_need(child: Child, outcomes: Mapping[str, Outcome]) -> str:
    """The first need that did not finish, "" for none."""
    return next((need for need in child.needs if outcomes[need].status != DONE), "")


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
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    if ended.returncode == 0:
        return Outcome(DONE)
    return Outcome(FAILED, f"{last_line(log)} (exit code {ended.returncode}; see {log})")


def put_aside(directory: Path, sha256: str) -> None:
    """Renames a run directory that a child of other words began, so that the run starts anew.

    sha256: of the words that it has now, as its configuration names them among the tags.
    """
    begun = [*directory.glob(CONFIG_NAME), *directory.glob(f"*/{CONFIG_NAME}")]
    if not begun or any(sha256 in file.read_text(encoding="utf-8") for file in begun):
        return
    number = 1
    while (aside := directory.with_name(f"{directory.name}.other-{number}")).exists():
        number += 1
    directory.rename(aside)
    logger.warning("run directory %s was begun with other words: it is now %s", directory, aside)


def die_with_parent() -> None:
    """Asks the system to send this process SIGTERM when the one that made it ends, however."""
    assert LIBC is not None
    LIBC.prctl(DIE_WITH_PARENT, signal.SIGTERM)


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
