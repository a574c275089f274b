"""Texts and JSON that are none."""

import pytest

from datamodules.formats.text_files import numbers_of, objects_of, read_json, read_text


def test_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_text("ü", encoding="utf-8-sig")
    assert read_text(tmp_path / "a.txt") == "ü"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no readable JSON"),
        (b'{"a": [1, 2', "no readable JSON"),
        (b"[" * 200_000, "no readable JSON"),
        (b"[1]", "holds a JSON list, expected an object"),
        (b'{"a": "\xff"}', "is not UTF-8 text"),
    ],
)
def test_bad_json_is_one_clear_line(tmp_path, content, words):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [None, 3, "1, 2", [1, "2"], [1, None], [True], [10**400]])
def test_what_is_no_list_of_numbers_is_refused(value):
    with pytest.raises(ValueError, match="expected"):
        numbers_of(value)


@pytest.mark.parametrize("value", [None, {}, [1], [{}, "a"]])
def test_what_is_no_list_of_objects_is_refused(value):
    with pytest.raises(ValueError, match=r"images of a is .* expected a list of objects"):
        objects_of(value, "images of a")
