"""Wafer maps are drawn once from the table; a pickle is refused with the line that converts it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.sample import Record
from datamodules.sources.wm811k import CONVERSION, Wm811k
from tests.datamodules.sources.public_layouts import (
    dies,
    wafer_columns,
    write_wafers,
    write_wm811k,
)


def read(root: Path) -> list[Record]:
    return Wm811k().records(root)


def test_wafer_map_is_drawn_once_with_one_pixel_per_die(tmp_path):
    write_wm811k(tmp_path)
    drawn = tmp_path / read(tmp_path)[2].image
    grey, first = np.asarray(Image.open(drawn)), drawn.stat().st_mtime_ns
    np.testing.assert_array_equal(grey, np.array([0, 128, 255])[dies(2)])
    assert len(read(tmp_path)) == 4
    assert drawn.stat().st_mtime_ns == first


def test_wafer_maps_of_another_table_are_refused(tmp_path):
    write_wm811k(tmp_path)
    read(tmp_path)
    write_wafers(tmp_path, {name: cells[:2] for name, cells in wafer_columns().items()})
    with pytest.raises(ValueError, match=r"wafer_maps was drawn from another table .*delete"):
        read(tmp_path)


def test_a_pickle_is_refused_with_the_line_that_converts_it(tmp_path):
    (tmp_path / "LSWMD.pkl").write_bytes(b"cos\nsystem\n(S'touch sprung'\ntR.")
    with pytest.raises(ValueError, match=r"is a pickle.*read_pickle\('LSWMD\.pkl'\)") as error:
        read(tmp_path)
    assert "\n" not in str(error.value) and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("waferMap", [[7, 1]], "map 3 is no table of dies"),
        ("waferMap", [[1, 2], [1]], "map 3 is no table of dies"),
        ("waferMap", None, "map 3 is no table of dies"),
        ("failureType", [["Moon"]], "pattern 'Moon'"),
        ("trianTestLabel", [["Later"]], "split 'Later'"),
    ],
)
def test_one_bad_wafer_is_refused_alone(tmp_path, column, cell, words):
    columns = wafer_columns()
    columns[column] = [*columns[column][:3], cell]
    write_wafers(tmp_path, columns)
    flaws = [record.flaw for record in read(tmp_path)]
    assert not any(flaws[:3]) and words in flaws[3]


def test_that_line_makes_the_very_table(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    columns = wafer_columns()
    boxed = {
        name: [np.array(cell) for cell in columns[name]] for name in ("waferMap", "failureType")
    }
    pandas.DataFrame(columns | boxed).to_pickle(tmp_path / "LSWMD.pkl")
    monkeypatch.chdir(tmp_path)
    exec(CONVERSION, {})
    converted = read(tmp_path)
    (tmp_path / "other").mkdir()
    write_wm811k(tmp_path / "other")
    assert converted == read(tmp_path / "other")
