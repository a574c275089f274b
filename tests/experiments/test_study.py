"""Holds the command of studies: children run once, broken ones are shown, all is read back."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from experiments.cli import call_command
from experiments.reporting.plan import CHILD_TAG, Child, Study
from experiments.reporting.runs import PARENT_TAG, StudyRun, study_lock
from experiments.study import INCOMPLETE_CODE, study
from experiments.tracking import RunRow, read_runs


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of a constant answer that the data has and of one that it has not."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    data = {
        "source": {"init_args": {"image_count": 24, "image_size_px": 64}},
        "root": str(tmp_path / "data"),
        "manifest_folder": str(tmp_path / "manifests"),
    }
    content = {
        "variants": {"good": {}, "no_such_type": {}},
        "metrics": ["type_accuracy"],
        "charts": ["type_accuracy"],
        "base": ["baselines/constant.yaml"],
        "settings": {"model.init_args.type_name": "{name}", "data": {"init_args": data}},
        "output": str(tmp_path / "out"),
    }
    file = tmp_path / "trial.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def finished(config: Path) -> list[RunRow]:
    rows = read_runs(config.parent / "out", "trial")
    return [row for row in rows if CHILD_TAG in row.tags and row.status == "FINISHED"]


def test_study_runs_what_is_left_and_reports_what_has_finished(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_command(study, ["--config", str(config)]) == INCOMPLETE_CODE
    printed = capsys.readouterr().out
    assert "child no_such_type_s0: failed: error: " in printed
    assert "1 of 2 children have finished" in printed
    (row,) = finished(config)
    assert row.name == "good_s0"  # the experiment says of which study
    assert row.tags[PARENT_TAG] and row.metrics["mask/test/type_accuracy"] > 0

    assert call_command(study, ["--config", str(config), "--list"]) == 0
    (left,) = capsys.readouterr().out.strip().splitlines()
    assert left.startswith("python -m experiments.run --config ") and "no_such_type_s0" in left

    # The same command again: what has finished is not run again.
    call_command(study, ["--config", str(config)])
    assert "1 of 2 children had finished before" in capsys.readouterr().out
    assert len(finished(config)) == 1

    report = config.parent / "out" / "studies" / "trial" / "report"
    (table,) = json.loads((report / "results.json").read_text())["tables"]
    good, missing = table["rows"]
    assert good["runs"] == [row.run_id] and good["status"] == "measured"
    assert good["mean"] == pytest.approx(row.metrics["mask/test/type_accuracy"])
    assert missing["status"] == "not run"
    assert {file.suffix for file in report.iterdir()} == {".md", ".csv", ".tex", ".json", ".png"}

    # A child of other words counts as not run.
    words = ["--settings.data.init_args.eval_batch_size", "2", "--report"]
    call_command(study, ["--config", str(config), *words])
    (table,) = json.loads((report / "results.json").read_text())["tables"]
    assert {one["status"] for one in table["rows"]} == {"not run"}


def test_one_child_runs_beside_others_and_reports_nothing(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with study_lock(config.parent / "out" / "studies" / "trial", shared=True):
        assert call_command(study, ["--config", str(config), "--child", "good_s0"]) == 0
    assert [row.name for row in finished(config)] == ["good_s0"]
    assert not (config.parent / "out" / "studies" / "trial" / "report").exists()
    assert "have finished" not in capsys.readouterr().out


def test_child_that_is_no_run_is_listed_as_a_child_of_its_study_and_waits_for_its_needs(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", "studies/real_and_generated.yaml", "--output", str(config.parent / "out")]
    call_command(study, [*words, "--list"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == shlex.join(
        ["python", "-m", "experiments.study", *words, "--child", "fidelity_s0"]
    )
    with pytest.raises(
        ValueError, match=r"--child fidelity_s0 needs .*_s0, which has not finished"
    ):
        call_command(study, [*words, "--child", "fidelity_s0"])


def test_child_that_cannot_be_begun_has_failed(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(directory: Path, sha256: str) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("experiments.reporting.runs.put_aside", full)
    assert call_command(study, ["--config", str(config), "--only", "good_s0"]) == INCOMPLETE_CODE
    assert "child good_s0: failed: no space left" in capsys.readouterr().out


def row_of(config: Path) -> RunRow:
    (row,) = finished(config)
    return row


def test_run_of_another_study_with_the_same_words_is_not_run_again(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--only", "good_s0"]
    assert call_command(study, ["--config", str(config), *words]) == 0
    other = config.with_name("other.yaml")
    again = {"variants": {"good": {}, "tested": {"tests": "good"}}}
    other.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **again}))
    capsys.readouterr()
    assert call_command(study, ["--config", str(other), *words]) == 0
    assert "1 of 1 children had finished before" in capsys.readouterr().out
    (row,) = json.loads((config.parent / "out/studies/other/report/results.json").read_text())[
        "tables"
    ][0]["rows"][:1]
    assert row["runs"] == [row_of(config).run_id] and row["mean"] > 0
    call_command(study, ["--config", str(other), "--list"])
    (left,) = capsys.readouterr().out.strip().splitlines()
    assert f"--weights {config.parent}/out/runs/trial.good_s0" in left
    # Begun anew with other words, its directory is not what was tracked.
    kept = config.parent / "out" / "runs" / "trial.good_s0" / "config.yaml"
    kept.write_text(kept.read_text().replace(row_of(config).tags["command_sha256"], "0"))
    call_command(study, ["--config", str(other), "--list"])
    assert len(capsys.readouterr().out.strip().splitlines()) == 2
    # Of another seed it is another run.
    call_command(study, ["--config", str(other), "--list", "--seeds", "[1]"])
    assert len(capsys.readouterr().out.strip().splitlines()) == 2


@pytest.mark.parametrize("left", [None, {"images": 3, "long": [{"name": "tail", "share": 0.5}]}])
def test_child_that_is_no_run_has_finished_once_it_is_tracked_with_the_numbers_it_left(
    left: dict[str, object] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results = tmp_path / "rows.json"
    results.write_text(json.dumps(left))
    child = Child(
        *("data_s0", "data", 0, ("--out", "a folder")),
        module="experiments.prepare",
        results=str(results) if left else "",
        tags={"dataset": "mtd"},
    )
    parent = StudyRun(Study("trial", {}, output=str(tmp_path / "out")))
    assert not parent.finished([child])
    parent.track(child)
    found = parent.results([child]).found["data", 0]
    assert found.metrics == ({"images": 3, "long/tail/share": 0.5} if left else {})
    assert found.tags["dataset"] == "mtd"
    (row,) = [one for one in read_runs(tmp_path / "out", "trial") if one.run_id == found.run_id]
    assert row.params == {"command": "experiments.prepare --out 'a folder'"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: --config"),
        (["--config", "studies/systms.yaml"], "did you mean studies/systems.yaml"),
        (["--config", "CONFIG", "--jobs", "0"], "expected 1 or more"),
        (["--config", "CONFIG", "--only", "bad_s0"], "no child 'bad_s0': expected one of good_s0"),
        (["--config", "CONFIG", "--seeds", "[]"], r"seeds is \[\]: expected one number"),
        (["--config", "CONFIG", "--seeds", "[0, 0]"], r"seeds is \[0, 0\]: .* each once"),
        (["--config", "CONFIG", "--seeds", "x"], "^seeds: got 'x', expected list"),
        (["--config", "CONFIG", "--child", "good_s0", "--report"], "--child runs one child alone"),
        (["--config", "CONFIG", "--child", "good_s0", "--publish", "p.md"], "reports nothing"),
        (["--config", "CONFIG", "--publish", "no.md"], "no.md is missing: make the page"),
        (["--config", "CONFIG", "--bases", "x"], "bases: got an unknown key.* did you mean base"),
        (["--config", "CONFIG", "--name", "a/b"], "one word without folders"),
        (["--config", "CONFIG", "--variants", "{}"], "compares nothing"),
        (["--config", "CONFIG", "--variants", "[a]"], "expected names and what varies"),
        (["--config", "CONFIG", "--variants.good.need", "[a]"], "good.need: .* did you mean needs"),
        (["--config", "CONFIG", "--variants.good.needs", "a"], "needs"),
        (["--config", "CONFIG", "--variants.goood", "null"], "did you mean good"),
        (["--config", "CONFIG", "--paper", "table_9"], "paper is 'table_9': expected .*table_1"),
        (
            ["--config", "CONFIG", "--report.class_path", "experiments.tracking.RunRow"],
            "UsualReport",
        ),
    ],
)
def test_wrong_words_are_refused(config: Path, words: list[str], message: str) -> None:
    given = [str(config) if word == "CONFIG" else word for word in words]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call_command(study, given)
