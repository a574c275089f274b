"""Claims about the door of every command: its words, its end, its folder of results."""

import importlib
import os
import sqlite3
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from mlflow.exceptions import MlflowException

import experiments
from experiments.cli import call_command, run_command, whole_folder
from tests.experiments.refused import refused


class Size(StrEnum):
    """A choice."""

    SMALL = "small"


def paint(
    verb: Literal["draw", "print"],
    /,
    *overrides: str,
    count: int,
    parts: list[str] = [],  # noqa: B006 - as the commands have it
    size: Size | None = None,
    out: Path | None = None,
    grey: bool = False,
    frame: bool = True,
) -> None:
    """Paint 100 % of it.

    Args:
        verb: what to do
        count: how many
            of them
    """
    SEEN.append((verb, overrides, count, parts, size, out, grey, frame))


SEEN: list[tuple[object, ...]] = []


def ending(
    action: Callable[[], int | None], monkeypatch: pytest.MonkeyPatch, *words: str
) -> int | str | None:
    """The exit code of a command that does this."""
    monkeypatch.setattr(sys, "argv", ["command", *words])

    def command() -> int | None:
        return action()

    with pytest.raises(SystemExit) as caught:
        run_command(command)
    return caught.value.code


def raising(error: BaseException) -> Callable[[], int]:
    def fail() -> int:
        raise error

    return fail


def test_signature_is_the_command_line() -> None:
    line = "draw --count 3 --parts a b --parts c --size small --grey --frame false --x.y z"
    assert call_command(paint, line.split()) == call_command(paint, ["print", "--count=1"]) == 0
    every = ("draw", ("--x.y", "z"), 3, ["a", "b", "c"], Size.SMALL, None, True, False)
    assert [every, ("print", (), 1, [], None, None, False, True)] == SEEN


def test_docstring_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command(paint, ["--help"])
    text = capsys.readouterr().out
    assert "Paint 100 % of it." in text and "how many of them" in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["draw", "--count", "x"], "--count: got 'x', expected int"),
        (["draw"], "required: --count"),
        (["draw", "--count", "1", "--grey", "yes"], "got 'yes', expected true_or_false"),
        (["sing", "--count", "1"], "invalid choice: 'sing'"),
        (["draw", "--count", "1", "--size", "tiny"], "tiny"),
    ],
)
def test_word_that_does_not_fit_is_one_line(words: list[str], line: str) -> None:
    assert line in refused(paint, *words)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("got 3,\n  expected 4"), "got 3, expected 4"),
        (FileNotFoundError(2, "No such file", "x.png"), "No such file: x.png"),
        (MlflowException("no such run"), "no such run"),
        (ValueError(), "ValueError"),
        (sqlite3.OperationalError("database is locked"), "the tracking database is locked by "),
    ],
)
def test_user_error_is_one_line_and_code_2(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(raising(error), monkeypatch) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"error: {line}") and text.count("\n") == 1
    monkeypatch.setenv("DIFFUSE_DEFECT_DEBUG", "1")
    ending(raising(error), monkeypatch)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (lambda: None, 0),
        (lambda: 1, 1),
        (raising(KeyboardInterrupt()), 130),
        (raising(type("Terminated", (SystemExit,), {})()), 143),
        (raising(SystemExit(3)), 3),
    ],
)
def test_exit_code_says_how_a_command_ended(
    action: Callable[[], int | None], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ending(action, monkeypatch) == code
    # Our own fault keeps its traceback.
    with pytest.raises(TypeError, match="a bug"):
        run_command(raising(TypeError("a bug")))


def test_folder_of_results_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"

    def write(text: str, *, overwrite: bool = False) -> None:
        with whole_folder(out, entries=["a.txt"], overwrite=overwrite) as folder:
            (folder / "a.txt").write_text(text)
            if text == "broken":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write("broken")
    assert not list(out.parent.iterdir())
    write("first")
    with pytest.raises(ValueError, match="is not empty: choose another --out or give --overwrite"):
        write("second")
    write("second", overwrite=True)
    assert (out / "a.txt").read_text() == "second"
    (out / "mine.txt").touch()
    with pytest.raises(ValueError, match=r"holds 'mine.txt', which this command doesn't write"):
        write("third", overwrite=True)
    inside = whole_folder(out / "a.txt" / "b", entries=[], overwrite=False)
    with pytest.raises(OSError, match=r"cannot write to .* is not a folder"), inside:
        pass


@pytest.mark.parametrize(
    ("given", "policy"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "2"}, None)],
)
def test_threads_wait_asleep_unless_the_user_says_otherwise(
    given: dict[str, str], policy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    importlib.reload(experiments)
    assert os.environ.get("OMP_WAIT_POLICY") == policy
