"""The quirks of ELPV, on fake and on real files."""

from collections import Counter

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED
from datamodules.sources.elpv import Elpv
from tests.datamodules.sources.layouts.elpv import LINES, write


def test_only_the_probability_zero_is_good(tmp_path):
    write(tmp_path)
    records = {record.image[-8:-4]: record for record in Elpv().records(tmp_path)}
    assert {name: (record.defects, record.split) for name, record in records.items()} == {
        "0001": (("defective cell",), ""),
        "0004": ((), ""),
        "0005": ((), UNLABELLED),
        "0006": (("defective cell",), ""),
        "0009": ((), UNLABELLED),
    }


def test_the_bar_for_defective_cells_can_be_raised(tmp_path):
    write(tmp_path)
    defective = [record for record in Elpv(min_probability=0.9).records(tmp_path) if record.defects]
    assert [record.image for record in defective] == ["images/cell0001.png"]


def test_captions_name_the_kind_of_silicon(tmp_path):
    write(tmp_path)
    record = inspect(Elpv().records(tmp_path)[0], tmp_path).record
    assert record.caption.render() == "Solar cell of monocrystalline silicon with defective cell."
    assert record.mask_kind == "none"


@pytest.mark.parametrize(
    "line",
    [
        "images/cell0005.png",
        "images/cell0005.png  1.0",
        "images/cell0005.png  nan  mono",
        "images/cell0005.png  1.5  mono",
        "images/cell0005.png  high  mono",
        "images/cell0005.png  1.0  amorphous",
        "../cell0005.png  1.0  mono",
        "images/cell0001.png  0.0  mono",
        "images/absent.png  0.0  mono",
    ],
)
def test_bad_line_is_refused_alone(tmp_path, line):
    write(tmp_path, (*LINES[:2], line))
    problems = [inspect(record, tmp_path).problem for record in Elpv().records(tmp_path)]
    assert sum(bool(problem) for problem in problems) == 1
    assert not any("\n" in problem for problem in problems)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00"])
def test_labels_that_are_no_text_are_one_clear_line(tmp_path, content):
    write(tmp_path)
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"labels\.csv is .*: expected"):
        Elpv().records(tmp_path)


@pytest.mark.parametrize("probability", [0, -1, 1.1])
def test_impossible_bar_is_one_clear_line(probability):
    with pytest.raises(ValueError, match="min_probability is"):
        Elpv(min_probability=probability)


def test_real_counts_are_those_of_its_origin(shared_data):
    records = Elpv().records(shared_data / "elpv")
    counts = Counter((r.caption.material[:4], r.defects, r.split) for r in records)
    assert counts == {
        ("mono", (), ""): 100,
        ("poly", (), ""): 120,
        ("mono", (), UNLABELLED): 60,
        ("poly", (), UNLABELLED): 60,
        ("mono", ("defective cell",), ""): 40 + 92,
        ("poly", ("defective cell",), ""): 36 + 92,
    }
    assert not any(record.flaw for record in records)
