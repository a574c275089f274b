"""Paths of annotations, looked up in one scan."""

import os
from pathlib import Path

import pytest

from datamodules.formats.file_tree import FileTree, join_below, scan_tree


def tree_of(*pictures: str) -> FileTree:
    return FileTree(tuple(sorted(pictures)), ())


@pytest.mark.parametrize(
    ("folder", "name", "path"),
    [
        ("", "a.png", "a.png"),
        ("x/y", "./a.png", "x/y/a.png"),
        ("x/y", "../z/a b.png", "x/z/a b.png"),
        ("x", "ü//a.png", "x/ü/a.png"),
    ],
)
def test_names_are_seen_from_their_folder(folder, name, path):
    assert join_below(folder, name) == path


@pytest.mark.parametrize(
    "name", ["", "/etc/a.png", "../../a.png", "C:\\a.png", "\\\\host\\a.png", "x/../../../a.png"]
)
def test_names_that_lead_out_are_refused(name):
    with pytest.raises(ValueError, match="expected one below"):
        join_below("x", name)


def test_first_folder_that_has_the_picture_wins():
    tree = tree_of("train/a.png", "val/a.png")
    assert tree.find_picture("a.png", ["val", "train"]) == "val/a.png"


def test_windows_separators_are_understood():
    assert tree_of("x/line 1/a.png").find_picture("line 1\\a.png", ["x"]) == "x/line 1/a.png"


def test_picture_elsewhere_is_found_by_the_end_of_its_path():
    tree = tree_of("x/y/train/a.png", "x/y/val/a.png")
    assert tree.find_picture("val/a.png", [""]) == "x/y/val/a.png"


def test_end_of_a_name_is_not_the_end_of_a_path():
    with pytest.raises(ValueError, match=r"'a\.png' is missing: expected it in the root"):
        tree_of("x/ba.png").find_picture("a.png", [""])


def test_two_pictures_of_one_name_are_one_clear_line():
    with pytest.raises(ValueError, match=r"may be x/a\.png or y/a\.png"):
        tree_of("x/a.png", "y/a.png").find_picture("a.png", [""])


def test_scan_leaves_out_dot_files_and_linked_folders(tmp_path):
    for name in ("root/A B.PNG", "root/._a.png", "root/.git/a.png", "out/secret.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    os.symlink(tmp_path / "out", tmp_path / "root/linked")
    assert scan_tree(tmp_path / "root", remedy="expected some").pictures == ("A B.PNG",)


@pytest.mark.parametrize("name", ["missing", "."])
def test_root_without_pictures_is_one_clear_line(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="expected some") as error:
        scan_tree(tmp_path / Path(name), remedy="expected some")
    assert "\n" not in str(error.value)


def test_folders_above_pictures_are_known():
    tree = tree_of("x/y/a.png")
    assert [tree.has_folder(path) for path in ("", "x", "x/y", "y")] == [True, True, True, False]
