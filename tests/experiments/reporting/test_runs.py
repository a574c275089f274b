"""Holds that children run after what they need, and that one failing stops only those after it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.reporting.plan import Child
from experiments.reporting.runs import put_aside, run_children, run_process, study_lock

A, B = Child("a", "a", 0, ()), Child("b", "b", 0, (), needs=("a",))
C = Child("c", "c", 0, ())


def run(
    children: list[Child], *, failing: str = "", finished: tuple[str, ...] = (), jobs: int = 1
) -> tuple[list[str], dict[str, str]]:
    """Which children were run, in their order, and why some failed."""
    ran: list[str] = []

    def one(child: Child) -> str:
        ran.append(child.name)
        return "broken" if child.name == failing else ""

    return ran, run_children(children, set(finished), one, jobs=jobs)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_child_runs_after_what_it_needs(jobs: int) -> None:
    ran, failed = run([B, A, C], jobs=jobs)
    assert ran.index("a") < ran.index("b") and len(ran) == 3 and not failed


def test_what_comes_first_in_the_plan_is_whole_before_the_next_begins() -> None:
    later = [Child("a_s1", "a", 1, ()), Child("b_s1", "b", 1, (), needs=("a_s1",))]
    assert run([A, B, *later])[0] == ["a", "b", "a_s1", "b_s1"]


def test_a_finished_child_is_not_run_again_and_a_failing_one_stops_what_needs_it() -> None:
    assert run([B, A, C], finished=("a", "c")) == (["b"], {})
    assert run([B, A, C], failing="a")[1] == {
        "a": "broken",
        "b": "skipped: needs a, which has failed",
    }


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
        reason = run_process(["-c", code], tmp_path / "log", threads=3, held=lock)
    assert reason.startswith("error: got 1 (exit code 1; see ")
    assert (tmp_path / "log").read_text().startswith("3\n")


PARENT = """
import sys
from pathlib import Path
from experiments.reporting.runs import run_process, study_lock
folder = Path(sys.argv[1])
with study_lock(folder) as lock:
    run_process(["-c", sys.argv[2], str(folder)], folder / "log", threads=0, held=lock)
"""
CHILD = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit((folder / "saved").touch()))
(folder / "begun").touch()
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_child_of_a_killed_study_saves_and_the_next_start_waits_for_it(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), CHILD])
    while not (tmp_path / "begun").exists():
        assert parent.poll() is None
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    with study_lock(tmp_path):
        assert (tmp_path / "saved").exists()
