"""What an inspection completes, notes, refuses and keeps."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.captions import Caption
from datamodules.decode import sha256_of
from datamodules.formats.synthetic_mark import with_mark
from datamodules.preparing.inspection import (
    BLANK_MASK,
    PAGES,
    STORE_NAME,
    Inspection,
    inspect,
    inspect_all,
)
from datamodules.sample import Record, Region
from tests.datamodules.conftest import write_part


@pytest.fixture
def part(tmp_path: Path) -> Record:
    """A part with a crack; its caption has no words of place yet."""
    return replace(write_part(tmp_path, 1), caption=Caption("plate", "steel", "crack"))


def test_size_hash_place_and_shape_are_filled_in(part, tmp_path):
    seen = inspect(part, tmp_path).record
    assert (seen.width_px, seen.height_px) == (60, 40)
    assert seen.sha256 == sha256_of(tmp_path / part.image)
    assert seen.caption.location == "the left"
    assert seen.caption.morphology


def test_types_that_only_the_mask_tells_are_named_largest_first(part, tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[:5], mask[30:] = 1, 2
    Image.fromarray(mask).save(tmp_path / part.mask)
    seen = inspect(replace(part, defects=(), caption=Caption("plate")), tmp_path).record
    assert seen.defects == ("stain", "crack")
    assert seen.caption.defect == "stain and crack"


def test_blank_mask_of_a_defective_part_is_noted_and_left_out(part, tmp_path):
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / part.mask)
    seen = inspect(part, tmp_path)
    assert seen.notes == (BLANK_MASK,)
    assert (seen.record.mask_kind, seen.record.defects) == ("none", ("crack",))


@pytest.mark.parametrize(
    ("kind", "notes"),
    [("TIFF", (PAGES,)), ("GIF", (PAGES,)), ("PNG", (PAGES,)), ("WEBP", (PAGES,)), ("MPO", ())],
)
def test_pages_and_frames_behind_the_first_are_noted(part, tmp_path, kind, notes):
    first = Image.open(tmp_path / part.image)
    others = [first.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    first.save(tmp_path / part.image, kind, save_all=True, append_images=others)
    seen = inspect(part, tmp_path)
    assert (seen.problem, seen.notes) == ("", notes)


def test_type_that_is_named_but_not_drawn_is_noted(part, tmp_path):
    seen = inspect(replace(part, defects=("stain", "crack")), tmp_path)
    assert seen.notes == ("stain is named but not drawn",)
    assert seen.record.defects == ("crack", "stain")


def test_box_tells_the_place_and_no_shape(part, tmp_path):
    boxed = replace(part, mask="", regions=(Region("crack", "box", (4, 15, 10, 10)),))
    caption = inspect(boxed, tmp_path).record.caption
    assert (caption.location, caption.morphology) == ("the left", "")


def test_generated_image_among_real_ones_is_a_problem(part, tmp_path):
    image = tmp_path / part.image
    image.write_bytes(with_mark(image.read_bytes(), {"prompt": "a"}))
    assert "mark of a generated one" in inspect(part, tmp_path).problem


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"flaw": "no XML"}, "no XML"),
        ({"width_px": 60, "height_px": 40}, ""),
        ({"width_px": 40, "height_px": 60}, "is 60 x 40 px, but was annotated at 40 x 60 px"),
    ],
)
def test_record_that_fits_no_file_is_a_problem(part, tmp_path, changes, problem):
    seen = inspect(replace(part, **changes), tmp_path)
    assert problem in seen.problem
    assert bool(seen.problem) == bool(problem)


def same(first: Inspection, second: Inspection) -> bool:
    assert first.fingerprint is not None and second.fingerprint is not None
    return replace(first, fingerprint=None) == replace(second, fingerprint=None) and np.array_equal(
        first.fingerprint.thumbnail, second.fingerprint.thumbnail
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_finished_images_are_not_opened_again_unless_they_change(tmp_path, workers):
    records = [write_part(tmp_path, k) for k in range(150)]
    counts: list[int] = []

    def look() -> list[Inspection]:
        counts.clear()
        return inspect_all(
            records,
            tmp_path,
            kept_in=tmp_path / "out",
            workers=workers,
            progress=lambda done, _: counts.append(done),
        )

    first = look()
    assert counts == [64, 128, 150]
    assert [seen.record.image for seen in first] == [record.image for record in records]
    assert all(map(same, first, look()))
    assert counts == []
    os.utime(tmp_path / records[3].image, ns=(1, 1))
    look()
    assert counts == [150]


def test_file_that_is_no_database_is_one_line_with_the_remedy(part, tmp_path):
    (tmp_path / STORE_NAME).write_text("hello " * 100)
    with pytest.raises(OSError, match="make room or remove it"):
        inspect_all([part], tmp_path, kept_in=tmp_path)


def test_two_sets_of_equal_names_sizes_and_times_are_not_mistaken(tmp_path):
    hashes = []
    for number, name in enumerate(("first", "second")):
        part = write_part(tmp_path / name, 0)
        for file in (part.image, part.mask):
            pixels = np.full((40, 60), number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / file, "bmp")
            os.utime(tmp_path / name / file, (1, 1))
        part = replace(part, mask="", mask_values=())
        found = inspect_all([part], root=tmp_path / name, kept_in=tmp_path)
        hashes.append(found[0].record.sha256)
    assert hashes[0] != hashes[1]
