"""Killed readers go on with exactly the rows that were left."""

from pathlib import Path

import pytest

from experiments.benchmarks.resume import differing, time_to_resume


@pytest.mark.parametrize("journey", [(1, 1), (2, 1)])
def test_killed_epoch_goes_on_with_the_rows_that_were_left(journey, tmp_path: Path) -> None:
    found = differing(journey, 5_000, tmp_path)
    assert found.ours == 0
    assert found.settings["rows compared"] >= 2 * 40 * 4


def test_difference_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "experiments.benchmarks.resume.killed_leg", lambda *leg: ({"consumed": 3}, [0, 1, 2])
    )
    assert differing((1,), 1_000, tmp_path).ours > 0


def test_time_to_resume_is_taken_at_both_places() -> None:
    found = time_to_resume(1_000)
    assert found.ours > 0
    assert found.reference > 0
