"""The doorstep of every command: what a user or a file can cause ends as one line, exit code 2.

The commands themselves are the other files of this folder; each calls `run_command(main)`.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from jsonargparse import ArgumentError

DEBUG_VARIABLE = "DIFFUSE_DEFECT_DEBUG"
USER_ERROR_CODE = 2
INTERRUPTED_CODE = 130
TERMINATED_CODE = 143
# Named, not imported: a command that touches no tracker should not pay for importing one.
FOREIGN_USER_ERRORS = (
    ("mlflow.exceptions", "MlflowException"),
    ("sqlalchemy.exc", "OperationalError"),
    ("sqlite3", "OperationalError"),
    ("lightning.fabric.utilities.exceptions", "MisconfigurationException"),
)
LOCKED_REMEDY = (
    "the tracking database is locked by another process: wait for it or close it "
    "(an open database browser counts), or give this run its own --output"
)


def run_command(main: Callable[[list[str] | None], int | None]) -> NoReturn:
    """End the process with `main`'s exit code; user errors are one stderr line and code 2.

    Other exceptions keep their traceback: they are our own faults. With DIFFUSE_DEFECT_DEBUG=1
    user errors print theirs too.
    """
    try:
        code = main(None) or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED_CODE
    except BrokenPipeError:
        # `... | head` closed the pipe; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except SystemExit as stop:
        # Lightning's answer to SIGTERM is a SystemExit without a code, which would read as success.
        if type(stop) is SystemExit:
            raise
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


def is_user_error(error: Exception) -> bool:
    """Whether a user, a file or the tracker can cause this exception."""
    if isinstance(error, (ValueError, OSError, ArgumentError)):
        return True
    return any(isinstance(error, kind) for kind in _foreign_user_errors())


def error_line(error: Exception) -> str:
    """The exception as one line: its message without line breaks, or its kind if it has none."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.strerror}: {error.filename}"
    else:
        text = str(error) or type(error).__name__
    if "database is locked" in text:
        text = LOCKED_REMEDY
    return re.sub(r"\s+", " ", text).strip()


def _foreign_user_errors() -> list[type[BaseException]]:
    """The exception types of the libraries that are loaded and report what a user can cause."""
    kinds = [getattr(sys.modules.get(module), name, None) for module, name in FOREIGN_USER_ERRORS]
    return [kind for kind in kinds if kind is not None]
