"""A user's own folder: types, masks and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.preparing.inspection import BLANK_MASK, Inspection, inspect
from datamodules.sample import MaskValues
from datamodules.sources.folder import Folder


def add_image(root: Path, name: str) -> None:
    path = root / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30), 90, np.uint8)).save(path)


def add_mask(root: Path, name: str, *, grey: int, size: tuple[int, int] = (20, 30)) -> None:
    path = root / "masks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size, np.uint16 if grey > 255 else np.uint8)
    mask[:5, :5] = grey
    Image.fromarray(mask).save(path)


def inspect_all(root: Path) -> dict[str, Inspection]:
    return {record.image: inspect(record, root) for record in Folder().records(root)}


def write_labels(root: Path, text: str) -> None:
    (root / "labels.csv").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "PNG"])
def test_type_is_the_first_subfolder(tmp_path, suffix):
    add_image(tmp_path, f"Deep_Scratch/line 1/a.{suffix}")
    (record,) = Folder().records(tmp_path)
    assert record.defects == ("deep scratch",)
    assert record.mask == ""


@pytest.mark.parametrize("folder", ["good", "OK", "normal", "no_defect"])
def test_folders_of_good_parts_have_no_defect(tmp_path, folder):
    add_image(tmp_path, f"{folder}/a.png")
    assert Folder().records(tmp_path)[0].defects == ()


@pytest.mark.parametrize(("grey", "largest_good"), [(1, 0), (255, 127), (128, 127), (65535, 32767)])
def test_mask_threshold_follows_the_highest_value(tmp_path, grey, largest_good):
    add_image(tmp_path, "crack/a.jpg")
    add_mask(tmp_path, "crack/a.png", grey=grey)
    (record,) = Folder().records(tmp_path)
    assert record.mask == "masks/crack/a.png"
    assert record.mask_values == (
        MaskValues(0, largest_good, "good"),
        MaskValues(largest_good + 1, 65535, "crack"),
    )


def test_one_bright_mask_sets_the_threshold_of_all(tmp_path):
    add_image(tmp_path, "crack/a.png")
    add_image(tmp_path, "good/b.png")
    add_mask(tmp_path, "crack/a.png", grey=255)
    add_mask(tmp_path, "good/b.png", grey=1)
    assert {record.mask_values[0].high for record in Folder().records(tmp_path)} == {127}


def test_dark_mask_among_bright_ones_is_refused_alone(tmp_path):
    for name, grey in (("crack/a.png", 255), ("crack/b.png", 1)):
        add_image(tmp_path, name)
        add_mask(tmp_path, name, grey=grey)
    seen = inspect_all(tmp_path)
    assert "b.png holds only dark grey" in seen["images/crack/b.png"].problem
    assert seen["images/crack/a.png"].problem == ""


def test_class_id_masks_are_refused(tmp_path):
    add_image(tmp_path, "crack/a.png")
    add_mask(tmp_path, "crack/a.png", grey=3)
    with pytest.raises(ValueError, match="holds class ids"):
        Folder().records(tmp_path)


def test_blank_mask_of_a_defective_picture_counts_as_none(tmp_path):
    add_image(tmp_path, "crack/a.png")
    add_mask(tmp_path, "crack/a.png", grey=0)
    inspection = inspect_all(tmp_path)["images/crack/a.png"]
    assert inspection.record.mask == ""
    assert inspection.notes == (BLANK_MASK,)


def test_blank_mask_of_a_good_picture_is_kept(tmp_path):
    add_image(tmp_path, "good/a.png")
    add_mask(tmp_path, "good/a.png", grey=0)
    assert Folder().records(tmp_path)[0].mask == "masks/good/a.png"


@pytest.mark.parametrize(("grey", "defects"), [(255, ("defect",)), (0, ())])
def test_without_subfolder_the_mask_decides(tmp_path, grey, defects):
    add_image(tmp_path, "a.png")
    add_mask(tmp_path, "a.png", grey=grey)
    assert Folder().records(tmp_path)[0].defects == defects


def test_csv_gives_type_group_and_caption(tmp_path):
    add_image(tmp_path, "a.png")
    write_labels(
        tmp_path,
        "image,type,caption,group\n"
        'a.png,Pin_Hole,"Plate of steel with pin hole located at the left.",board 7\n',
    )
    (record,) = Folder().records(tmp_path)
    assert (record.defects, record.group) == (("pin hole",), "board 7")
    assert record.released_caption == "Plate of steel with pin hole located at the left."
    assert (record.caption.product, record.caption.location) == ("plate", "the left")


def test_free_words_of_the_csv_become_the_shape_field(tmp_path):
    add_image(tmp_path, "a.png")
    write_labels(tmp_path, "image,type,caption\na.png,hole,Deep and dark.\n")
    record = Folder(product="plate", material="steel").records(tmp_path)[0]
    assert record.caption.render() == "Plate of steel with hole, characterized by Deep and dark."


def test_csv_wins_over_the_subfolder(tmp_path):
    add_image(tmp_path, "crack/a.png")
    write_labels(tmp_path, "image,type\ncrack/a.png,good\n")
    assert Folder().records(tmp_path)[0].defects == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has the columns none: expected image,type"),
        ("file,label\na.png,crack\n", "has the columns file,label: expected image,type"),
        ("image,type,captoin\na.png,crack,x\n", "captoin: expected image,type"),
        ("image,type\nb.png,crack\n", "line 2: image 'b.png' is not there"),
        ("image,type\na.png,crack\na.png,hole\n", "line 3: image 'a.png' stands there twice"),
        ("image,type\na.png,\n", "line 2: the type is empty"),
    ],
)
def test_bad_csv_is_one_clear_line(tmp_path, text, words):
    add_image(tmp_path, "a.png")
    write_labels(tmp_path, text)
    with pytest.raises(ValueError, match=words) as error:
        Folder().records(tmp_path)
    assert "\n" not in str(error.value)


def test_csv_in_another_encoding_is_one_clear_line(tmp_path):
    add_image(tmp_path, "a.png")
    (tmp_path / "labels.csv").write_bytes("image,type\na.png,Höhle\n".encode("latin-1"))
    with pytest.raises(ValueError, match="no readable CSV"):
        Folder().records(tmp_path)


def test_picture_without_type_is_refused_alone(tmp_path):
    add_image(tmp_path, "a.png")
    add_image(tmp_path, "crack/b.png")
    seen = inspect_all(tmp_path)
    assert "a.png has no type" in seen["images/a.png"].problem
    assert seen["images/crack/b.png"].problem == ""


def test_damaged_mask_is_refused_alone(tmp_path):
    for name in ("crack/a.png", "crack/b.png"):
        add_image(tmp_path, name)
        add_mask(tmp_path, name, grey=255)
    (tmp_path / "masks/crack/a.png").write_bytes(b"no image")
    seen = inspect_all(tmp_path)
    assert "is not a readable image" in seen["images/crack/a.png"].problem
    assert seen["images/crack/b.png"].problem == ""


def test_damaged_picture_is_refused_alone(tmp_path):
    for name in ("crack/a.png", "crack/b.png"):
        add_image(tmp_path, name)
    (tmp_path / "images/crack/a.png").write_bytes(b"no image")
    problems = [inspection.problem for inspection in inspect_all(tmp_path).values()]
    assert [bool(problem) for problem in problems] == [True, False]


def test_licence_is_the_owners_word(tmp_path):
    add_image(tmp_path, "crack/a.png")
    assert Folder(licence="CC0-1.0").records(tmp_path)[0].licence == "CC0-1.0"


def test_mask_without_picture_is_one_clear_line(tmp_path):
    add_image(tmp_path, "crack/a.png")
    add_mask(tmp_path, "crack/b.png", grey=255)
    with pytest.raises(ValueError, match=r"b\.png belongs to no image"):
        Folder().records(tmp_path)


def test_mask_for_two_pictures_is_one_clear_line(tmp_path):
    add_image(tmp_path, "crack/a.png")
    add_image(tmp_path, "crack/a.jpg")
    add_mask(tmp_path, "crack/a.png", grey=255)
    with pytest.raises(ValueError, match="for a second image"):
        Folder().records(tmp_path)


def test_mask_of_another_size_is_refused(tmp_path):
    add_image(tmp_path, "crack/a.png")
    add_mask(tmp_path, "crack/a.png", grey=255, size=(9, 9))
    problem = inspect_all(tmp_path)["images/crack/a.png"].problem
    assert "is 9x9 px, expected its image's 30x20 px" in problem


def test_marked_good_picture_is_refused(tmp_path):
    add_image(tmp_path, "good/a.png")
    add_mask(tmp_path, "good/a.png", grey=255)
    assert "is good, but its mask" in inspect_all(tmp_path)["images/good/a.png"].problem


def test_files_that_are_no_pictures_are_left_aside(tmp_path):
    add_image(tmp_path, "crack/a.png")
    (tmp_path / "images/crack/notes.txt").write_text("x")
    (tmp_path / "images/crack/._a.png").write_bytes(b"x")
    assert len(Folder().records(tmp_path)) == 1
