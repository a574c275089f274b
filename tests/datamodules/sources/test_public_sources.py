"""The quirks of the public sets: what is read from them, what is refused alone, what as a whole."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from datamodules.about import source_class_path
from datamodules.annotation import draw_region
from datamodules.manifest import Source
from datamodules.preparing.inspection import BLANK_MASK, inspect
from datamodules.sample import UNLABELLED
from datamodules.sources.visa import TYPES_BY_GREY
from tests.datamodules.malformed.damage import Damage, drop, edit, put
from tests.datamodules.sources.layouts import deeppcb, mtd, neu_det, severstal, wm811k
from tests.datamodules.sources.painting import save, spot, texture

DEFECT = ("defect",)
TRAIN_TEST = ("train", "train", "test", "test")
CELL = "images/cell0001.png  1.0                 mono"
BTAD = "BTech_Dataset_transformed/03/ground_truth/ko/0000.bmp"
DAGM = "Class1/Train/Label/"
REAL_IAD = "realiad_jsons/realiad_jsons/bottle_cap.json"
VISA, PCB4 = "split_csv/1cls.csv", "pcb4/image_anno.csv"
ROW = "0002cc93b.jpg,1,211 10 251 10"


def build(name: str, **settings: object) -> Source:
    module, _, class_name = source_class_path(name).rpartition(".")
    return getattr(importlib.import_module(module), class_name)(**settings)


def write(name: str, root: Path) -> None:
    importlib.import_module(f"tests.datamodules.sources.layouts.{name}").write(root)


def image(path: str, pixels: np.ndarray) -> Damage:
    """An image or mask put there."""
    return Damage(path, lambda root: save(root / path, pixels))


def strip(stem: str, boxes: dict) -> Damage:
    return Damage(stem, lambda root: neu_det.write_strip(root, stem, boxes))


def wafer(**columns: list) -> Damage:
    """Two wafers, the second with other cells."""
    whole = {name: cells[:2] for name, cells in wm811k.columns().items()}
    return Damage("", lambda root: wm811k.write_table(root, whole | columns))


def view(code: str, path: str, mask: str | None = None) -> Damage:
    """Real-IAD's list with one good entry and this one."""
    entries = [
        {"anomaly_class": kind, "image_path": place, "mask_path": marked}
        for kind, place, marked in (("OK", "OK/S0001/a.jpg", None), (code, path, mask))
    ]
    content = json.dumps({"train": entries[:1], "test": entries[1:]})
    return put(REAL_IAD, content.encode())


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
    ("name", "damage", "words"),
    [
        ("btad", drop(BTAD), "0000.bmp has no image of its name in ground_truth/ko"),
        ("dagm", image(f"{DAGM}0576_label.PNG", texture(1)), "good by Labels.txt but has a label"),
        ("dagm", drop(f"{DAGM}0577_label.PNG"), "defective by Labels.txt but has no label file"),
        ("dagm", image("Class1/Test/0003.PNG", texture(3)), "has no line in Labels.txt"),
        ("deeppcb", drop("PCBData/group00041/00041_not/00041000.txt"), "cannot be read"),
        *(
            ("deeppcb", put("PCBData/group00041/00041_not/00041000.txt", text), words)
            for text, words in (
                (b"", "holds no box"),
                (b"1 2 3 4", "expected x1 y1 x2 y2 and a type"),
                (b"1 2 3 4 9", "expected x1 y1 x2 y2 and a type"),
                (b"1 2 x 4 1", "expected x1 y1 x2 y2 and a type"),
                (b"nan 1 9 9 1", "not finite"),
                (b"9 9 1 1 1", "expected a positive size"),
                (b"1 1 99 9 2", "outside its"),
            )
        ),
        *(
            ("elpv", edit("labels.csv", CELL, line), words)
            for line, words in (
                ("images/cell0001.png", "expected path, probability and cell type"),
                ("images/cell0001.png nan mono", "expected 0 to 1"),
                ("images/cell0001.png 1.5 mono", "expected 0 to 1"),
                ("images/cell0001.png high mono", "expected 0 to 1"),
                ("images/cell0001.png 1.0 amorphous", "expected 0 to 1 and mono or poly"),
                ("../cell0001.png 1.0 mono", "expected path, probability"),
                ("images/cell0004.png 0.0 mono", "stands there twice"),
                ("images/absent.png 0.0 mono", "is missing"),
            )
        ),
        ("kolektor_sdd2", drop("test/20003_GT.png"), "test/20003.png has no 20003_GT.png"),
        ("mtd", drop("MT_Crack/Imgs/exp1_num_1007.png"), "exp1_num_1007.png is missing"),
        ("mtd", image("MT_Free/Imgs/tile.jpg", texture(9)), "not named exp<E>_num_<N>"),
        (
            "mvtec_ad",
            drop("grid/ground_truth/broken_large/000_mask.png"),
            "000.png has no 000_mask.png in ground_truth/broken_large",
        ),
        (
            "mvtec_ad",
            image("grid/ground_truth/broken_large/000_mask.png", spot(255)[:30]),
            "expected its image's",
        ),
        ("neu_det", strip("rust_3", {"crazing": (1, 1, 9, 9)}), "is not named <type>_<n>"),
        ("neu_det", strip("crazing_3", {"rust": (1, 1, 9, 9)}), "is a 'rust', expected one of"),
        ("neu_det", strip("crazing_3", {}), "crazing_3.jpg has no box"),
        ("neu_det", strip("crazing_3", {"crazing": (9, 9, 1, 1)}), "expected a positive size"),
        ("neu_det", strip("crazing_3", {"crazing": (1, 1, 90, 9)}), "outside its"),
        ("neu_seg", drop("annotations/training/000001.png"), "000001.png is missing"),
        ("neu_seg", image("annotations/training/000001.png", spot(7)), "unknown id 7"),
        ("pv_multi_defect", drop("JPEGImages/img5.jpg"), "img5.jpg is missing"),
        ("pv_multi_defect", put("Annotations/img5.xml", b"<annotation>"), "no readable XML"),
        ("real_iad", edit(REAL_IAD, '"AK"', '"XX"'), "anomaly_class 'XX'"),
        ("real_iad", edit(REAL_IAD, "OK/S0001/", "../../"), "does not lie in the data folder"),
        ("severstal", edit("train.csv", ROW, "0002cc93b.jpg,1,211"), "expected pairs"),
        ("severstal", edit("train.csv", ROW, "0002cc93b.jpg,1,211 -10"), "expected pairs"),
        ("severstal", edit("train.csv", ROW, "0002cc93b.jpg,1,0 10"), "starts at 0"),
        ("severstal", edit("train.csv", ROW, "0002cc93b.jpg,5,1 10"), "ClassId is '5'"),
        ("severstal", edit("train.csv", ROW, "0002cc93b.jpg,1,1991 20"), "end at pixel 2010"),
        ("severstal", edit("train.csv", ROW, "0002cc93b.jpg,1,211 10 215 10"), "ascending"),
        ("severstal", edit("train.csv", ROW, "ffffffff.jpg,1,1 10"), "is missing"),
        ("severstal", edit("train.csv", ROW, "../../etc.jpg,1,1 10"), "not lie in the data folder"),
        ("visa", edit(VISA, "candle,train", "spoon,train"), "object 'spoon'"),
        ("visa", edit(VISA, "candle,train", "candle,later"), "split 'later'"),
        ("visa", edit(VISA, "candle/Data/Images/Normal/0000", "../a"), "not lie in the data"),
        ("visa", edit(VISA, "pcb4/Data/Masks", "/etc"), "does not lie in the data folder"),
        ("visa", edit(PCB4, "dirt", "leak"), "type 'leak' of pcb4"),
        ("visa", put(PCB4, b"image,label,mask\n"), "has no label in pcb4/image_anno.csv"),
        ("visa", image("pcb4/Data/Masks/Anomaly/000.png", spot(8)), "unknown id 8"),
        ("wm811k", wafer(waferMap=[[[1]], [[7, 1]]]), "other values than 0, 1 and 2"),
        ("wm811k", wafer(waferMap=[[[1]], [[1, 2], [1]]]), "rows of several lengths"),
        ("wm811k", wafer(waferMap=[[[1]], []]), "is 0, expected rows and columns"),
        ("wm811k", wafer(waferMap=[[[1]], None]), "is NoneType, expected rows"),
        ("wm811k", wafer(failureType=[[["Loc"]], [["Moon"]]]), "pattern 'Moon'"),
        ("wm811k", wafer(trianTestLabel=[[], [["Later"]]]), "split 'Later'"),
    ],
)  # fmt: skip
def test_what_is_bad_is_refused_alone(tmp_path, name, damage, words):
    write(name, tmp_path)
    damage.act(tmp_path)
    problems = [inspect(record, tmp_path).problem for record in build(name).records(tmp_path)]
    assert [words in problem for problem in problems if problem] == [True], problems
    assert len(problems) > 1 and not any("\n" in problem for problem in problems)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("dagm", drop("Class10/Test/Label/Labels.txt"), r"Labels\.txt is missing in .*Class10"),
        ("dagm", put(f"{DAGM}Labels.txt", b"1\n576 yes 0576.PNG\n"), r"line 2 is '576 yes"),
        ("elpv", put("labels.csv", b"\n\n"), r"labels\.csv is empty: expected"),
        ("elpv", put("labels.csv", b"\xff\xfe\x00"), r"labels\.csv is not UTF-8"),
        ("mtd", image("MT_Rust/Imgs/exp1_num_1.jpg", texture(1)), "MT_Rust is unknown"),
        *(
            ("real_iad", put(REAL_IAD, content), r"bottle_cap\.json")
            for content in (b"[]", b"{", b'{"train": 3, "test": []}', b'{"train": [1]}')
        ),
        *(
            ("severstal", put("train.csv", content), r"train\.csv is not readable .*ImageId, Class")
            for content in (b"a,b\n1,2\n", b"\xff\xfe\x00", b"", b'ImageId,"\x00')
        ),
        ("visa", put(VISA, b"object,label\ncandle,normal\n"), "it has no column 'split'"),
        ("visa", drop("candle/image_anno.csv"), r"image_anno\.csv is missing in .*candle"),
        ("wm811k", put("wm811k.parquet", b"PAR1"), "not readable .*CONVERSION"),
        ("wm811k", Damage("", lambda at: wm811k.write_table(at, {"a": [1]})), "column waferMap"),
    ],
)  # fmt: skip
def test_what_is_no_such_set_is_one_clear_line(tmp_path, name, damage, words):
    write(name, tmp_path)
    damage.act(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        build(name).records(tmp_path)
    assert "\n" not in str(error.value)


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


def test_the_first_form_of_train_csv_says_the_same(tmp_path):
    write("severstal", tmp_path / "final")
    severstal.write(tmp_path / "first", "ImageId_ClassId,EncodedPixels", severstal.FIRST_ROWS)
    first, final = (build("severstal").records(tmp_path / name) for name in ("first", "final"))
    assert first == final


@pytest.mark.parametrize("pixels", ["", "NaN", "nan"])
def test_rows_without_pixels_mean_no_defect(tmp_path, pixels):
    severstal.write(tmp_path, rows=(f"0002cc93b.jpg,1,{pixels}",))
    record = build("severstal").records(tmp_path)[0]
    assert (record.defects, record.flaw) == ((), "")
