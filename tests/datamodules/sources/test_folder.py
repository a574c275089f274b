"""A user's own folder: types, masks and captions."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.preparing.inspection import BLANK_MASK, inspect
from datamodules.sample import MaskValues, Record
from datamodules.sources.folder import Folder


def add_image(root: Path, name: str, *, grey: int | None = None) -> None:
    """An image, and a mask with a spot of `grey` unless that is None."""
    path = root / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30), 90, np.uint8)).save(path)
    if grey is not None:
        mask = np.zeros((20, 30), np.uint16 if grey > 255 else np.uint8)
        mask[:5, :5] = grey
        path = (root / "masks" / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)


def read(root: Path, labels: str = "", **settings: str) -> list[Record]:
    if labels:
        (root / "labels.csv").write_text(labels, encoding="utf-8")
    return Folder(**settings).records(root)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "PNG"])
def test_type_is_the_first_subfolder(tmp_path, suffix):
    add_image(tmp_path, f"Deep_Scratch/line 1/a.{suffix}")
    (tmp_path / "images/Deep_Scratch/notes.txt").write_text("x")
    (record,) = read(tmp_path, licence="CC0-1.0")
    assert (record.defects, record.mask, record.licence) == (("deep scratch",), "", "CC0-1.0")


@pytest.mark.parametrize("folder", ["good", "OK", "normal", "no_defect"])
def test_folders_of_good_parts_have_no_defect(tmp_path, folder):
    add_image(tmp_path, f"{folder}/a.png", grey=0)
    (record,) = read(tmp_path)
    assert (record.defects, record.mask) == ((), f"masks/{folder}/a.png")


@pytest.mark.parametrize(
    ("grey", "largest_good"), [(1, 0), (3, 1), (255, 127), (128, 64), (65535, 32767)]
)
def test_mask_threshold_follows_the_highest_value(tmp_path, grey, largest_good):
    add_image(tmp_path, "crack/a.jpg", grey=grey)
    (record,) = read(tmp_path)
    assert record.mask == "masks/crack/a.png"
    crack = MaskValues(largest_good + 1, 65535, "crack")
    assert record.mask_values == (MaskValues(0, largest_good, "good"), crack)


def test_one_mask_of_16_bits_among_those_of_8_is_read_as_they_are(tmp_path):
    for number in range(4):
        add_image(tmp_path, f"crack/{number}.png", grey=255 if number else 65535)
    for record in read(tmp_path):
        inspection = inspect(record, tmp_path)
        assert not inspection.problem and not inspection.notes
        assert inspection.marked_share == 25 / 600


def test_two_images_of_one_name_are_refused(tmp_path):
    add_image(tmp_path, "crack/a.png", grey=255)
    add_image(tmp_path, "crack/a.jpg")
    with pytest.raises(ValueError, match="for a second image"):
        read(tmp_path)


def test_blank_mask_of_a_defective_image_counts_as_none(tmp_path):
    add_image(tmp_path, "crack/a.png", grey=0)
    inspection = inspect(read(tmp_path)[0], tmp_path)
    assert (inspection.record.mask, inspection.notes) == ("", (BLANK_MASK,))


@pytest.mark.parametrize(("grey", "defects"), [(255, ("defect",)), (0, ()), (None, ())])
def test_without_subfolder_the_mask_decides(tmp_path, grey, defects):
    add_image(tmp_path, "a.png", grey=grey)
    (record,) = read(tmp_path)
    assert record.defects == defects and ("has no type" in record.flaw) == (grey is None)


def test_csv_gives_type_group_and_caption_over_the_subfolder(tmp_path):
    add_image(tmp_path, "good/a.png")
    caption = "Plate of steel with pin hole located at the left."
    labels = f'image,type,caption,group\ngood/a.png,Pin_Hole,"{caption}",board 7\n'
    (record,) = read(tmp_path, labels)
    assert (record.defects, record.group) == (("pin hole",), "board 7")
    assert (record.released_caption, record.caption.location) == (caption, "the left")


def test_free_words_of_the_csv_become_the_shape_field(tmp_path):
    add_image(tmp_path, "a.png")
    labels = "image,type,caption\na.png,hole,Deep and dark.\n"
    (record,) = read(tmp_path, labels, product="plate", material="steel")
    assert record.caption.render() == "Plate of steel with hole, characterized by Deep and dark."
