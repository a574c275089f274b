"""Claims about how a command ends."""

import sqlite3

import pytest
from mlflow.exceptions import MlflowException

from experiments.command import run_command


def ending(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr of a command whose main raises `error`."""

    def main(argv: list[str] | None) -> int:
        raise error

    with pytest.raises(SystemExit) as exit_info:
        run_command(main)
    return int(exit_info.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("got 3,\n  expected 4"), "error: got 3, expected 4\n"),
        (FileNotFoundError(2, "No such file", "x.png"), "error: No such file: x.png\n"),
        (
            FileNotFoundError("data is missing: give --root"),
            "error: data is missing: give --root\n",
        ),
        (MlflowException("no such run"), "error: no such run\n"),
        (ValueError(), "error: ValueError\n"),
    ],
)
def test_user_error_is_one_line_and_code_two(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(error, capsys) == (2, line)


def test_locked_database_names_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = ending(sqlite3.OperationalError("database is locked"), capsys)
    assert code == 2
    assert "--output" in text and text.count("\n") == 1


def test_interrupt_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(KeyboardInterrupt(), capsys)[0] == 130


def test_debug_variable_adds_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIFFUSE_DEFECT_DEBUG", "1")
    assert "Traceback" in ending(ValueError("x"), capsys)[1]


def test_our_own_fault_keeps_its_traceback() -> None:
    def main(argv: list[str] | None) -> int:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        run_command(main)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (2, 2)])
def test_exit_code_is_what_main_returns(returned: int | None, code: int) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run_command(lambda argv: returned)
    assert exit_info.value.code == code
