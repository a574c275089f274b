"""Both modes run at several timesteps and are set beside the first, at a small size."""

import pytest

from experiments.benchmarks.inference_timestep import measure_mode
from tests.experiments.small_sizes import SMALL_STAGE2


@pytest.mark.parametrize(("mode", "limit"), [("single", 1.0), ("sequential", 0.5)])
def test_rows_stand_beside_the_first_timestep(mode: str, limit: float) -> None:
    rows = measure_mode(mode, SMALL_STAGE2, (1, 2), repeats=3)
    assert [row.name for row in rows] == [f"latency: {mode}, t = 2 beside t = 1"]
    assert rows[0].limit == limit
    assert rows[0].settings["ms a step of t"] == rows[0].ours - rows[0].reference
