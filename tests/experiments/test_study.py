"""Holds the command of studies: children run once, broken ones are shown, all is read back."""

import json
from pathlib import Path

import pytest
import yaml

from experiments import prepare, study
from experiments.comparing.study_files import StudyFolder
from experiments.comparing.study_plan import CHILD_TAG, PARENT_TAG
from experiments.runs import RunRow, read_runs


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
        "study": {
            "class_path": "experiments.studies.constant_answers.ConstantAnswers",
            "init_args": {"answers": ["good", "no_such_type"]},
        },
        "base": ["baselines/constant.yaml"],
        "settings": {"data": {"init_args": data}},
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
    assert study.main(["--config", str(config)]) == study.INCOMPLETE_CODE
    printed = capsys.readouterr().out
    assert "child no_such_type_s0: failed: error: " in printed
    assert "1 of 2 children have finished" in printed
    (row,) = finished(config)
    assert row.name == "good_s0"  # the experiment says of which study
    assert row.tags[PARENT_TAG] and row.metrics["mask/test/type_accuracy"] > 0

    study.main(["--config", str(config), "--list"])
    (left,) = capsys.readouterr().out.strip().splitlines()
    assert "no_such_type_s0" in left

    # The same command again: what has finished is not run again.
    study.main(["--config", str(config)])
    assert "1 of 2 children had finished before" in capsys.readouterr().out
    assert len(finished(config)) == 1

    report = config.parent / "out" / "studies" / "trial" / "report"
    (table,) = json.loads((report / "results.json").read_text())["tables"]
    good, missing = table["rows"]
    assert good["runs"] == [row.run_id] and good["status"] == "measured"
    assert good["mean"] == pytest.approx(row.metrics["mask/test/type_accuracy"])
    assert missing["status"] == "not run"
    assert {file.suffix for file in report.iterdir()} == {".md", ".csv", ".tex", ".json", ".png"}


def test_list_prints_each_child_as_a_command_and_runs_none(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.main(["--config", str(config), "--list", "--seeds", "[4, 5]"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 4
    assert all(line.startswith("python -m experiments.run --config ") for line in lines)
    assert not finished(config)


def test_one_child_runs_beside_others_and_reports_nothing(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StudyFolder(config.parent / "out", "trial").held(shared=True):
        assert study.main(["--config", str(config), "--child", "good_s0"]) == 0
    assert [row.name for row in finished(config)] == ["good_s0"]
    assert not (config.parent / "out" / "studies" / "trial" / "report").exists()
    assert "have finished" not in capsys.readouterr().out


def test_one_child_whose_need_has_not_finished_is_refused(config: Path) -> None:
    words = ["--config", "studies/real_and_generated.yaml", "--output", str(config.parent / "out")]
    with pytest.raises(ValueError, match=r"--child judged_s0 needs .*_s0, which has not finished"):
        study.main([*words, "--child", "judged_s0"])


def test_child_that_the_tracker_lets_down_has_failed_and_the_others_run_on(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(directory: Path, sha256: str) -> None:
        if "good" in directory.name:
            raise OSError("no space left")

    monkeypatch.setattr(study, "put_aside", full)
    words = ["--config", str(config), "--study.init_args.answers", "[good, scratch]"]
    assert study.main(words) == study.INCOMPLETE_CODE
    assert [row.name for row in finished(config)] == ["scratch_s0"]
    assert "child good_s0: failed: no space left" in capsys.readouterr().out


def test_child_with_other_words_does_not_count(config: Path) -> None:
    words = ["--config", str(config), "--study.init_args.answers", "[good]"]
    assert study.main(words) == 0
    changed = [*words, "--settings.data.init_args.eval_batch_size", "2", "--report"]
    study.main(changed)
    report = config.parent / "out" / "studies" / "trial" / "report" / "results.json"
    assert json.loads(report.read_text())["tables"][0]["rows"][0]["status"] == "not run"


def test_child_that_is_no_run_is_tracked_with_the_numbers_it_left(tmp_path: Path) -> None:
    manifest = tmp_path / "data" / "manifest.parquet"
    source = ["--source", "synthetic", "--source.init_args.image_count", "8"]
    size = ["--source.init_args.image_size_px", "64"]
    folder = str(manifest.parent)
    assert prepare.main([*source, *size, "--root", folder, "--out", folder]) == 0
    words = ["--config", "studies/dataset_statistics.yaml", "--output", str(tmp_path / "out")]
    sets = ["--study.init_args.sets", json.dumps({"made": str(manifest)})]
    assert study.main([*words, *sets]) == 0
    (row,) = [
        one for one in read_runs(tmp_path / "out", "dataset_statistics") if CHILD_TAG in one.tags
    ]
    assert row.metrics["Alike pictures/pictures"] == 8
    report = tmp_path / "out" / "studies" / "dataset_statistics" / "report" / "results.json"
    first = json.loads(report.read_text())["tables"][0]["rows"][0]
    assert (first["figure"], first["mean"], first["status"]) == ("pictures", 8, "measured")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no study was given"),
        (["--config", "CONFIG", "--jobs", "0"], "expected 1 or more"),
        (["--config", "CONFIG", "--only", "bad_s0"], "no child 'bad_s0': expected one of good_s0"),
        (["--config", "CONFIG", "--seeds", "[]"], r"seeds is \[\]: expected one number"),
        (["--config", "CONFIG", "--seeds", "[0, 0]"], r"seeds is \[0, 0\]: .* each once"),
        (["--config", "CONFIG", "--child", "good_s0", "--report"], "--child runs one child alone"),
        (["--config", "CONFIG", "--child", "good_s0", "--publish", "p.md"], "nothing to publish"),
        (["--config", "CONFIG", "--publish", "no.md"], "no.md is missing: make the page"),
        (["--config", "CONFIG", "--bases", "x"], "bases"),
        (["--config", "CONFIG", "--name", "a/b"], "one word without folders"),
        (["--config", "CONFIG", "--study.init_args.answers", "[]"], "compares nothing"),
        (
            ["--config", "studies/detection.yaml", "--study.init_args.task", "x"],
            "^task is 'x': expected classification or detection$",
        ),
        (["--config", "CONFIG", "--study.init_args.answer", "[a]"], "answer"),
        (["--config", "CONFIG", "--study.class_path", "experiments.runs.RunRow"], "Study"),
    ],
)
def test_wrong_words_are_refused(config: Path, words: list[str], message: str) -> None:
    given = [str(config) if word == "CONFIG" else word for word in words]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        study.main(given)
