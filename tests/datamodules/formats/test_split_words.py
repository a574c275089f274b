"""Splits told by names."""

import pytest

from datamodules.formats.split_words import split_of_name, split_of_path


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
