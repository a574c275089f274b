"""Claims about how kills are counted; that real ones leave no trace is in test_killed_run.py."""

import random
from pathlib import Path

import pytest

from experiments.benchmarks import kills
from experiments.measuring.measurements import BenchSettings


class Told:
    """A journey that tells what it is told to."""

    fault = False

    def __init__(self, folder: Path) -> None:
        self.directory = self.folder = folder

    def finish(self, *words: str) -> int:
        return 0

    def kill_often(self, dice: random.Random, count: int) -> int:
        return count

    def notes(self) -> list[int]:
        return [1, 2]

    def newest_checkpoint(self) -> dict[str, int]:
        return {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(("found", "survived"), [([], 1.0), (["state_dict.weight"], 0.0)])
def test_kill_counts_as_survived_only_where_nothing_differs(
    found: list[str], survived: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kills, "Journey", Told)
    monkeypatch.setattr(kills, "differences", lambda *_: found)
    rows = kills.measure(BenchSettings(repeats=7))
    assert [row.ratio for row in rows] == [survived, survived]
    assert [row.reference for row in rows] == [7, 3]
    assert rows[0].settings == {"batches in a training": 2, "values compared": 3}


def test_run_that_could_not_go_on_did_not_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(Told):
        def finish(self, *words: str) -> int:
            return 2 if words else 0

    monkeypatch.setattr(kills, "Journey", Lost)
    monkeypatch.setattr(kills, "differences", lambda *_: [])
    assert kills.measure(BenchSettings(repeats=3))[0].ours == 0
