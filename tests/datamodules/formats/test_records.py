"""What all sources share: types, groups, masks, the unlabelled."""

import pytest

from datamodules.formats.records import RecordMaker, dominant_first
from datamodules.sample import Region
from datamodules.sources.coco import Coco
from datamodules.vocabulary import defect_name


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


@pytest.mark.parametrize("word", ["Good", "ok", "NORMAL", "no_defect"])
def test_regions_of_good_parts_are_no_defects(word):
    record = maker().make("a.png", regions=[Region(word, "box", (0, 0, 4, 4))])
    assert (record.defects, record.regions, record.split) == ((), (), "")
    assert defect_name(word) == ""


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
