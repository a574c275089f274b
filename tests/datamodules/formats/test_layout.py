"""What counts as an image of a folder, paths of annotations, splits told by names."""

import os

import pytest

from datamodules.formats.layout import (
    FileTree,
    absent_layout,
    glob_folders,
    glob_images,
    join_below,
    scan_tree,
    split_of_name,
    split_of_path,
)


def test_images_are_sorted_part_by_part_without_hidden_files_and_folders(tmp_path):
    for name in ("a-b/x.png", "a/b.PNG", "a/a.bmp", "a/._a.bmp", "a/readme.txt", ".a/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/folder.png").mkdir()
    assert glob_images(tmp_path, "*/*") == ["a/a.bmp", "a/b.PNG", "a-b/x.png"]
    assert glob_folders(tmp_path, "*") == ["a", "a-b"]


def test_a_missing_folder_holds_nothing(tmp_path):
    assert glob_images(tmp_path, "x/*") == glob_folders(tmp_path / "absent", "*") == []


@pytest.mark.parametrize(("name", "words"), [("", "holds another layout"), ("x", "is missing")])
def test_the_error_tells_a_missing_root_from_another_layout(tmp_path, name, words):
    error = absent_layout(tmp_path / name, "A set", "this")
    assert f"{words}: expected this" in str(error)


@pytest.mark.parametrize(
    ("folder", "name", "path"),
    [
        ("", "a.png", "a.png"),
        ("x/y", "./a.png", "x/y/a.png"),
        ("x/y", "../z/a b.png", "x/z/a b.png"),
        ("x", "ü//a.png", "x/ü/a.png"),
        ("x", "..", ""),
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


@pytest.mark.parametrize(
    ("images", "name", "folders", "found"),
    [
        (["train/a.png", "val/a.png"], "a.png", ["val", "train"], "val/a.png"),
        (["x/line 1/a.png"], "line 1\\a.png", ["x"], "x/line 1/a.png"),
        (["x/y/train/a.png", "x/y/val/a.png"], "val/a.png", [""], "x/y/val/a.png"),
    ],
)
def test_image_is_found_in_the_first_folder_or_by_the_end_of_its_path(images, name, folders, found):
    assert FileTree(images).find_image(name, folders) == found


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (["x/ba.png"], r"'a\.png' is missing: expected it in the root"),
        (["x/a.png", "y/a.png"], r"may be x/a\.png or y/a\.png"),
    ],
)
def test_no_image_or_two_of_a_name_are_one_clear_line(images, words):
    with pytest.raises(ValueError, match=words):
        FileTree(images).find_image("a.png", [""])


def test_scan_leaves_out_dot_files_and_linked_folders(tmp_path):
    for name in ("root/A B.PNG", "root/._a.png", "root/.git/a.png", "out/secret.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    os.symlink(tmp_path / "out", tmp_path / "root/linked")
    assert scan_tree(tmp_path / "root", remedy="expected some").images == ("A B.PNG",)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_train2017", "train"),
        ("Validation_set", "val"),
        ("image_info_test-dev2017", "test"),
        ("instances_default", ""),
        ("trainer", ""),
    ],
)
def test_split_is_a_whole_word_of_the_name(name, split):
    assert split_of_name(name) == split


@pytest.mark.parametrize(
    ("path", "split"),
    [("x/Valid/images/a.png", "val"), ("test.png", ""), ("my test/a.png", ""), ("a.png", "")],
)
def test_split_is_the_whole_name_of_a_folder(path, split):
    assert split_of_path(path) == split
