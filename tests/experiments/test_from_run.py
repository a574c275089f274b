"""Holds that a run goes on with corrected images beside its own, and says what that changed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from datamodules.imdd import IMDDDataModule
from datamodules.manifest import Manifest, write_manifest
from experiments.checkpoints import keep_manifest, load_any, load_stage
from experiments.cli import call_command
from experiments.config import load_config, parse_stage
from experiments.inference.changes import Answer, Change, report_changes
from experiments.run import run
from experiments.seen_images import data_below
from experiments.tracking import URI_VARIABLE, read_runs
from experiments.train import prepare_stage
from lightning_modules.weights_io import read_stage
from tests.experiments.refused import refused
from tests.experiments.small_run import small_words, words_of

OLD, NEW = "quickstart_stage2", "corrected"


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(URI_VARIABLE, raising=False)
        yield


def corrected_set(folder: Path, index: Manifest, splits: dict[str, int]) -> Path:
    """A COCO set of so many defective images of each split, each with one `chatter mark`."""
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for split, count in splits.items():
        rows = [row for row in index.rows_of(split).tolist() if index[row].defects]
        for row in rows[:count]:
            record, number = index[row], len(images) + 1
            name = f"{split}_{row}.png"
            shutil.copy(index.root / record.image, folder / "images" / name)
            size = {"width": record.width_px, "height": record.height_px}
            images.append({"id": number, "file_name": name, **size})
            box = [4, 4, 20, 20]
            ring = [4, 4, 24, 4, 24, 24, 4, 24]
            annotations.append(
                {"id": number, "image_id": number, "category_id": 1, "bbox": box}
                | {"segmentation": [ring], "area": 400, "iscrowd": 0}
            )
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "Chatter_mark"}]
    (folder / "annotations" / "corrected.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small run, and one that went on from it with images of its train and test."""
    output = tmp_path_factory.mktemp("mlruns")
    assert call_command(run, small_words("stage2", output, "--pretrained=random")) == 0
    index = Manifest.open(next((output / "manifests").glob("*.parquet")))
    corrected = corrected_set(output / "by_hand", index, {"train": 2, "test": 1})
    words = small_words("stage2", output, "--from", str(output / "runs" / OLD))
    # The corrected set stands in the place of the synthetic source.
    words = [word for word in words if not word.startswith(("--source.", "--root", "--pretrained"))]
    more = words_of({"root": corrected, "source": "coco", "name": NEW})
    assert call_command(run, [*words, *more]) == 0
    return output


def test_corrections_replace_training_images_and_leave_the_test_alone(output: Path) -> None:
    old = Manifest.open(next((output / "manifests").glob("synthetic-*.parquet")))
    new = Manifest.open(next((output / "manifests").glob("corrected-*.parquet")))
    assert len(new) == len(old)  # two in place of two, and one left out
    assert set(new.column("sha256")) == set(old.column("sha256"))
    told = {new[row].defects for row in new.rows_of("train") if "by_hand" in new[row].image}
    assert told == {("chatter mark",)}
    # Names stay what they were, and the net is asked as before.
    assert new.vocabulary.entries == (*old.vocabulary.entries, ("chatter mark",))
    for split in ("val", "test"):
        hashes = [
            sorted(index.column("sha256")[row] for row in index.rows_of(split))
            for index in (old, new)
        ]
        assert hashes[0] == hashes[1]
    assert "by_hand" in new.path.with_suffix(".quarantine.csv").read_text()


def test_training_begins_at_the_weights_of_the_run(output: Path) -> None:
    start = output / "runs" / OLD
    stage = parse_stage(load_config([str(output / "runs" / NEW / "config.yaml")]))
    began = prepare_stage(stage, start=start).model.state_dict()
    saved = read_stage(start).state
    trained = [name for name in saved if name.startswith("mask_generator.")]
    assert trained and all(began[name].equal(saved[name]) for name in trained)


def test_report_has_each_test_image_once_and_the_run_its_tags(output: Path) -> None:
    directory = output / "runs" / NEW
    content = json.loads((directory / "changes.json").read_text())
    new = Manifest.open(next((output / "manifests").glob("corrected-*.parquet")))
    tested = {new[row].image for row in new.rows_of("test")}
    assert {one["image"] for one in content["images"]} == tested
    assert sum(content["counts"].values()) == len(tested) == len(content["images"])
    page = (directory / "changes.html").read_text()
    assert page.count("<figure>") == content["counts"]["better"] + content["counts"]["worse"]
    (row,) = (row for row in read_runs(output, "quickstart") if row.name == NEW)
    assert row.tags["from"] == str(output / "runs" / OLD)
    stage = load_stage(directory)
    assert stage.vocabulary is not None and "chatter mark" in stage.vocabulary.names


def test_one_of_several_processes_tells_of_all_test_images(output: Path, tmp_path: Path) -> None:
    start = output / "runs" / OLD
    stage = prepare_stage(
        parse_stage(load_config([str(output / "runs" / NEW / "config.yaml")])), start=start
    )
    stage.data.setup("test")
    stage.data.trainer = SimpleNamespace(global_rank=0, world_size=2, num_devices=1)
    model = load_stage(output / "runs" / NEW)
    report_changes(start, model, stage.data, tmp_path, Path())
    told = [
        json.loads((one / "changes.json").read_text()) for one in (tmp_path, output / "runs" / NEW)
    ]
    assert told[0]["images"] == told[1]["images"]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ((False, 0.9), (True, 0.1), "better"),
        ((True, 0.1), (False, 0.9), "worse"),
        ((True, 0.5), (True, 0.59), "same"),
        ((True, 0.5), (True, 0.61), "better"),
        ((False, 0.5), (False, 0.3), "worse"),
        ((True, None), (True, None), "same"),
    ],
)
def test_answer_decides_before_the_outline(
    before: tuple[bool, float | None], after: tuple[bool, float | None], kind: str
) -> None:
    answers = [Answer("dent", is_right, iou) for is_right, iou in (before, after)]
    assert Change("a.png", "dent", *answers).kind == kind


def test_what_contradicts_itself_is_one_line(output: Path, tmp_path: Path) -> None:
    words = small_words("stage2", output, "--from", str(output / "runs" / OLD))
    line = refused(run, *words, "--weights", str(output / "runs" / OLD))
    assert "--from" in line and "leave one out" in line
    missing = refused(run, *words[:-1], str(tmp_path / "none"))
    assert "--from" in missing and "is missing" in missing
    manifest = next((output / "manifests").glob("synthetic-*.parquet"))
    plain = [word for word in words if not word.startswith(("--source.", "--root"))]
    line = refused(run, *plain, f"--manifest={manifest}")
    assert "--source coco --root FOLDER" in line


def test_a_run_is_opened_on_what_it_learned_from_though_its_folder_grew(output: Path) -> None:
    now = next((output / "manifests").glob("synthetic-*.parquet"))
    old = Manifest.open(now)
    others = [old[row] for row in range(0, len(old), 2)]
    write_manifest(now, others, root=old.root, vocabulary=old.vocabulary, source="synthetic")
    data = load_any(output / "runs" / OLD).data
    data.prepare_data()
    data.setup("fit")
    assert isinstance(data, IMDDDataModule)
    assert data.index.sha256 == old.sha256 != Manifest.open(now).sha256
    (learned,) = data_below(output / "runs" / OLD)
    assert learned.index.sha256 == old.sha256
    keep_manifest(data.index.path, output / "runs" / OLD)  # as a run that goes on does
    assert Manifest.open(output / "runs" / OLD / "manifest.parquet").sha256 == old.sha256
    keep_manifest(now, output / "runs" / NEW)  # one that begins anew in its directory
    kept = Manifest.open(output / "runs" / NEW / "manifest.parquet")
    assert kept.sha256 == Manifest.open(now).sha256
    assert not list((output / "runs" / NEW).glob("*.unfinished"))
