"""The quirks of BTAD, on fake files."""

from pathlib import Path

import numpy as np
import pytest

from datamodules.preparing.inspection import BLANK_MASK, inspect
from datamodules.sources.btad import Btad
from tests.datamodules.sources.layouts.btad import write
from tests.datamodules.sources.painting import save


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def test_ground_truths_are_found_whatever_their_ending(root):
    masks = [Path(record.mask).suffix for record in Btad().records(root) if record.defects]
    assert masks == [".png", ".png", ".bmp"]


def test_the_folder_inside_the_archive_is_a_root_too(tmp_path):
    write(tmp_path, inside="")
    assert len(Btad().records(tmp_path)) == 9


def test_products_are_numbered_and_their_type_has_no_name(root):
    records = Btad().records(root)
    assert {record.caption.product for record in records} == {f"product {k}" for k in (1, 2, 3)}
    assert {record.defects for record in records} == {(), ("defect",)}


def test_equal_file_names_of_products_and_splits_are_different_groups(root):
    assert len({record.group for record in Btad().records(root)}) == 9


def test_missing_ground_truth_is_a_flaw_of_its_picture_alone(root):
    (root / "BTech_Dataset_transformed/03/ground_truth/ko/0000.bmp").unlink()
    flaws = [record.flaw for record in Btad().records(root) if record.flaw]
    assert len(flaws) == 1
    assert flaws[0].startswith("BTech_Dataset_transformed/03/test/ko/0000.bmp has no picture")


def test_blank_ground_truth_leaves_a_defective_picture_without_a_mask(root):
    save(root / "BTech_Dataset_transformed/03/ground_truth/ko/0000.bmp", np.zeros((40, 50)))
    last = inspect(Btad().records(root)[-1], root)
    assert last.notes == (BLANK_MASK,)
    assert last.record.defects == ("defect",)
    assert last.record.mask_kind == "none"
