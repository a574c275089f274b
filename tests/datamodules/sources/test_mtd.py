"""The quirks of MTD, on fake and on real files."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.sources.mtd import Mtd


def save_pair(root: Path, folder: str, name: str, *, grey: int) -> None:
    place = root / folder / "Imgs"
    place.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:10, 5:10] = grey
    Image.fromarray(np.full((30, 40), 90, np.uint8)).save(place / f"{name}.jpg")
    Image.fromarray(mask).save(place / f"{name}.png")


def test_masks_beside_the_images_are_no_images(tmp_path):
    save_pair(tmp_path, "MT_Crack", "exp1_num_5", grey=255)
    assert [record.image for record in Mtd().records(tmp_path)] == ["MT_Crack/Imgs/exp1_num_5.jpg"]


@pytest.mark.parametrize(("grey", "has_mask"), [(255, True), (128, True), (127, False), (0, False)])
def test_defects_without_a_grey_above_127_keep_their_type_but_no_mask(tmp_path, grey, has_mask):
    save_pair(tmp_path, "MT_Uneven", "exp3_num_5", grey=grey)
    (record,) = Mtd().records(tmp_path)
    assert record.defects == ("uneven",)
    assert bool(record.mask) == has_mask


def test_a_gap_above_200_starts_a_new_capture_run(tmp_path):
    for number in (100, 300, 501):
        save_pair(tmp_path, "MT_Free", f"exp1_num_{number}", grey=0)
    groups = [record.group for record in Mtd().records(tmp_path)]
    assert groups == ["mtd_run000100", "mtd_run000100", "mtd_run000501"]


def test_a_run_goes_on_across_folders(tmp_path):
    save_pair(tmp_path, "MT_Free", "exp1_num_100", grey=0)
    save_pair(tmp_path, "MT_Crack", "exp2_num_120", grey=255)
    assert len({record.group for record in Mtd().records(tmp_path)}) == 1


def test_odd_file_name_is_one_clear_line(tmp_path):
    save_pair(tmp_path, "MT_Free", "tile", grey=0)
    with pytest.raises(ValueError, match=r"tile\.jpg .* is not named exp<E>_num_<N>"):
        Mtd().records(tmp_path)


def test_unknown_folder_is_one_clear_line(tmp_path):
    save_pair(tmp_path, "MT_Rust", "exp1_num_1", grey=255)
    with pytest.raises(ValueError, match="MT_Rust is unknown: expected MT_Free, MT_Blowhole"):
        Mtd().records(tmp_path)


def test_missing_mask_is_one_clear_line(tmp_path):
    save_pair(tmp_path, "MT_Crack", "exp1_num_1", grey=255)
    (tmp_path / "MT_Crack/Imgs/exp1_num_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"exp1_num_1\.png is missing"):
        Mtd().records(tmp_path)


def test_synonyms_are_in_the_vocabulary():
    assert Mtd().vocabulary([]).id_of("pore") == Mtd().vocabulary([]).id_of("blowhole")


def test_real_data_counts_are_those_of_its_origin(shared_data):
    records = Mtd().records(shared_data / "mtd")
    counts = Counter(record.defects for record in records)
    assert counts == {
        (): 300,
        ("blowhole",): 102,
        ("break",): 65,
        ("crack",): 48,
        ("fray",): 27,
        ("uneven",): 90,
    }
    unmarked = {Path(record.image).stem for record in records if not record.mask}
    assert unmarked == {
        "exp3_num_45042",
        "exp4_num_124690",
        "exp4_num_352527",
        "exp4_num_45057",
    }
