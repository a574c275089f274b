"""Texts and JSON that are none."""

import pytest

from datamodules.formats.text_files import numbers_of, objects_of, read_text


def test_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_text("ü", encoding="utf-8-sig")
    assert read_text(tmp_path / "a.txt") == "ü"


@pytest.mark.parametrize("value", [None, 3, "1, 2", [1, "2"], [1, None], [True], [10**400]])
def test_what_is_no_list_of_numbers_is_refused(value):
    with pytest.raises(ValueError, match="expected"):
        numbers_of(value)


@pytest.mark.parametrize("value", [None, {}, [1], [{}, "a"]])
def test_what_is_no_list_of_objects_is_refused(value):
    with pytest.raises(ValueError, match=r"images of a is .* expected a list of objects"):
        objects_of(value, "images of a")
