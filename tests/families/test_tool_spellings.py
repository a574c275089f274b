"""Exports as tools write them: read as the tool means them, or refused in one line; no guesses."""

import json
from pathlib import Path

import pytest

from datamodules.formats.layout import FileTree
from datamodules.formats.tool_paths import find_named
from datamodules.sources.coco import Coco
from datamodules.sources.folder import Folder
from datamodules.sources.labelme import Labelme
from datamodules.sources.yolo import Yolo
from tests.datamodules.sources.own_layouts import (
    YOLO_BOX,
    add_yolo,
    shape,
    write_shapes,
    write_text,
)
from tests.datamodules.sources.painting import save, texture

UPLOAD = "cb061800-Bit 0.png"
# What an export calls an image, and where that lies.
MEANT = [
    ("Bit 0.png", "images/Bit 0.png"),
    ("images\\Bit 0.png", "images/Bit 0.png"),
    ("Bit%200.png", "images/Bit 0.png"),
    ("t%C3%BCr.png", "images/tür.png"),
    ("100%25.png", "images/100%.png"),
    ("100%20.png", "images/100%20.png"),  # a name of its own
    (f"..\\..\\label-studio\\media\\upload\\4\\{UPLOAD}", f"images/{UPLOAD}"),
    (f"../../label-studio/media/upload/4/{UPLOAD}", "images/Bit 0.png"),
    (f"/data/upload/4/{UPLOAD}", f"upload/4/{UPLOAD}"),
    ("/data/upload/4/cb061800-Bit%200.png", "images/Bit 0.png"),
    (f"http://host:8080/data/upload/4/{UPLOAD}?x=1", f"images/{UPLOAD}"),
    (f"images/{UPLOAD}", "images/Bit 0.png"),
    ("/data/local-files/?d=line%201/Bit%200.png", "line 1/Bit 0.png"),
    ("http://host/data/local-files/?d=srv/line%201/Bit 0.png", "line 1/Bit 0.png"),
    ("s3://bucket/parts/line 1/Bit 0.png", "line 1/Bit 0.png"),
    ("/srv/me/parts/line 1/Bit 0.png", "line 1/Bit 0.png"),
    ("C:\\Users\\me\\parts\\images\\Bit 0.png", "images/Bit 0.png"),
    (".\\images\\Bit 0.png", "images/Bit 0.png"),
    ("file:///C:/parts/images/Bit%200.png", "images/Bit 0.png"),
    ("\\\\server\\share\\images\\Bit 0.png", "images/Bit 0.png"),
    ("%2Fdata%2Fupload%2F4%2Fcb061800-Bit%200.png", "images/Bit 0.png"),
    ("../a%20b/../c/Bit%200.png", "c/Bit 0.png"),
]


@pytest.mark.parametrize(("written", "place"), MEANT)
def test_image_is_found_however_a_tool_spells_its_path(
    written: str, place: str, tmp_path: Path
) -> None:
    assert find_named(written, ["annotations", "images", ""], FileTree([place])) == place
    save(tmp_path / "raw" / place, texture(0))
    image = {"id": 1, "file_name": written, "width": 50, "height": 40}
    square = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 9, 9]}
    content = {"images": [image], "annotations": [square], "categories": [{"id": 1, "name": "a"}]}
    write_text(tmp_path / "raw/annotations/result.json", json.dumps(content))
    (record,) = Coco().records(tmp_path / "raw")
    assert (record.image, record.flaw) == (place, "")


@pytest.mark.parametrize(
    ("written", "images", "words"),
    [
        ("/srv/b/1.png", ["x/1.png", "y/1.png"], "may be x/1.png or y/1.png"),
        ("..\\b\\1.png", ["x/1.png", "y/1.png"], "may be x/1.png or y/1.png"),
        (UPLOAD, ["x/Bit 0.png", "y/Bit 0.png"], "may be x/Bit 0.png or y/Bit 0.png"),
        ("/srv/a%20b/1.png", ["c/1.png", "d/1.png"], "may be c/1.png or d/1.png"),
        ("b/1.png", ["a/1.png"], "is missing"),  # seen from the root it is another one
        ("a%2Fb.png", ["b.png"], "is missing"),
        ("cb061800-.png", [".png"], "is missing"),
    ],
)
def test_what_may_be_several_images_or_another_one_is_refused(
    written: str, images: list[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        find_named(written, ["images", ""], FileTree(images))


@pytest.mark.parametrize(
    ("file", "written", "images", "found"),
    [
        ("a.json", "..\\imgs\\a.png", ["a.png"], "a.png"),
        ("a.json", "..\\imgs\\a.png", ["imgs/a.png"], "imgs/a.png"),
        ("json/a.json", "..\\imgs\\a.png", ["imgs/a.png", "json/a.png"], "imgs/a.png"),
        ("a.json", "..\\imgs\\a.png", ["a.png", "imgs/a.png"], "may be a.png or imgs/a.png"),
        ("a.json", "C:\\imgs\\b.png", ["a.png", "imgs/b.png"], "may be a.png or imgs/b.png"),
        ("x/a.json", "C:\\imgs\\a.png", ["x/a.png", "y/a.png"], "x/a.png"),
        ("a.json", "old.png", ["a.png", "x/old.png"], "a.png"),
        ("a.json", "", ["a.png"], "a.png"),
        ("a.json", "a%201.png", ["a 1.png"], "a 1.png"),
    ],
)
def test_labelmes_path_means_the_twin_that_there_is(
    file: str, written: str, images: list[str], found: str, tmp_path: Path
) -> None:
    for number, image in enumerate(images):
        save(tmp_path / image, texture(number))
    write_shapes(tmp_path / file, written, shape("crack"))
    record = next(r for r in Labelme().records(tmp_path) if r.defects or r.flaw)
    assert found in record.flaw if "may be" in found else record.image == found


CORNERS = [[5, 10], [20, 10], [20, 20], [5, 20]]
TURNED = [[10, 5], [20, 15], [15, 20], [5, 10]]


@pytest.mark.parametrize(
    ("points", "kind", "read"),
    [
        (CORNERS, "rectangle", ("box", (5, 10, 15, 10))),
        ([CORNERS[k] for k in (2, 0, 1, 3)], "rectangle", ("box", (5, 10, 15, 10))),
        ([[x + 0.001 * y, y] for x, y in CORNERS], "rectangle", "expected 2 or the 4 corners"),
        ([[x + 1e-9 * y, y] for x, y in CORNERS], "rectangle", ("box", (5, 10, 15, 10))),
        (TURNED, "rectangle", "expected 2 or the 4 corners of an upright one"),
        (CORNERS[:3], "rectangle", "a rectangle has 3 points, expected 2"),
        (TURNED, "rotation", ("polygon", (10, 5, 20, 15, 15, 20, 5, 10))),
        (CORNERS, "circle", "a circle has 4 points, expected 2"),
        *((CORNERS[:2], kind, "no area") for kind in ("line", "linestrip", "point", "points")),
    ],
)
def test_shapes_are_what_their_tool_drew(
    points: list, kind: str, read: tuple[str, tuple] | str, tmp_path: Path
) -> None:
    save(tmp_path / "a.png", texture(0))
    write_shapes(tmp_path / "a.json", "a.png", shape("crack", points, kind))
    (record,) = Labelme().records(tmp_path)
    if isinstance(read, str):
        assert read in record.flaw
    else:
        (region,) = record.regions
        assert region.kind == read[0] and region.numbers == pytest.approx(read[1])


@pytest.mark.parametrize(
    ("line", "is_read"),
    [
        ("images/train/a.png", True),
        ("data/images/train/a.png", True),
        ("/content/parts/images/train/a.png", True),
        ("C:\\parts\\images\\train\\a.png", True),
        ("/etc/a.png", False),
    ],
)
def test_line_of_a_yolo_list_is_read_from_another_machine(
    line: str, is_read: bool, tmp_path: Path
) -> None:
    write_text(tmp_path / "data.yaml", "names: [hole]\ntrain: train.txt")
    add_yolo(tmp_path, "train/a.png", YOLO_BOX)
    write_text(tmp_path / "train.txt", f"{line}\n")
    (record,) = Yolo().records(tmp_path)
    assert bool(record.flaw) != is_read and (record.defects == ("hole",)) == is_read


def test_yolo_export_without_data_yaml_is_asked_for_its_names(tmp_path: Path) -> None:
    save(tmp_path / "obj_train_data/a.png", texture(0))
    write_text(tmp_path / "obj_train_data/a.txt", YOLO_BOX)
    write_text(tmp_path / "obj.names", "hole\n")
    with pytest.raises(
        FileNotFoundError, match=r"names: \[crack, hole\]' in it will do.*obj.names"
    ):
        Yolo().records(tmp_path)
    write_text(tmp_path / "data.yaml", "names: [hole]\n")
    (record,) = Yolo().records(tmp_path)
    assert record.defects == ("hole",)


def folder_of(root: Path, *images: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    for number, image in enumerate(images):
        save(root / "images" / image, texture(number))
    return {r.image: (r.split, r.defects) for r in Folder().records(root) if not r.flaw}


def test_folders_of_splits_inside_images_are_splits_and_the_next_ones_types(tmp_path: Path) -> None:
    images = ["train/crack/a.png", "Test/good/b.png", "valid/crack/line 1/c.png", "train/d.png"]
    assert folder_of(tmp_path, *images) == {
        "images/train/crack/a.png": ("train", ("crack",)),
        "images/Test/good/b.png": ("test", ()),
        "images/valid/crack/line 1/c.png": ("val", ("crack",)),
    }


@pytest.mark.parametrize(
    "images",
    [
        ("train/crack/a.png", "dent/b.png"),
        ("train/crack/a.png", "b.png"),
        ("bottle/train/good/a.png", "bottle/test/crack/b.png"),
    ],
)
def test_folders_of_splits_anywhere_else_are_asked_about(
    images: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="called train, val or test in some places only"):
        folder_of(tmp_path, *images)
