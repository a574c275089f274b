"""What all sources share: types, groups, masks, the unlabelled."""

import pytest

from datamodules.formats.records import RecordMaker, defect_name, dominant_first, grey_values
from datamodules.sample import UNLABELLED, MaskValues, Region
from datamodules.sources.coco import Coco


def maker(group_pattern: str = "", unannotated: str = "good") -> RecordMaker:
    return RecordMaker(Coco(), "plate", "steel", "CC0-1.0", group_pattern, unannotated)


def test_many_small_regions_outweigh_a_larger_one_whatever_their_kind():
    regions = [
        Region("dot", "runs", (0, 5, 9, 6)),
        Region("box", "box", (0, 0, 4, 4)),
        Region("triangle", "polygon", (0, 0, 10, 0, 0, 10)),
        Region("dot", "runs", (40, 6)),
    ]
    assert dominant_first(regions) == ("triangle", "dot", "box")


def test_unusable_numbers_do_not_hinder_the_order():
    regions = [Region("a", "box", (1,)), Region("b", "polygon", (1, 2, 3)), Region("c", "runs", ())]
    assert set(dominant_first(regions)) == {"a", "b", "c"}


def test_greys_of_a_good_part_name_no_defect():
    good = MaskValues(0, 127, "good")
    assert grey_values("", largest_good=127) == (good,)
    assert grey_values("hole", largest_good=127) == (good, MaskValues(128, 255, "hole"))


@pytest.mark.parametrize("word", ["Good", "ok", "NORMAL", "no_defect"])
def test_regions_of_good_parts_are_no_defects(word):
    record = maker().make("a.png", regions=[Region(word, "box", (0, 0, 4, 4))])
    assert (record.defects, record.regions, record.split) == ((), (), "")
    assert defect_name(word) == ""


def test_image_without_label_is_unlabelled():
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
    assert maker(pattern).make(image).group == group


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"group_pattern": "board("}, "expected a regular expression"),
        ({"unannotated": "maybe"}, "'maybe': expected one of good, unlabelled"),
    ],
)
def test_bad_setting_is_one_clear_line(settings, words):
    with pytest.raises(ValueError, match=words):
        maker(**settings)
