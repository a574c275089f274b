"""data.yaml and text labels, good and bad."""

from pathlib import Path

import numpy as np
import pytest

from datamodules.formats.yolo import read_data, read_labels
from datamodules.sample import Region
from tests.datamodules.sources.painting import save, texture

NAMES = {0: "hole", 1: "crack"}


def labels_of(folder: Path, content: str | bytes) -> tuple[Region, ...]:
    save(folder / "a.png", texture(0))
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "a.txt").write_bytes(data)
    return read_labels(folder / "a.txt", NAMES, image=folder / "a.png")


def data_of(folder: Path, content: str) -> object:
    (folder / "data.yaml").write_text(content, encoding="utf-8")
    return read_data(folder / "data.yaml")


def test_box_is_turned_into_pixels_of_the_image(tmp_path):
    (box,) = labels_of(tmp_path, "1 0.25 0.375 0.3 0.25\r\n\r\n")
    assert (box.name, box.kind) == ("crack", "box")
    assert np.allclose(box.numbers, (5, 10, 15, 10))


def test_polygon_and_oriented_box_are_corners_in_pixels(tmp_path):
    (outline,) = labels_of(tmp_path, "0.0 0.1 0.25 0.4 0.25 0.4 0.5 0.1 0.5")
    assert (outline.name, outline.kind) == ("hole", "polygon")
    assert np.allclose(outline.numbers, (5, 10, 20, 10, 20, 20, 5, 20))


@pytest.mark.parametrize("content", ["", "\n \n", b"\xef\xbb\xbf"])
def test_empty_text_holds_nothing(tmp_path, content):
    assert labels_of(tmp_path, content) == ()


def test_line_of_the_fault_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt line 3: got 1 numbers"):
        labels_of(tmp_path, "0 0.5 0.5 0.1 0.1\n\n0 1\n")


@pytest.mark.parametrize(
    "names", ["[hole, crack]", "{0: hole, 1: crack}", "\n  0: hole\n  1: crack"]
)
def test_names_are_a_list_or_numbered(tmp_path, names):
    data = data_of(tmp_path, f"names: {names}\ntrain: [a, b]\nval:\n")
    assert data.names == NAMES
    assert data.places == {"train": ("a", "b")}
