"""Claims about how OpenMP's threads wait, as the library itself reports it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.mark.skipif(sys.platform != "linux", reason="another OpenMP than GNU's")
@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "0"), ({"OMP_WAIT_POLICY": "ACTIVE"}, r"\d{8,}"), ({"GOMP_SPINCOUNT": "2000"}, "2000")],
)
def test_threads_wait_asleep_unless_the_user_says_otherwise(
    given: dict[str, str], spins: str
) -> None:
    rest = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    ended = subprocess.run(
        [sys.executable, "-c", "import experiments.cli, torch"],
        env=rest | given | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert re.search(rf"GOMP_SPINCOUNT = '{spins}'", ended.stderr)
