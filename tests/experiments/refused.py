"""How a command refuses what a user or a file can cause."""

import pytest

from experiments.cli import Command, call_command


def refused(command: Command, *words: object) -> str:
    """The one line with which the command refuses the words."""
    with pytest.raises((ValueError, OSError)) as caught:
        call_command(command, [str(word) for word in words])
    assert "\n" not in str(caught.value)
    return str(caught.value)
