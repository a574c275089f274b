"""Holds that a child that is no run is found again in the tracker, with or without numbers."""

import json
from pathlib import Path

import pytest

from experiments.comparing.study_plan import Child
from experiments.comparing.tracked_children import StudyRun
from experiments.runs import read_runs


@pytest.mark.parametrize("left", [None, {"pictures": 3}])
def test_child_that_is_no_run_has_finished_once_it_is_tracked(
    left: dict[str, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results = tmp_path / "rows.json"
    results.write_text(json.dumps(left))
    child = Child(
        "data_s0",
        "data",
        0,
        ("--out", "a folder"),
        module="experiments.prepare",
        results=str(results) if left else "",
    )
    parent = StudyRun(tmp_path / "out", "trial")
    assert not parent.results([child]).found
    parent.track(child)
    found = parent.results([child]).found["data", 0]
    assert found.metrics == (left or {})
    (row,) = [one for one in read_runs(tmp_path / "out", "trial") if one.run_id == found.run_id]
    assert row.params == {"command": "experiments.prepare --out 'a folder'"}
