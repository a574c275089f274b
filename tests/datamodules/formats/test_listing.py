"""What counts as a picture of a folder, and which paths may be followed."""

import pytest

from datamodules.formats.listing import (
    absent_layout,
    is_below_root,
    list_folders,
    list_pictures,
)


def test_pictures_are_sorted_and_hidden_files_and_folders_are_none(tmp_path):
    for name in ("b.PNG", "a.bmp", "._a.bmp", "readme.txt", "._.DS_Store"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert list_pictures(tmp_path) == ["a.bmp", "b.PNG"]


def test_folders_are_sorted_without_hidden_ones(tmp_path):
    for name in ("02", "01", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "03").touch()
    assert list_folders(tmp_path) == ["01", "02"]


def test_a_missing_folder_holds_nothing(tmp_path):
    assert list_pictures(tmp_path / "absent") == list_folders(tmp_path / "absent") == []


@pytest.mark.parametrize("path", ["a.png", "a/b c.png", "a/..b.png"])
def test_plain_paths_stay_below_the_root(path):
    assert is_below_root(path)


@pytest.mark.parametrize(
    "path", ["", "/a.png", "../a.png", "a/../../b.png", "C:\\a.png", "a\\..\\b.png", "a\0.png"]
)
def test_other_paths_leave_the_root(path):
    assert not is_below_root(path)


@pytest.mark.parametrize(("name", "words"), [("", "holds another layout"), ("x", "is missing")])
def test_the_error_tells_a_missing_root_from_another_layout(tmp_path, name, words):
    error = absent_layout(tmp_path / name, title="A set", expected="this")
    assert f"{words}: expected this" in str(error)
