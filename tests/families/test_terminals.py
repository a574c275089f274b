"""Signs that a terminal lacks, and readers who leave, turn no finished work into a failure."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAME = "划痕 größe"
# Says more than a pipe holds, in both ways that we have, and then works.
TALKER = f"""
import sys
from pathlib import Path
from rich.console import Console
from experiments.cli import run_command
def talk() -> None:
    for _ in range(2000):
        print({NAME!r}, flush=True)
        Console().print({NAME!r})
        print({NAME!r}, file=sys.stderr)
    Path({{0!r}}).touch()
run_command(talk)
"""


def ends(words: list[str], *, encoding: str = "", shell: str = "") -> subprocess.CompletedProcess:
    """How `python WORDS` ends, its output through what the shell's words do with it."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {shell}; exit ${{PIPESTATUS[0]}}', "-", sys.executable, *words],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8:strict", "latin-1"])
def test_sign_that_the_terminal_lacks_is_replaced(encoding: str, tmp_path: Path) -> None:
    ended = ends(["-c", TALKER.format(str(tmp_path / "done"))], encoding=encoding)
    assert ended.returncode == 0 and (tmp_path / "done").exists()
    said = ended.stdout.decode(encoding.partition(":")[0]).splitlines()
    assert len(said) == 4000 and all("gr" in line for line in said)


@pytest.mark.parametrize("shell", ["| head -1", "2>&1 | head -1", "| true", ">&-", ">&- 2>&-"])
def test_reader_that_leaves_stops_no_work(shell: str, tmp_path: Path) -> None:
    ended = ends(["-c", TALKER.format(str(tmp_path / "done"))], shell=shell)
    assert ended.returncode == 0 and (tmp_path / "done").exists()
    assert b"Broken pipe" not in ended.stderr and b"Traceback" not in ended.stderr


def test_words_that_a_full_disk_has_not_taken_are_said_after_the_work(tmp_path: Path) -> None:
    ended = ends(["-c", TALKER.format(str(tmp_path / "done"))], shell="> /dev/full")
    assert ended.returncode == 2 and (tmp_path / "done").exists()
    last = ended.stderr.decode().splitlines()[-1]
    assert last.startswith("error: standard output: No space left on device: the work is done")


def test_prepare_on_a_terminal_of_windows_ends_well(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for kind in (NAME, "good"):
        for number in range(4):
            path = tmp_path / "in" / "images" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (48, 48), np.uint8)).save(path)
    words = ["-m", "experiments.prepare", "--source", "folder", "--root", str(tmp_path / "in")]
    ended = ends([*words, "--out", str(tmp_path / "out")], encoding="cp1252")
    assert ended.returncode == 0, ended.stderr
    assert rb"\u5212\u75d5 gr" in ended.stdout and (tmp_path / "out/manifest.parquet").is_file()
