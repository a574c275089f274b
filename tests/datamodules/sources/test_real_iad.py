"""The quirks of Real-IAD, on fake files."""

from pathlib import Path

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sources.real_iad import RealIad
from tests.datamodules.sources.layouts.real_iad import CATEGORY, entry, write, write_table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def table_of(root: Path) -> Path:
    return root / "realiad_jsons/realiad_jsons" / f"{CATEGORY}.json"


def test_codes_become_the_names_of_the_paper(root):
    assert [record.defects for record in RealIad().records(root)] == [(), ("pit",), ()]


def test_a_view_that_hides_the_defect_is_good_whatever_its_name_says(root):
    hidden = RealIad().records(root)[2]
    assert "NG_AK_C2" in hidden.image
    assert (hidden.defects, hidden.mask) == ((), "")


def test_views_of_a_sample_are_one_group_but_equal_numbers_are_not(root):
    good, shown, hidden = RealIad().records(root)
    assert shown.group == hidden.group != good.group


def test_tables_without_the_extra_folder_are_found(tmp_path):
    write(tmp_path, folder="realiad_jsons")
    assert len(RealIad().records(tmp_path)) == 3


def test_another_protocol_of_the_archive_is_read(root):
    path = root / "realiad_jsons/realiad_jsons_sv" / f"{CATEGORY}.json"
    image = f"OK/S0001/{CATEGORY}_0001_OK_C1_20231021130235.jpg"
    write_table(path, {"meta": {}, "train": [entry("OK", image)], "test": []})
    records = RealIad(protocol="realiad_jsons_sv").records(root)
    assert [inspect(record, root).problem for record in records] == [""]


def test_a_category_without_a_table_is_one_clear_line(root):
    with pytest.raises(FileNotFoundError, match=r"category .mint. has no JSON .* bottle_cap"):
        RealIad(categories=["mint"]).records(root)


def test_another_resolution_is_asked_for_by_name(root):
    with pytest.raises(FileNotFoundError, match="expected realiad_512/<category>"):
        RealIad(resolution="512").records(root)


def test_unknown_resolution_is_one_clear_line():
    with pytest.raises(ValueError, match="resolution is '2048': expected one of raw, 1024"):
        RealIad(resolution="2048")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (entry("XX", "NG/XX/S0001/a.jpg"), "anomaly_class 'XX'"),
        (entry("OK", "../../a.jpg"), "does not lie in the data folder"),
        (entry("AK", "NG/AK/S0001/a.jpg", "../../a.png"), "does not lie in the data folder"),
    ],
)
def test_a_bad_entry_is_a_flaw_of_its_picture_alone(root, bad, words):
    write_table(table_of(root), {"train": [entry("OK", "OK/S0001/a.jpg")], "test": [bad]})
    good, flawed = RealIad().records(root)
    assert good.flaw == ""
    assert words in flawed.flaw


@pytest.mark.parametrize("content", ["[]", "{", '{"train": 3, "test": []}', '{"train": [1]}'])
def test_a_file_that_is_no_such_json_is_one_clear_line(root, content):
    table_of(root).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{CATEGORY}\.json"):
        RealIad().records(root)
