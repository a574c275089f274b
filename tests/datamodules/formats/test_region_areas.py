"""The order of the types that boxes name."""

from datamodules.formats.region_areas import dominant_first
from datamodules.sample import Region


def test_many_small_boxes_outweigh_a_larger_one():
    stain = Region("stain", "box", (0, 0, 10, 10))
    holes = [Region("hole", "box", (left, 0, 8, 8)) for left in (0, 20)]
    assert dominant_first([stain, *holes]) == ("hole", "stain")


def test_no_boxes_name_no_type():
    assert dominant_first([]) == ()


def test_largest_region_is_dominant_whatever_its_kind():
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
