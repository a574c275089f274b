"""Holds that what is downloaded is what people saved, in each tool's format."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from datamodules.annotation import draw_regions
from datamodules.sources.coco import Coco
from experiments.serving.desk import Desk
from experiments.serving.downloads import write_archive
from tests.experiments.serving.small_desk import SIZE_PX, bright_mask, dropped, small_desk


def save_two(desk: Desk, folder: Path) -> None:
    """A burr, and a part that is good."""
    desk.save(dropped(desk, folder, 0).renamed(0, "burr"), "Ann")
    desk.save(dropped(desk, folder, 1).without(0), "Ann")


@pytest.mark.parametrize("tool", ["coco", "cvat"])
def test_coco_and_cvat_hold_the_regions_pixel_for_pixel(tool: str, tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        save_two(desk, tmp_path)
        archive = write_archive(desk.corrections, tool, tmp_path)  # type: ignore[arg-type]
    with ZipFile(archive) as packed:
        packed.extractall(tmp_path / "unpacked")
    source = Coco()
    records = source.records(tmp_path / "unpacked")
    assert len(records) == 2 and all(
        (tmp_path / "unpacked" / one.image).is_file() for one in records
    )
    (burr,) = [one for one in records if one.defects]
    ids = draw_regions(burr.regions, vocabulary=source.vocabulary(records), size_px=SIZE_PX)
    assert burr.defects == ("burr",) and np.array_equal(ids > 0, bright_mask(0))
    if tool == "cvat":
        labels = json.loads((tmp_path / "unpacked" / "labels.json").read_text())
        assert [one["name"] for one in labels] == ["burr"]


def test_label_studio_gets_tasks_and_its_interface(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        save_two(desk, tmp_path)
        archive = write_archive(desk.corrections, "label_studio", tmp_path)
    with ZipFile(archive) as packed:
        tasks = json.loads(packed.read("tasks.json"))
        assert b'<Label value="burr"' in packed.read("interface.xml")
    assert sorted(len(task["predictions"][0]["result"]) for task in tasks) == [0, 1]


def test_nothing_accepted_is_said(tmp_path: Path) -> None:
    with (
        small_desk(tmp_path / "out") as desk,
        pytest.raises(ValueError, match="nothing is accepted"),
    ):
        write_archive(desk.corrections, "coco", tmp_path)
