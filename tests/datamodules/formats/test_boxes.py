"""The order of the types that boxes name."""

from datamodules.formats.boxes import types_by_area
from datamodules.sample import Region


def test_many_small_boxes_outweigh_a_larger_one():
    stain = Region("stain", "box", (0, 0, 10, 10))
    holes = [Region("hole", "box", (left, 0, 8, 8)) for left in (0, 20)]
    assert types_by_area([stain, *holes]) == ("hole", "stain")


def test_no_boxes_name_no_type():
    assert types_by_area([]) == ()
