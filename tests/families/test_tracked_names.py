"""Names and folders reach the tracker and come back as they are, whatever signs they have."""

import itertools
import shutil
from pathlib import Path

import pytest
from mlflow.utils.validation import _validate_metric

from experiments.run_logger import RunLogger
from experiments.tracking import (
    initialise_tracking,
    key_of,
    name_of,
    read_runs,
    tracking_uri,
)

NAMES = [
    *("a+b", "a#b", "a b", "a_b", "a-b", "a/b", "a, b", "a = b", "a'b'", "A", "a", "größe", "划痕"),
    *(
        "a:2b:b",
        "1:30:00",
        "a\\b",
        "a\nb",
        "..",
        ".",
        "../a",
        "/a",
        "a/",
        "a//b",
        "a.b",
        "\U0001f600",
    ),
    *("x" * 300, "x" * 301),
]
FOLDERS = ["plain", "with space", "50%", "#1", "what?", "a%41b", "größe 划痕", "50% #1 ?&=+;@:é"]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh tracking database: making one takes seconds, a copy none."""
    folder = tmp_path_factory.mktemp("50% #1 ?")
    initialise_tracking(folder)
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_every_name_has_a_key_of_its_own_that_mlflow_takes() -> None:
    names = [*NAMES, *("".join(signs) for signs in itertools.product(":2b/.+", repeat=5))]
    keys = [key_of(name) for name in names]
    assert len(set(keys)) == len(names)
    for name, key in zip(names, keys, strict=True):
        _validate_metric(key, 1.0, 0, 0)
        assert name_of(key) == name or len(name) > 250


@pytest.mark.parametrize(
    "name",
    ["mask/test/iou_image", "pretrain/val/loss_diff_t0001_0100", "a: b", "lr-AdamW/pg1", "划痕"],
)
def test_usual_name_is_its_own_key(name: str) -> None:
    assert key_of(name) == name


@pytest.mark.parametrize("folder", FOLDERS)
def test_run_in_any_folder_is_tracked_there_under_the_names_it_has(
    folder: str, database: Path, tmp_path: Path
) -> None:
    output = tmp_path / folder
    output.mkdir()
    shutil.copy(database, output)
    initialise_tracking(output)
    tracked = RunLogger(output, "e", "one", {}, directory=output / "runs" / "one")
    figures = {f"mask/test/iou_type/{name}": float(number) for number, name in enumerate(NAMES)}
    tracked.log_hyperparams({"a+b": 1, "a#b": 2})
    tracked.log_metrics(figures)
    (output / "note.txt").write_text("seen")
    tracked.log_artifact(output / "note.txt")
    tracked.close()
    (row,) = read_runs(output, "e")
    long = {name: value for name, value in figures.items() if len(name) > 250}
    assert len(row.metrics) == len(figures)
    assert figures.items() - row.metrics.items() == long.items()
    assert row.params == {"a+b": "1", "a#b": "2"}
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert [path.read_text() for path in (output / "artifacts").rglob("note.txt")] == ["seen"]
    assert tracking_uri(output).startswith("sqlite:///")
