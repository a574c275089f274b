"""What all general formats share: types, groups, the unlabelled."""

import pytest

from datamodules.formats.record_maker import RecordMaker, check_unannotated
from datamodules.sample import UNLABELLED, Region


def maker(group_pattern: str = "") -> RecordMaker:
    return RecordMaker("coco", "plate", "steel", "CC0-1.0", group_pattern)


@pytest.mark.parametrize("word", ["good", "OK", "Normal", "no_defect"])
def test_regions_of_good_parts_are_no_defects(word):
    record = maker().make("a.png", regions=[Region(word, "box", (0, 0, 4, 4))])
    assert (record.defects, record.regions, record.split) == ((), (), "")


def test_picture_without_label_is_unlabelled():
    assert maker().make("a.png", split="train", is_labelled=False).split == UNLABELLED


@pytest.mark.parametrize(
    ("pattern", "image", "group"),
    [
        ("", "x/a.b.png", "coco_x/a.b"),
        ("", "x/a_jpg.rf.3f2.jpg", "coco_x/a_jpg"),
        (r"board(\d+)", "x/board12_top.png", "coco_12"),
        (r"board\d+", "x/board12_top.png", "coco_board12"),
        (r"board(\d+)", "x/tile.png", "coco_x/tile"),
    ],
)
def test_group_comes_from_the_pattern_or_the_name(pattern, image, group):
    assert maker(pattern).group_of(image) == group


def test_bad_pattern_is_one_clear_line():
    with pytest.raises(ValueError, match="expected a regular expression"):
        maker("board(")


def test_unknown_answer_for_unannotated_pictures_is_one_clear_line():
    with pytest.raises(ValueError, match="'maybe': expected one of good, unlabelled"):
        check_unannotated("maybe")


def test_unprintable_type_is_a_flaw():
    assert "expected printable" in maker().make("a.png", types=["cr\ud800ck"]).flaw
