"""The quirks of MTD, on fake and on real files."""

from collections import Counter
from pathlib import Path

import pytest

from datamodules.preparing.inspection import BLANK_MASK, inspect
from datamodules.sources.mtd import Mtd
from tests.datamodules.sources.layouts.mtd import write_tile


def test_masks_beside_the_images_are_no_images(tmp_path):
    write_tile(tmp_path, "MT_Crack", "exp1_num_5", grey=255)
    assert [record.image for record in Mtd().records(tmp_path)] == ["MT_Crack/Imgs/exp1_num_5.jpg"]


@pytest.mark.parametrize(("grey", "has_mask"), [(255, True), (128, True), (127, False), (0, False)])
def test_defects_without_a_grey_above_127_keep_their_type_but_no_mask(tmp_path, grey, has_mask):
    write_tile(tmp_path, "MT_Uneven", "exp3_num_5", grey=grey)
    inspection = inspect(Mtd().records(tmp_path)[0], tmp_path)
    assert inspection.record.defects == ("uneven",)
    assert bool(inspection.record.mask) == has_mask
    assert inspection.notes == (() if has_mask else (BLANK_MASK,))


def test_a_gap_above_200_starts_a_new_capture_run(tmp_path):
    for number in (100, 300, 501):
        write_tile(tmp_path, "MT_Free", f"exp1_num_{number}", grey=0)
    groups = [record.group for record in Mtd().records(tmp_path)]
    assert groups == ["mtd_run000100", "mtd_run000100", "mtd_run000501"]


def test_a_run_goes_on_across_folders(tmp_path):
    write_tile(tmp_path, "MT_Free", "exp1_num_100", grey=0)
    write_tile(tmp_path, "MT_Crack", "exp2_num_120", grey=255)
    assert len({record.group for record in Mtd().records(tmp_path)}) == 1


def test_odd_file_name_is_refused_alone(tmp_path):
    write_tile(tmp_path, "MT_Free", "tile", grey=0)
    write_tile(tmp_path, "MT_Free", "exp1_num_1", grey=0)
    odd, sound = (inspect(record, tmp_path) for record in Mtd().records(tmp_path))
    assert "tile.jpg is not named exp<E>_num_<N>" in odd.problem
    assert sound.problem == ""
    assert sound.record.group == "mtd_run000001"


def test_unknown_folder_is_one_clear_line(tmp_path):
    write_tile(tmp_path, "MT_Rust", "exp1_num_1", grey=255)
    with pytest.raises(ValueError, match="MT_Rust is unknown: expected MT_Free, MT_Blowhole"):
        Mtd().records(tmp_path)


def test_missing_mask_is_refused_alone(tmp_path):
    write_tile(tmp_path, "MT_Crack", "exp1_num_1", grey=255)
    (tmp_path / "MT_Crack/Imgs/exp1_num_1.png").unlink()
    (record,) = Mtd().records(tmp_path)
    assert "exp1_num_1.png is missing" in inspect(record, tmp_path).problem


def test_synonyms_are_in_the_vocabulary():
    assert Mtd().vocabulary([]).id_of("pore") == Mtd().vocabulary([]).id_of("blowhole")


def test_every_type_has_a_cause():
    assert set(Mtd.causes) == set(Mtd().vocabulary([]).names) - {"good"}


def test_real_data_counts_are_those_of_its_origin(shared_data):
    counts = Counter(record.defects for record in Mtd().records(shared_data / "mtd"))
    assert counts == {
        (): 300,
        ("blowhole",): 102,
        ("break",): 65,
        ("crack",): 48,
        ("fray",): 27,
        ("uneven",): 90,
    }


def test_real_tiles_without_a_mark_are_the_four_of_its_origin(shared_data):
    root = shared_data / "mtd"
    seen = [inspect(r, root) for r in Mtd().records(root) if r.defects == ("uneven",)]
    unmarked = {Path(one.record.image).stem for one in seen if not one.record.mask}
    assert unmarked == {
        "exp3_num_45042",
        "exp4_num_124690",
        "exp4_num_352527",
        "exp4_num_45057",
    }
