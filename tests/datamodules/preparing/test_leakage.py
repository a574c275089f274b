"""What becomes of alike pictures in one split, in two, and in none."""

from dataclasses import replace

import pytest

from datamodules.captions import Caption
from datamodules.preparing.duplicates import Pair
from datamodules.preparing.leakage import copies_to_drop, find_leaks, link_groups
from datamodules.sample import UNLABELLED, Record


def picture(number: int, split: str = "") -> Record:
    return Record(
        image=f"{number}.png",
        mask="",
        mask_values=(),
        defects=(),
        caption=Caption("plate"),
        group=f"g{number}",
        source="parts",
        split=split,
    )


def pair(first: int, second: int) -> Pair:
    return Pair(first, second, "near", "0", 0.99)


@pytest.mark.parametrize("splits", [("train", "test"), ("test", "train")])
def test_test_picture_stays_and_its_copy_in_training_goes(splits):
    records = [picture(k, split) for k, split in enumerate(splits)]
    records += [picture(k, "train") for k in range(2, 5)]
    assert copies_to_drop(records, [pair(0, 1)]) == [splits.index("train")]


def test_copies_within_a_split_stay():
    records = [picture(0, "train"), picture(1, "train")]
    assert copies_to_drop(records, [pair(0, 1)]) == []


def test_chain_of_likeness_to_a_test_picture_goes_whole():
    records = [picture(0, "test"), *(picture(k, "train") for k in range(1, 8))]
    assert copies_to_drop(records, [pair(0, 1), pair(1, 2)]) == [1, 2]


def test_unlabelled_copy_of_a_test_picture_goes():
    records = [picture(0, "test"), picture(1, UNLABELLED)]
    assert copies_to_drop(records, [pair(0, 1)]) == [1]


def test_unlabelled_copy_of_a_training_picture_is_no_leak():
    records = [picture(0, "train"), picture(1, UNLABELLED)]
    assert copies_to_drop(records, [pair(0, 1)]) == []
    assert find_leaks(records, [pair(0, 1)]) == []


def test_set_of_parts_that_all_look_alike_is_refused():
    records = [picture(0, "test"), picture(1, "train"), picture(2, "train")]
    alike = [pair(0, 1), pair(0, 2)]
    with pytest.raises(ValueError, match="photographed alike"):
        copies_to_drop(records, alike)
    assert copies_to_drop(records, alike, max_alike_fraction=1) == [1, 2]


def test_pictures_without_a_split_that_are_alike_become_one_group():
    records = [picture(k) for k in range(5)]
    groups = [record.group for record in link_groups(records, [pair(0, 2)])]
    assert groups == ["g0", "g1", "g0", "g3", "g4"]


def test_likeness_joins_whole_groups():
    records = [picture(k) for k in range(6)]
    records[1] = replace(records[1], group="g0")
    groups = [record.group for record in link_groups(records, [pair(1, 2)])]
    assert groups[:3] == ["g0", "g0", "g0"]


def test_likeness_across_given_splits_joins_nothing():
    records = [picture(0, "train"), picture(1, "test"), picture(2, "test")]
    assert link_groups(records, [pair(0, 1)]) == records


def test_linking_most_pictures_into_one_group_is_refused():
    with pytest.raises(ValueError, match="photographed alike"):
        link_groups([picture(k) for k in range(6)], [pair(k, k + 1) for k in range(4)])


def test_leak_names_both_pictures_and_splits():
    records = [picture(0, "train"), picture(1, "test")]
    (leak,) = find_leaks(records, [pair(0, 1)])
    assert (leak.first, leak.second) == ("0.png", "1.png")
    assert leak.splits == ("train", "test")


def test_pictures_of_one_split_do_not_leak():
    records = [picture(0, "train"), picture(1, "train"), picture(2), picture(3)]
    assert find_leaks(records, [pair(0, 1), pair(2, 3)]) == []
