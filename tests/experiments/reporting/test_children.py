"""Holds that children run after what they need, and that one failing stops only those after it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.reporting.children import (
    DONE,
    FAILED,
    SKIPPED,
    Outcome,
    put_aside,
    run_children,
    run_process,
    study_lock,
)
from experiments.reporting.plan import Child

A, B = Child("a", "a", 0, ()), Child("b", "b", 0, (), needs=("a",))
C = Child("c", "c", 0, ())


def run(
    children: list[Child], *, failing: str = "", finished: tuple[str, ...] = (), jobs: int = 1
) -> tuple[list[str], dict[str, str]]:
    """Which children were run, in their order, and how all of them ended."""
    ran: list[str] = []

    def one(child: Child) -> Outcome:
        ran.append(child.name)
        return Outcome(FAILED, "broken") if child.name == failing else Outcome(DONE)

    outcomes = run_children(
        children, set(finished), one, jobs=jobs, on_end=lambda child, outcome: None
    )
    return ran, {name: outcome.status for name, outcome in outcomes.items()}


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_child_runs_after_what_it_needs(jobs: int) -> None:
    ran, ended = run([B, A, C], jobs=jobs)
    assert ran.index("a") < ran.index("b")
    assert set(ended.values()) == {DONE} and len(ran) == 3


def test_what_comes_first_in_the_plan_is_whole_before_the_next_begins() -> None:
    planned = [
        Child(f"{name}_s{seed}", name, seed, (), needs=(f"a_s{seed}",) if name == "b" else ())
        for seed in (0, 1)
        for name in ("a", "b")
    ]
    assert run(planned)[0] == ["a_s0", "b_s0", "a_s1", "b_s1"]


def test_a_finished_child_is_not_run_again_and_a_failing_one_stops_what_needs_it() -> None:
    assert run([B, A, C], finished=("a", "c")) == (["b"], {"a": DONE, "b": DONE, "c": DONE})
    assert run([B, A, C], failing="a")[1] == {"a": FAILED, "b": SKIPPED, "c": DONE}


def test_run_that_other_words_began_is_put_aside_and_nothing_is_lost(tmp_path: Path) -> None:
    config = tmp_path / "runs" / "one" / "config.yaml"
    for number in (1, 2):
        config.parent.mkdir(parents=True)
        config.write_text("tags: {command_sha256: abc}\n")
        put_aside(config.parent, "abc")
        assert config.is_file()
        put_aside(config.parent, "def")
        assert not config.parent.exists()
        assert config.parent.with_name(f"one.other-{number}").joinpath(config.name).is_file()
    put_aside(config.parent, "abc")


def test_process_has_its_threads_and_a_failing_one_gives_its_last_line(tmp_path: Path) -> None:
    code = "import os; print(os.environ['OMP_NUM_THREADS']); raise SystemExit('error: got 1')"
    with study_lock(tmp_path) as lock:
        ended = run_process(["-c", code], tmp_path / "log", threads=3, held=lock)
    assert ended.status == FAILED
    assert ended.reason.startswith("error: got 1 (exit code 1; see ")
    assert (tmp_path / "log").read_text().startswith("3\n")


PARENT = """
import sys
from pathlib import Path
from experiments.reporting.children import run_process
folder = Path(sys.argv[1])
child = "import os, pathlib, time; pathlib.Path('{}').write_text(str(os.getpid())); time.sleep(60)"
with (folder / "lock").open("w") as lock:
    words = ["-c", child.format(folder / "pid")]
    run_process(words, folder / "log", threads=0, held=lock.fileno())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_killed_study_leaves_no_child_behind(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    pid = int(eventually(lambda: (tmp_path / "pid").read_text()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    eventually(lambda: is_gone(pid) or None)


def eventually(look):  # type: ignore[no-untyped-def]
    """What `look` gives, once it gives something; fails after half a minute."""
    for _ in range(300):
        try:
            if found := look():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("it never came")


def is_gone(pid: int) -> bool:
    """Whether no process of this number lives; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return True
