"""labelme's shapes, flags, paths and orientations."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.annotation import draw_region
from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED, Record
from datamodules.sources.labelme import Labelme
from tests.datamodules.sources.layouts.labelme import SQUARE, add, png, shape, write_json
from tests.datamodules.sources.painting import save, texture


def only(root: Path, **changed: object) -> Record:
    """The one record of an image with one shape, changed."""
    add(root, "a.png", [shape("crack") | changed])
    (record,) = Labelme().records(root)
    return record


def drawn(record: Record) -> np.ndarray:
    (region,) = record.regions
    return draw_region(region, size_px=(40, 50))


def save_turned(path: Path, orientation: int, size_px: tuple[int, int] = (50, 40)) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size_px).save(path, exif=exif)


def test_rectangle_is_a_box_from_any_corner(tmp_path):
    record = only(tmp_path, shape_type="rectangle", points=[[20, 20], [5, 10]])
    assert record.regions[0].numbers == (5, 10, 15, 10)
    assert record.mask_kind == "box"


def test_circle_has_its_area(tmp_path):
    record = only(tmp_path, shape_type="circle", points=[[25, 20], [25, 32]])
    assert record.mask_kind == "pixel"
    assert drawn(record).sum() == pytest.approx(np.pi * 12**2, rel=0.01)


def test_mask_lies_where_its_points_say(tmp_path):
    mask = np.random.default_rng(0).random((6, 8)) < 0.5
    points = [[30, 20], [37, 25]]
    record = only(tmp_path, shape_type="mask", points=points, mask=png(mask))
    whole = np.zeros((40, 50), bool)
    whole[20:26, 30:38] = mask
    assert (drawn(record) == whole).all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shape_type": "line", "points": [[1, 2], [3, 4]]}, "is a line, which has no area"),
        ({"shape_type": "linestrip"}, "is a linestrip, which has no area"),
        ({"shape_type": "point", "points": [[1, 2]]}, "is a point, which has no area"),
        ({"shape_type": "rectangle"}, "a rectangle has 4 points, expected 2"),
        ({"shape_type": "circle", "points": [[1, 2], [1, 2]]}, "radius 0"),
        ({"shape_type": "circle", "points": [[1, 2], [1, float("nan")]]}, "radius nan"),
        ({"shape_type": "mask", "points": [[1, 2], [3, 4]], "mask": "!"}, "mask is unusable"),
        ({"shape_type": "mask", "points": [[1, 2], [3, 4]], "mask": "aGVsbG8="}, "unusable"),
        (
            {
                "shape_type": "mask",
                "points": [[48, 2], [49, 3]],
                "mask": png(np.ones((2, 9), bool)),
            },
            "leaves the image",
        ),
        ({"label": ""}, "expected the type of the defect"),
        ({"label": None}, "expected the type of the defect"),
        ({"points": None}, "has no points"),
        ({"points": [[1, 2, 3], [1, 2, 3], [4, 5, 6]]}, "has not two numbers"),
        ({"points": [["1", 2], [3, 4], [5, 6]]}, "expected a list of numbers"),
        ({"points": [[1, 2], [3, 4]]}, "expected x and y of three or more corners"),
        ({"points": [[1, 2], [3, float("nan")], [5, 6]]}, "not finite"),
        ({"points": [[1, 2], [300, 4], [5, 6]]}, "outside its image"),
    ],
)
def test_bad_shape_is_one_line_for_its_picture(tmp_path, changed, words):
    problem = inspect(only(tmp_path, **changed), tmp_path).problem
    assert words in problem
    assert "\n" not in problem


def test_json_without_shapes_is_a_good_picture(tmp_path):
    add(tmp_path, "train/a.png", [])
    (record,) = Labelme().records(tmp_path)
    assert (record.split, record.defects, record.mask_kind) == ("train", (), "none")


def test_flag_that_is_set_names_the_type(tmp_path):
    add(tmp_path, "a.png", [], flags={"stain": True, "dent": False})
    assert Labelme().records(tmp_path)[0].defects == ("stain",)


@pytest.mark.parametrize(("answer", "split"), [("unlabelled", UNLABELLED), ("good", "")])
def test_setting_says_what_a_picture_without_json_is(tmp_path, answer, split):
    add(tmp_path, "a.png", [])
    save(tmp_path / "b.png", texture(1))
    assert Labelme(unannotated=answer).records(tmp_path)[1].split == split


@pytest.mark.parametrize(
    "image_path",
    [
        "..\\images\\a b.PNG",
        "../images/a b.PNG",
        "C:\\x\\images\\a b.PNG",
        "/x/a b.PNG",
        "a b.PNG",
    ],
)
def test_picture_is_found_from_the_path_in_the_json(tmp_path, image_path):
    save(tmp_path / "images/a b.png", texture(0))
    (tmp_path / "images/a b.png").rename(tmp_path / "images/a b.PNG")
    write_json(tmp_path / "json/1.json", [shape("crack")], image_path)
    assert [record.image for record in Labelme().records(tmp_path)] == ["images/a b.PNG"]


def test_stale_path_gives_way_to_the_name_of_the_json(tmp_path):
    save(tmp_path / "new.png", texture(0))
    write_json(tmp_path / "new.json", [shape("crack")], "old.png")
    assert Labelme().records(tmp_path)[0].image == "new.png"


@pytest.mark.parametrize(
    ("image_path", "words"),
    [
        ("../../out.png", "leads out of the data root"),
        ("gone.png", "is missing"),
        ("/etc/passwd.png", "is missing"),
        ("", "no relative path"),
    ],
)
def test_json_without_picture_is_a_flaw(tmp_path, image_path, words):
    add(tmp_path, "a.png", [])
    write_json(tmp_path / "json/1.json", [shape("crack")], image_path)
    flawed = [record for record in Labelme().records(tmp_path) if record.flaw]
    assert [record.image for record in flawed] == ["json/1.json"]
    assert words in flawed[0].flaw


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": "\xff"}', b'{"x": 1}', b'{"shapes": 3}']
)
def test_bad_json_is_the_flaw_of_its_picture_alone(tmp_path, content):
    add(tmp_path, "good.png", [])
    save(tmp_path / "a.png", texture(1))
    (tmp_path / "a.json").write_bytes(content)
    flaws = {record.image: bool(record.flaw) for record in Labelme().records(tmp_path)}
    assert flaws == {"a.png": True, "good.png": False}


def test_json_of_another_kind_is_left_aside(tmp_path):
    add(tmp_path, "a.png", [])
    (tmp_path / "settings.json").write_text(json.dumps({"x": 1}))
    assert len(Labelme().records(tmp_path)) == 1


def test_second_json_of_a_picture_is_a_flaw(tmp_path):
    add(tmp_path, "a.png", [])
    write_json(tmp_path / "b.json", [shape("crack")], "a.png")
    (record,) = Labelme().records(tmp_path)
    assert "a.png has a second JSON b.json" in record.flaw


def test_picture_annotated_upright_and_stored_lying_is_a_flaw(tmp_path):
    write_json(tmp_path / "a.json", [shape("crack")], "a.jpg", size_px=(40, 50))
    save_turned(tmp_path / "a.jpg", 6)
    assert (
        "annotated upright (40 x 50 px) and is stored lying" in Labelme().records(tmp_path)[0].flaw
    )


@pytest.mark.parametrize(("orientation", "is_refused"), [(1, False), (3, True), (6, False)])
def test_sizes_tell_a_lying_picture_but_not_one_upside_down(tmp_path, orientation, is_refused):
    write_json(tmp_path / "a.json", [shape("crack")], "a.jpg")
    save_turned(tmp_path / "a.jpg", orientation)
    assert bool(Labelme().records(tmp_path)[0].flaw) == is_refused


def test_picture_resized_after_annotation_is_a_flaw(tmp_path):
    write_json(tmp_path / "a.json", [shape("crack", SQUARE)], "a.png", size_px=(100, 80))
    save(tmp_path / "a.png", texture(0))
    assert (
        "annotated at 100 x 80 px and is stored at 50 x 40" in Labelme().records(tmp_path)[0].flaw
    )


def test_folder_without_labelme_json_is_one_clear_line(tmp_path):
    save(tmp_path / "a.png", texture(0))
    with pytest.raises(ValueError, match="holds no JSON with shapes: expected images"):
        Labelme().records(tmp_path)
