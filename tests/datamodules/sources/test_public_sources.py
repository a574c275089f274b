"""The quirks of the public sets, each of them read as it should be."""

import pytest

from datamodules.preparing.inspection import BLANK_MASK, inspect
from datamodules.sources.visa import TYPES_BY_GREY
from tests.datamodules.sources.painting import save, spot
from tests.datamodules.sources.public_layouts import write_tile
from tests.datamodules.sources.test_sources import build, write

DEFECT = ("defect",)
BOARDS = ("00041", "00041", "12000")
PAIRS = ("train", "train", "test", "test")


@pytest.mark.parametrize(
    ("name", "settings", "of", "values"),
    [
        ("deeppcb", {"templates": False}, "group", [f"deeppcb_group{k}" for k in BOARDS]),
        ("deeppcb", {"published_split": True}, "split", [*PAIRS, "train", "train", ""]),
        ("elpv", {"min_probability": 0.9}, "defects", [("defective cell",), (), (), (), ()]),
        ("mvtec_ad", {"categories": ["grid"]}, "defects", [(), ("broken large",), ()]),
    ],
)  # fmt: skip
def test_settings_choose_and_name_the_records(tmp_path, name, settings, of, values):
    write(name, tmp_path)
    found = [getattr(record, of) for record in build(name, **settings).records(tmp_path)]
    assert found == values


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
        ("synthetic", {"image_count": 0}, "image_count is 0: expected 1"),
        ("synthetic", {"image_size_px": 8}, "image_size_px is 8: expected 64"),
        ("synthetic", {"good_fraction": 1.5}, "good_fraction is 1.5: expected 0 to 1"),
        ("synthetic", {"seed": -1}, "seed is -1: expected 0 or more"),
        ("csv", {"largest_good_grey": -1}, "expected a grey value from 0 to 65534"),
        ("csv", {"mask_ids": {"a": 70000}}, "expected a grey value from 0 to 65534"),
        ("csv", {"group_pattern": "board("}, "expected a regular expression"),
        ("yolo", {"unannotated": "maybe"}, "'maybe': expected one of good, unlabelled"),
        *(("coco", {"annotations": f"{p}*.json"}, "below the root") for p in ("/", "../")),
        ("coco", {"annotations": ""}, "below the root"),
        ("coco", {"annotations": "x/*.json"}, r"no x/\*\.json but annotations/image_info_test"),
        ("merged", {"leave_out": "cup"}, "'cup': expected one of the sources boards, tiles"),
        ("merged", {"manifests": ["tiles/manifest.parquet"] * 2}, "is in 2 rows of the manifests"),
        ("merged", {"manifests": []}, "manifests is empty: expected"),
        ("merged", {"manifests": ["gone.parquet"]}, "manifest gone.parquet is missing"),
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
    with pytest.raises(FileNotFoundError, match=f"holds another layout: expected .*{folder}"):
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
    write_tile(tmp_path, "MT_Uneven", "exp3_num_5", grey=grey)
    inspection = inspect(build("mtd").records(tmp_path)[0], tmp_path)
    assert inspection.record.defects == ("uneven",)
    assert bool(inspection.record.mask) == has_mask
    assert inspection.notes == (() if has_mask else (BLANK_MASK,))


def test_a_gap_above_200_starts_a_new_capture_run_across_folders(tmp_path):
    for folder, number in (("MT_Free", 100), ("MT_Crack", 300), ("MT_Free", 501)):
        write_tile(tmp_path, folder, f"exp1_num_{number}", grey=0)
    groups = [record.group for record in build("mtd").records(tmp_path)]
    assert groups == ["mtd_run000100", "mtd_run000100", "mtd_run000501"]
