"""What an inspection completes, notes and refuses."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.captions import Caption
from datamodules.formats.synthetic_mark import with_mark
from datamodules.preparing.inspection import BLANK_MASK, TURNED, inspect
from datamodules.sample import Record, Region
from tests.datamodules.conftest import write_part


@pytest.fixture
def part(tmp_path: Path) -> Record:
    """A part with a crack; its caption has no words of place yet."""
    return replace(write_part(tmp_path, 1), caption=Caption("plate", "steel", "crack"))


def test_size_and_hash_of_the_file_are_filled_in(part, tmp_path):
    seen = inspect(part, tmp_path).record
    assert (seen.width_px, seen.height_px) == (60, 40)
    assert seen.sha256 == hashlib.sha256((tmp_path / part.image).read_bytes()).hexdigest()


def test_caption_gets_place_and_shape_from_the_mask(part, tmp_path):
    caption = inspect(part, tmp_path).record.caption
    assert caption.location == "the left"
    assert caption.morphology


def test_types_that_only_the_mask_tells_are_named_largest_first(part, tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[:5], mask[30:] = 1, 2
    Image.fromarray(mask).save(tmp_path / part.mask)
    unnamed = replace(part, defects=(), caption=Caption("plate"))
    seen = inspect(unnamed, tmp_path).record
    assert seen.defects == ("stain", "crack")
    assert seen.caption.defect == "stain and crack"


def test_blank_mask_of_a_defective_part_is_noted_and_left_out(part, tmp_path):
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / part.mask)
    seen = inspect(part, tmp_path)
    assert seen.notes == (BLANK_MASK,)
    assert seen.record.mask_kind == "none"
    assert seen.record.defects == ("crack",)


def test_type_that_is_named_but_not_drawn_is_noted(part, tmp_path):
    seen = inspect(replace(part, defects=("stain", "crack")), tmp_path)
    assert seen.notes == ("stain is named but not drawn",)
    assert seen.record.defects == ("crack", "stain")


def test_box_marks_its_record_as_boxed(part, tmp_path):
    boxed = replace(part, mask="", regions=(Region("crack", "box", (4, 15, 10, 10)),))
    seen = inspect(boxed, tmp_path).record
    assert seen.mask_kind == "box"
    assert seen.caption.location == "the left"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"hello"])
def test_unreadable_picture_is_a_problem_and_no_error(part, tmp_path, content):
    (tmp_path / part.image).write_bytes(content)
    seen = inspect(part, tmp_path)
    assert "not a readable image" in seen.problem
    assert seen.fingerprint is None


def test_missing_mask_is_a_problem(part, tmp_path):
    (tmp_path / part.mask).unlink()
    assert "missing" in inspect(part, tmp_path).problem


def test_mask_of_another_size_is_a_problem(part, tmp_path):
    Image.fromarray(np.zeros((40, 61), np.uint8)).save(tmp_path / part.mask)
    assert "61x40" in inspect(part, tmp_path).problem


def test_link_is_a_problem_because_it_may_lead_out(part, tmp_path):
    (tmp_path / part.image).rename(tmp_path / "elsewhere.png")
    (tmp_path / part.image).symlink_to(tmp_path / "elsewhere.png")
    assert "symbolic link" in inspect(part, tmp_path).problem


def test_flaw_of_the_annotation_is_the_problem(part, tmp_path):
    assert inspect(replace(part, flaw="no XML"), tmp_path).problem == "no XML"


def test_picture_of_another_size_than_annotated_is_a_problem(part, tmp_path):
    assert inspect(replace(part, width_px=60, height_px=40), tmp_path).problem == ""
    problem = inspect(replace(part, width_px=40, height_px=60), tmp_path).problem
    assert "is 60 x 40 px, but was annotated at 40 x 60 px" in problem


def test_picture_that_a_viewer_would_turn_is_noted(part, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.open(tmp_path / part.image).save(tmp_path / part.image, exif=exif)
    seen = inspect(part, tmp_path)
    assert seen.notes == (TURNED,)
    assert (seen.record.width_px, seen.record.height_px) == (60, 40)


def test_generated_picture_that_passes_as_real_is_a_problem(part, tmp_path):
    path = tmp_path / part.image
    path.write_bytes(with_mark(path.read_bytes(), {"prompt": "crack"}))
    assert "mark of a generated one" in inspect(part, tmp_path).problem
    assert not inspect(replace(part, is_generated=True), tmp_path).problem
