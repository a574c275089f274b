"""The quirks of WM-811K, on fake files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED
from datamodules.sources.wm811k import CONVERSION, Wm811k
from tests.datamodules.formats.pickle_writer import old_frame, write_pickle
from tests.datamodules.sources.layouts.wm811k import WAFERS, box, dies, table, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def old_content(maps: list[object], **changes: list[object]) -> bytes:
    count = len(maps)
    columns = {
        "waferMap": maps,
        "lotName": ["lot1"] * count,
        "trianTestLabel": [box("Training")] * count,
        "failureType": [box("Loc")] * count,
    }
    return write_pickle(old_frame(columns | changes))


def test_patterns_become_plain_words_and_none_is_good(root):
    defects = [record.defects for record in Wm811k().records(root)]
    assert defects == [(), ("edge ring",), ("near full",), ()]


def test_a_wafer_without_a_word_is_unlabelled_not_good(root):
    splits = [record.split for record in Wm811k().records(root)]
    assert splits == ["train", "train", "test", UNLABELLED]


def test_wafers_of_a_lot_are_one_group(root):
    groups = [record.group for record in Wm811k().records(root)]
    assert groups == ["wm811k_lot1", "wm811k_lot1", "wm811k_lot2", "wm811k_lot2"]


def test_a_map_is_drawn_with_one_pixel_per_die(root):
    record = Wm811k().records(root)[2]
    grey = np.asarray(Image.open(root / record.image))
    np.testing.assert_array_equal(grey, np.array([0, 128, 255])[dies(2)])


def test_records_have_no_mask(root):
    assert {record.mask_kind for record in Wm811k().records(root)} == {"none"}


def test_maps_are_drawn_once_and_the_table_stays_as_it_was(root):
    before = (root / "LSWMD.pkl").read_bytes()
    drawn = root / Wm811k().records(root)[0].image
    first = drawn.stat().st_mtime_ns
    Wm811k().records(root)
    assert drawn.stat().st_mtime_ns == first
    assert (root / "LSWMD.pkl").read_bytes() == before


def test_drawn_maps_are_enough_without_the_table(root):
    records = Wm811k().records(root)
    (root / "LSWMD.pkl").unlink()
    assert Wm811k().records(root) == records


def test_maps_of_another_table_are_refused(root):
    Wm811k().records(root)
    (root / "LSWMD.pkl").write_bytes(b"another file")
    with pytest.raises(ValueError, match=r"wafer_maps was drawn from another table .*delete"):
        Wm811k().records(root)


def test_the_original_form_of_the_table_is_read(tmp_path):
    (tmp_path / "WM811K.pkl").write_bytes(old_content([dies(0), dies(1)]))
    records = Wm811k().records(tmp_path)
    assert [record.defects for record in records] == [("loc",), ("loc",)]


def test_the_conversion_gives_the_same_records(root, monkeypatch):
    expected = Wm811k().records(root)
    (root / "converted").mkdir()
    (root / "converted/LSWMD.pkl").write_bytes(pickle.dumps(table()))
    monkeypatch.chdir(root / "converted")
    exec(CONVERSION, {})
    (root / "converted/LSWMD.pkl").unlink()
    assert Wm811k().records(root / "converted") == expected
    last = Image.open(root / "converted" / expected[-1].image)
    np.testing.assert_array_equal(last, np.array([0, 128, 255])[dies(len(WAFERS) - 1)])


@pytest.mark.parametrize(
    ("name", "value"),
    [("shapes", np.array([[9, 9]])), ("lots", np.array(["a"])), ("lots", np.array([{}]))],
)
def test_a_bad_conversion_is_one_clear_line(tmp_path, name, value):
    parts = {"dies": np.ones(8, np.uint8), "shapes": np.array([[2, 2], [2, 2]])}
    parts |= {key: np.array(["a", "b"]) for key in ("lots", "splits", "types")}
    np.savez(tmp_path / "wm811k.npz", **(parts | {name: value}))
    with pytest.raises(ValueError, match=r"wm811k\.npz is not readable .*convert it again"):
        Wm811k().records(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (old_content([dies(0), np.full((3, 3), 7, np.uint8)]), "other values than 0, 1 and 2"),
        (old_content([dies(0), np.ones(5, np.uint8)]), "is 5, expected rows and columns"),
        (old_content([dies(0), "no map"]), "is str, expected rows and columns"),
        (old_content([dies(0), np.zeros((0, 3), np.uint8)]), "is 0x3, expected rows"),
        (old_content([dies(0)] * 2, failureType=[box("Loc"), box("Moon")]), "pattern 'Moon'"),
        (old_content([dies(0)] * 2, trianTestLabel=[box(""), box("Later")]), "split 'Later'"),
    ],
)
def test_a_bad_row_costs_its_own_wafer_alone(tmp_path, content, words):
    (tmp_path / "LSWMD.pkl").write_bytes(content)
    good, bad = (inspect(record, tmp_path).problem for record in Wm811k().records(tmp_path))
    assert good == ""
    assert words in bad


def test_a_missing_column_is_one_clear_line(tmp_path):
    (tmp_path / "LSWMD.pkl").write_bytes(write_pickle(old_frame({"waferMap": [dies(0)]})))
    with pytest.raises(ValueError, match=r"LSWMD\.pkl has no column lotName: expected waferMap"):
        Wm811k().records(tmp_path)


def test_nothing_half_drawn_stays(root, monkeypatch):
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("datamodules.sources.wm811k._draw", full_disk)
    with pytest.raises(OSError, match=r"cannot draw wafer maps into .*No space left"):
        Wm811k().records(root)
    assert [path.name for path in root.iterdir()] == ["LSWMD.pkl"]


def test_a_trap_in_the_table_draws_nothing(tmp_path):
    (tmp_path / "LSWMD.pkl").write_bytes(b"cos\nsystem\n(S'touch sprung'\ntR.")
    with pytest.raises(ValueError, match=r"it asks for os\.system"):
        Wm811k().records(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["LSWMD.pkl"]
