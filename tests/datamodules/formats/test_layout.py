"""What counts as an image of a folder, paths of annotations, splits told by names."""

import pytest

from datamodules.formats.layout import (
    FileTree,
    glob_folders,
    glob_images,
    join_below,
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


@pytest.mark.parametrize(
    ("name", "path"),
    [("./a.png", "x/y/a.png"), ("../z/a b.png", "x/z/a b.png"), ("ü//a", "x/y/ü/a"), ("../..", "")],
)
def test_names_are_seen_from_their_folder(name, path):
    assert join_below("x/y", name) == path


@pytest.mark.parametrize("name", ["", "/etc/a", "../../a", "C:\\a", "\\\\host\\a", "x/../../../a"])
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


def test_split_is_a_whole_word_of_the_name():
    names = ("instances_train2017", "Validation_set", "image_info_test-dev2017", "trainer")
    assert [split_of_name(name) for name in names] == ["train", "val", "test", ""]


def test_split_is_the_whole_name_of_a_folder():
    paths = ("x/Valid/images/a.png", "test.png", "my test/a.png")
    assert [split_of_path(path) for path in paths] == ["val", "", ""]
