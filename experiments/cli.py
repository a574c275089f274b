"""The door of every command: a function's signature is its command line, its docstring the help.

What a user or a file can cause ends as one line on stderr and exit code 2. Nothing heavy is
imported here: a command imports what it needs once its words are understood.
"""

import argparse
import difflib
import inspect
import io
import math
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, TextIO, Union, get_args, get_origin, get_type_hints

from datamodules.shared_memory import READER_ENDED, READERS_FAULT, REMEDY
from datamodules.whole_files import whole

DEBUG_VARIABLE = "DIFFUSE_DEFECT_DEBUG"
USER_ERROR_CODE = 2
INTERRUPTED_CODE = 130
TERMINATED_CODE = 143
LISTED_NAMES = 12
# Named, not imported: a command that touches no tracker should not pay for importing one.
FOREIGN_USER_ERRORS = (
    ("jsonargparse", "ArgumentError"),
    ("mlflow.exceptions", "MlflowException"),
    ("sqlalchemy.exc", "OperationalError"),
    ("sqlite3", "OperationalError"),
    ("lightning.fabric.utilities.exceptions", "MisconfigurationException"),
)
LOCKED_REMEDY = (
    "the tracking database is locked by another process: wait for it or close it "
    "(an open database browser counts), or give this run its own --output"
)
Command = Callable[..., int | None]


class CommandParser(argparse.ArgumentParser):
    """An argparse parser whose faults are ValueErrors of one line."""

    def error(self, message: str) -> NoReturn:
        """Raise ValueError with argparse's reason in the words of the house."""
        message = re.sub(
            r"argument (\S+): invalid (\w+) value: (.+)", r"\1: got \3, expected \2", message
        )
        message = re.sub(r"argument (\S+): ", r"\1: ", message)
        raise ValueError(f"{message}; {self.prog} --help tells them all")


class Terminal(io.TextIOWrapper):
    """Where words go: what its encoding lacks is escaped, and one that is gone stops no work.

    fault: why words were lost, None where none were.
    """

    fault: OSError | None = None

    @classmethod
    def of(cls, stream: TextIO | None) -> TextIO:
        """In place of a standard stream; a stream that somebody put there for it is left alone."""
        if stream is None:  # closed before the start
            return open(os.devnull, "w", encoding="utf-8")
        is_own = stream in (sys.__stdout__, sys.__stderr__)
        if not is_own or not isinstance(stream, io.TextIOWrapper):
            return stream
        lines = stream.line_buffering
        return cls(stream.buffer, stream.encoding, "backslashreplace", line_buffering=lines)

    def write(self, text: str) -> int:
        """Write; what can't be written any more is lost."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Flush likewise."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.fault = error
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def run_command(command: Command) -> NoReturn:
    """End the process with the command's exit code; user errors are one stderr line and code 2.

    Other exceptions keep their traceback: they are our own faults. With DIFFUSE_DEFECT_DEBUG=1
    user errors print theirs too.
    """
    sys.stdout, sys.stderr = Terminal.of(sys.stdout), Terminal.of(sys.stderr)
    # Without a network the hub would tell each of its tries before our one line.
    os.environ.setdefault("HF_HUB_VERBOSITY", "critical")
    try:
        code = call_command(command, sys.argv[1:])
        sys.stdout.flush()
        fault = getattr(sys.stdout, "fault", None)
        if fault and not isinstance(fault, BrokenPipeError):  # `... | head` closes the pipe
            raise OSError(f"standard output: {fault.strerror}: the work is done, not all is said")
    except (KeyboardInterrupt, SystemExit) as stop:
        if interrupt := interrupt_of(stop):
            print(": ".join(["interrupted", *interrupt.args]), file=sys.stderr)
            code = INTERRUPTED_CODE
        elif type(stop) is SystemExit:
            raise
        else:
            # Lightning's answer to SIGTERM, without a code, which would read as success.
            print("stopped by SIGTERM", file=sys.stderr)
            code = TERMINATED_CODE
    except Exception as error:
        if not is_user_error(error):
            raise
        if os.environ.get(DEBUG_VARIABLE) == "1":
            traceback.print_exc()
        print(f"error: {error_line(error)}", file=sys.stderr)
        code = USER_ERROR_CODE
    sys.exit(code)


def call_command(command: Command, words: Sequence[str]) -> int:
    """Call the command with what the words say; its exit code, 0 for None.

    Each keyword of the signature is an option: `bool` a flag that true or false may follow,
    `list[...]` one or more values that may be repeated, `Literal[...]` or an Enum a choice,
    `X | None` an option that may be left out; values stay as they were typed. A positional-only
    parameter is a leading word, one named `from_` the option --from; with `*overrides: str` the
    command takes what is no option as well.
    Raises ValueError for words that it does not take.
    """
    parser = command_parser(command)
    # For --help, which ends here, and for what is wrong.
    settings, rest = parser.parse_known_args(list(words))
    if rest and not _takes_overrides(command):
        known = [option for action in parser._actions for option in action.option_strings]
        raise ValueError(
            f"{parser.prog}: got {rest[0]!r}, expected one of its options; "
            + nearest_names(rest[0].partition("=")[0], known)
        )
    values = vars(settings)
    leading = [
        values.pop(name)
        for name, parameter in inspect.signature(command).parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY
    ]
    return command(*leading, *rest, **values) or 0


def command_parser(command: Command) -> CommandParser:
    """The parser that the command's signature and docstring describe."""
    module = inspect.getmodule(command)
    file = Path(getattr(module, "__file__", "") or "command").stem
    description, helps = _docstring_parts(inspect.getdoc(command) or "")
    parser = CommandParser(
        prog=f"python -m experiments.{file}", description=description, allow_abbrev=False
    )
    hints = get_type_hints(command)
    for name, parameter in inspect.signature(command).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        text, default = helps.get(name.rstrip("_"), ""), parameter.default
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            parser.add_argument(name, help=text.replace("%", "%%"), **_option(hints[name]))
            continue
        if default not in (inspect.Parameter.empty, None, "", [], (), False):
            text += f" (default: {default.value if isinstance(default, Enum) else default})"
        parser.add_argument(
            f"--{name.rstrip('_')}",
            dest=name,
            required=default is inspect.Parameter.empty,
            # What is not given is left to the signature.
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
            **_option(hints[name]),
        )
    return parser


def interrupt_of(stop: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C that this is or, where Lightning has made a `sys.exit(1)` of it, was."""
    before = stop.__context__ if isinstance(stop, SystemExit) else stop
    return before if isinstance(before, KeyboardInterrupt) else None


@contextmanager
def on_interrupt(words: str) -> Iterator[None]:
    """After Ctrl-C inside these words are said: what is kept, and how to go on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        interrupt = interrupt_of(stop)
        if interrupt is None:
            raise
        raise KeyboardInterrupt(*(interrupt.args or [words])) from stop


def is_user_error(error: Exception) -> bool:
    """Whether a user, a file or the tracker can cause this exception."""
    kinds = [getattr(sys.modules.get(module), name, None) for module, name in FOREIGN_USER_ERRORS]
    is_known = isinstance(error, (ValueError, OSError, *(kind for kind in kinds if kind)))
    return is_known or str(error).startswith(READER_ENDED)


def error_line(error: Exception) -> str:
    """The exception as one line: its message without line breaks, or its kind if it has none."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.strerror}: {error.filename}"
    else:
        text = str(error) or type(error).__name__
    if "database is locked" in text:
        text = LOCKED_REMEDY
    if text.startswith(READER_ENDED):
        reason = text.partition(". ")[0]
        text = f"a process that reads images ended ({reason}), perhaps for lack of memory: {REMEDY}"
    if READERS_FAULT in text:  # and its whole traceback
        text = text.strip().rpartition("\n")[2].partition(": ")[2]
    return re.sub(r"\s+", " ", text).strip()


def nearest_names(name: str, known: Iterable[str]) -> str:
    """A remedy: "did you mean ...?", or the known names where none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.55)
    if near:
        return f"did you mean {' or '.join(near)}?"
    listed = ", ".join(names[:LISTED_NAMES]) + (", ..." if len(names) > LISTED_NAMES else "")
    return f"known are {listed}" if names else "none is known"


@contextmanager
def whole_folder(folder: Path, *, entries: Collection[str], overwrite: bool) -> Iterator[Path]:
    """An empty folder beside `folder` to write into; renamed to it at the end, removed on errors.

    entries: the names that a finished folder holds; with `overwrite` a folder with nothing but
    these is replaced. Raises ValueError or OSError where `folder` is in the way or not writable.
    """
    folder = folder.resolve()
    check_is_free(folder, entries=entries, overwrite=overwrite)
    check_writable(folder)
    with on_interrupt(f"nothing is written to {folder}"), whole(folder) as unfinished:
        unfinished.mkdir()
        yield unfinished
        if folder.exists():
            shutil.rmtree(folder)


def check_is_free(folder: Path, *, entries: Collection[str], overwrite: bool) -> None:
    """ValueError unless `folder` is missing, empty, or ours to overwrite."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"output {folder} is a file: expected a folder; choose another --out")
    found = {path.name for path in folder.iterdir()}
    if found and not overwrite:
        raise ValueError(f"output {folder} is not empty: choose another --out or give --overwrite")
    foreign = sorted(found - set(entries))
    if foreign:
        raise ValueError(
            f"output {folder} holds {foreign[0]!r}, which this command doesn't write: "
            "choose another --out, it is not overwritten"
        )


def check_writable(folder: Path) -> None:
    """Nothing, where files can be made in `folder` or the folder itself can be made; else OSError.

    Asked before the long work, so that a full verification is not lost.
    """
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = "is not a folder" if not nearest.is_dir() else "may not be written to"
        raise OSError(
            f"cannot write to {folder}: {nearest} {reason}; choose another folder with --out"
        )


def _takes_overrides(command: Command) -> bool:
    """Whether the command has `*overrides`."""
    kinds = {parameter.kind for parameter in inspect.signature(command).parameters.values()}
    return inspect.Parameter.VAR_POSITIONAL in kinds


def number(word: str) -> float:
    """What an option for a number takes; ValueError for other words, NaN and infinity."""
    value = float(word)
    if not math.isfinite(value):
        raise ValueError
    return value


def true_or_false(word: str) -> bool:
    """What follows a flag; ValueError for other words."""
    if word not in ("true", "false"):
        raise ValueError
    return word == "true"


def _option(hint: object) -> dict[str, Any]:
    """The arguments of `add_argument` for one type."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = [kind for kind in get_args(hint) if kind is not type(None)]
    if hint is bool:
        return {"type": true_or_false, "nargs": "?", "const": True, "metavar": "true|false"}
    if get_origin(hint) is list:
        return {**_option(get_args(hint)[0]), "action": "extend", "nargs": "+"}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"type": hint, "choices": list(hint)}
    return {"type": number if hint is float else hint}


def _docstring_parts(text: str) -> tuple[str, dict[str, str]]:
    """What stands before `Args:`, and the words on each argument below it."""
    description, _, arguments = text.partition("Args:")
    helps: dict[str, str] = {}
    name = ""
    for line in arguments.splitlines():
        found = re.match(r" {4}(\w+): (.*)", line)
        if found:
            name, helps[found[1]] = found[1], found[2]
        elif name and line.strip():
            helps[name] += f" {line.strip()}"
    return " ".join(description.split()), helps
