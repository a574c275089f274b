"""The quirks of the public sets, each of them read as it should be."""

from pathlib import Path

import numpy as np
import pytest

from datamodules.annotation import draw_region
from datamodules.preparing.inspection import BLANK_MASK, inspect
from datamodules.sample import UNLABELLED
from datamodules.sources.visa import TYPES_BY_GREY
from tests.datamodules.sources.layouts import deeppcb, mtd
from tests.datamodules.sources.painting import save, spot
from tests.datamodules.sources.test_sources import build, layout_of

DEFECT = ("defect",)
TRAIN_TEST = ("train", "train", "test", "test")


def write(name: str, root: Path) -> None:
    layout_of(name).write(root)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "settings", "of", "values"),
    [
        ("btad", {}, "defects", [(), (), DEFECT] * 3),
        ("btad", {}, "mask", ["png", "png", "bmp"]),
        ("dagm", {}, "caption.product", ["texture 1"] * 4 + ["texture 10"] * 4),
        ("dagm", {}, "defects", [(), DEFECT] * 4),
        ("deeppcb", {}, "group", ["deeppcb_group00041"] * 4 + ["deeppcb_group12000"] * 3),
        ("deeppcb", {"templates": False}, "image", ["jpg"] * 3),
        ("deeppcb", {"published_split": True}, "split", [*TRAIN_TEST, "train", "train", ""]),
        ("elpv", {}, "split", ["", "", UNLABELLED, "", UNLABELLED]),
        ("elpv", {"min_probability": 0.9}, "defects", [("defective cell",), (), (), (), ()]),
        ("kolektor_sdd2", {}, "defects", [()] * 4),
        ("mtd", {}, "group", [f"mtd_run00{k}007" for k in range(4)]),
        ("mvtec_ad", {}, "split", ["train", "test", "test"] * 2),
        ("mvtec_ad", {"categories": ["grid"]}, "defects", [(), ("broken large",), ()]),
        ("neu_det", {}, "split", ["train"] * 3 + ["test"]),
        ("neu_seg", {}, "split", ["train"] * 3 + ["test"]),
        ("pv_multi_defect", {}, "split", ["", "", UNLABELLED, UNLABELLED]),
        ("real_iad", {}, "defects", [(), ("pit",), ()]),
        ("severstal", {}, "split", ["", "", "", UNLABELLED]),
        ("visa", {}, "split", ["train", "test", "test", "test"]),
        ("wm811k", {}, "defects", [(), ("edge ring",), ("near full",), ()]),
        ("wm811k", {}, "split", ["train", "train", "test", UNLABELLED]),
        ("wm811k", {}, "group", ["wm811k_lot1"] * 2 + ["wm811k_lot2"] * 2),
    ],
)  # fmt: skip
def test_healthy_records_say(tmp_path, name, settings, of, values):
    write(name, tmp_path)
    found = []
    for record in build(name, **settings).records(tmp_path):
        value = record.caption.product if of == "caption.product" else getattr(record, of)
        found.append(Path(value).suffix[1:] if of in ("mask", "image") else value)
    assert [value for value in found if value or of != "mask"] == values


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        *(("elpv", {"min_probability": p}, "min_probability is") for p in (0, -1, 1.1)),
        ("deeppcb", {"published_split": True}, r"test\.txt is missing: expected"),
        ("mvtec_ad", {"categories": ["cap"]}, r"'cap' is not in .* expected some of bottle"),
        ("real_iad", {"resolution": "2048"}, "resolution is '2048': expected one of raw, 1024"),
        ("real_iad", {"resolution": "512"}, "expected realiad_512/<category>"),
        ("real_iad", {"categories": ["mint"]}, r"category .mint. has no JSON .* bottle_cap"),
        ("visa", {"split_file": "3cls"}, "split_file is '3cls': expected one of 1cls"),
    ],
)  # fmt: skip
def test_settings_that_fit_no_data_are_one_clear_line(tmp_path, name, settings, words):
    write(name, tmp_path)
    if name == "deeppcb":
        (tmp_path / "PCBData/test.txt").unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        build(name, **settings).records(tmp_path)


@pytest.mark.parametrize("folder", ["images/test", "annotations/training"])
def test_half_of_neu_seg_is_one_clear_line(tmp_path, folder):
    write("neu_seg", tmp_path)
    (tmp_path / folder).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"{folder} is missing or empty: expected"):
        build("neu_seg").records(tmp_path)


@pytest.mark.parametrize(
    ("name", "move", "count"),
    [
        ("btad", ("BTech_Dataset_transformed", "."), 9),
        ("dagm", ("Class1", "Class1/Class1"), 8),
        ("real_iad", ("realiad_jsons/realiad_jsons", "realiad_jsons"), 3),
    ],
)
def test_folders_of_some_copies_are_read(tmp_path, name, move: tuple[str, str], count):
    write(name, tmp_path / "was")
    (tmp_path / "was" / move[0]).rename(tmp_path / "moved")
    target = tmp_path / "root" / move[1]
    if name == "real_iad":
        (tmp_path / "was/realiad_jsons").rmdir()
    if name == "btad":
        (tmp_path / "moved").rename(tmp_path / "root")
    else:
        (tmp_path / "was").rename(tmp_path / "root")
        target.parent.mkdir(exist_ok=True)
        (tmp_path / "moved").rename(target)
    assert len(build(name).records(tmp_path / "root")) == count


@pytest.mark.parametrize(
    ("name", "index", "defects"),
    [
        ("kolektor_sdd2", 1, DEFECT),
        ("neu_det", 1, ("patches", "inclusion")),
        ("neu_seg", 2, ("patches", "scratches")),
        ("pv_multi_defect", 0, ("black border", "hot spot")),
        ("severstal", 1, ("class 4", "class 3")),
        ("visa", 2, ("different colour spot", "foreign particles on candle")),
        ("visa", 3, ("dirt",)),
    ],
)
def test_dominant_type_comes_first(tmp_path, name, index, defects):
    write(name, tmp_path)
    record = inspect(build(name).records(tmp_path)[index], tmp_path).record
    assert (record.defects, record.caption.defect) == (defects, " and ".join(defects))


def test_a_type_that_only_the_mask_of_visa_shows_is_named(tmp_path):
    write("visa", tmp_path)
    mask = spot(7)
    mask[0, :5] = 1
    save(tmp_path / "pcb4/Data/Masks/Anomaly/000.png", mask)
    assert inspect(build("visa").records(tmp_path)[3], tmp_path).record.defects == ("dirt", "burnt")


def test_visa_has_its_published_types_and_keeps_its_spellings_as_synonyms():
    assert [len(types) for types in TYPES_BY_GREY.values()] == [8, 5, 9, 6, 8, 7, 7, 4, 4, 4, 7, 9]
    vocabulary = build("visa").vocabulary([])
    assert vocabulary.names[vocabulary.id_of("foreign particals on candle")][-6:] == "candle"


@pytest.mark.parametrize(("grey", "has_mask"), [(255, True), (128, True), (127, False), (0, False)])
def test_magnetic_tiles_without_a_grey_above_127_keep_their_type_but_no_mask(
    tmp_path, grey, has_mask
):
    mtd.write_tile(tmp_path, "MT_Uneven", "exp3_num_5", grey=grey)
    inspection = inspect(build("mtd").records(tmp_path)[0], tmp_path)
    assert inspection.record.defects == ("uneven",)
    assert bool(inspection.record.mask) == has_mask
    assert inspection.notes == (() if has_mask else (BLANK_MASK,))


def test_a_gap_above_200_starts_a_new_capture_run_across_folders(tmp_path):
    for folder, number in (("MT_Free", 100), ("MT_Crack", 300), ("MT_Free", 501)):
        mtd.write_tile(tmp_path, folder, f"exp1_num_{number}", grey=0)
    groups = [record.group for record in build("mtd").records(tmp_path)]
    assert groups == ["mtd_run000100", "mtd_run000100", "mtd_run000501"]


def test_equal_numbers_of_both_splits_of_neu_seg_are_different_groups(tmp_path):
    write("neu_seg", tmp_path)
    first, *_, last = build("neu_seg").records(tmp_path)
    assert first.image[-10:] == last.image[-10:]
    assert first.group != last.group


def test_views_of_a_sample_are_one_group_and_one_that_hides_the_defect_is_good(tmp_path):
    write("real_iad", tmp_path)
    good, shown, hidden = build("real_iad").records(tmp_path)
    assert shown.group == hidden.group != good.group
    assert "NG_AK_C2" in hidden.image and (hidden.defects, hidden.mask) == ((), "")


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\t"])
def test_boxes_of_boards_are_parted_by_blanks_or_commas(tmp_path, separator):
    deeppcb.write_pair(tmp_path, "00041", "00041000", separator.join(["5", "10", "20", "20", "3"]))
    tested = build("deeppcb").records(tmp_path)[1]
    assert (tested.defects, tested.regions[0].numbers) == (("mousebite",), (5, 10, 15, 10))


def test_runs_of_steel_sheets_go_down_the_columns_and_start_at_one(tmp_path):
    write("severstal", tmp_path)
    region = build("severstal").records(tmp_path)[0].regions[0]
    expected = np.zeros((40, 50), bool)
    expected[10:20, 5:7] = True
    np.testing.assert_array_equal(draw_region(region, size_px=(40, 50)), expected)
