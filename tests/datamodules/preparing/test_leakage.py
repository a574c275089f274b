"""What becomes of alike images in one split, in two, and in none."""

from dataclasses import replace

import pytest

from datamodules.captions import Caption
from datamodules.preparing.duplicates import Pair
from datamodules.preparing.leakage import drop_copies, find_leaks, link_groups, resolve_leaks
from datamodules.sample import UNLABELLED, Record


def images(*splits: str) -> list[Record]:
    return [
        Record(f"{k}.png", "", (), (), Caption("plate"), f"g{k}", "parts", split)
        for k, split in enumerate(splits)
    ]


def pairs(*links: tuple[int, int]) -> list[Pair]:
    return [Pair(first, second, "near", "0", 0.99) for first, second in links]


@pytest.mark.parametrize(
    ("splits", "links", "dropped"),
    [
        (["train", "test", "train", "train"], [(0, 1)], ["0.png"]),
        (["test", "train", "train", "train"], [(0, 1)], ["1.png"]),
        (["val", "train", "train", "train"], [(0, 1)], ["1.png"]),
        (["train", "train"], [(0, 1)], []),
        (["test", *["train"] * 7], [(0, 1), (1, 2)], ["1.png", "2.png"]),
        (["test", UNLABELLED], [(0, 1)], ["1.png"]),
        (["train", UNLABELLED], [(0, 1)], []),
        (["", "test"], [(0, 1)], []),
    ],
)
def test_copies_of_what_is_tested_are_not_trained_on(splits, links, dropped):
    stay, kept_pairs, left_out = drop_copies(images(*splits), pairs(*links))
    assert [one.image for one in left_out] == dropped
    assert len(stay) == len(splits) - len(dropped)
    assert not find_leaks(stay, kept_pairs)


def test_reason_names_the_copy_in_the_other_split():
    records = images("train", "train", "train", "test", "train", "train", "train")
    _, _, left_out = drop_copies(records, pairs((0, 1), (0, 3)))
    assert left_out[0].reason == "near copy of 3.png (test)"


def test_leak_names_both_images_and_splits():
    records = images("train", "test", "train", "", "")
    (leak,) = find_leaks(records, pairs((0, 1), (0, 2), (3, 4)))
    assert (leak.first, leak.second, leak.splits) == ("0.png", "1.png", ("train", "test"))


def test_set_of_parts_that_all_look_alike_is_refused_unless_allowed():
    records, alike = images("test", "train", "train"), pairs((0, 1), (0, 2))
    with pytest.raises(ValueError, match=r"2 of 2 train images .* photographed alike"):
        drop_copies(records, alike)
    assert len(drop_copies(records, alike, max_alike_fraction=1)[0]) == 1
    chain = pairs(*((k, k + 1) for k in range(4)))
    with pytest.raises(ValueError, match="5 of 6 images are linked"):
        link_groups(images(*[""] * 6), chain)


@pytest.mark.parametrize(
    ("copies", "fractions", "leaks"), [("keep", (0.5, 0, 0.5), True), ("drop", (1, 0, 0), False)]
)
def test_parts_that_all_look_alike_are_kept_as_asked_and_may_all_train(copies, fractions, leaks):
    chain = pairs(*((k, k + 1) for k in range(7)))
    records, left_out, found = resolve_leaks(
        images(*[""] * 8), chain, copies=copies, fractions=fractions, split_seed=0
    )
    assert len(records) == 8 and not left_out and bool(found) == leaks
    assert {one.split for one in records} == ({"train", "test"} if leaks else {"train"})


def test_alike_images_without_a_split_become_one_group_with_their_groups():
    records = images(*[""] * 6)
    records[1] = replace(records[1], group="g0")
    groups = [record.group for record in link_groups(records, pairs((1, 2)))]
    assert groups == ["g0", "g0", "g0", "g3", "g4", "g5"]


@pytest.mark.parametrize("other", [UNLABELLED, "train"])
@pytest.mark.parametrize("links", [(0, 2), (1, 2), (0, 3), (1, 3)])
def test_a_group_of_records_with_and_without_a_split_stays_one(other, links):
    records = images("", other, "", other)
    records[1] = replace(records[1], group="g0")
    linked = link_groups(records[::-1], pairs(tuple(3 - k for k in links)))[::-1]
    assert linked[0].group == linked[1].group


def test_likeness_joins_no_groups_of_two_given_splits():
    records = images("train", "", "test", "", "")
    records[1], records[3] = (replace(records[k], group=f"g{k - 1}") for k in (1, 3))
    done, left_out, leaks = resolve_leaks(
        records,
        pairs((1, 4), (3, 4)),
        copies="drop",
        max_alike_fraction=1,
        fractions=(0.6, 0.15, 0.25),
        split_seed=0,
    )
    assert {one.group: one.split for one in done}.items() >= {"g0": "train", "g2": "test"}.items()
    assert not leaks and len(done) + len(left_out) == 5


def test_likeness_across_given_splits_joins_nothing():
    records = images("train", "test", "test")
    assert link_groups(records, pairs((0, 1))) == records


@pytest.mark.parametrize(
    ("copies", "kind", "left_out", "leaks"),
    [
        ("drop", "near", 1, 0),
        ("drop", "exact", 1, 0),
        ("exact", "near", 0, 0),
        ("exact", "exact", 1, 0),
        ("keep", "near", 0, 1),
    ],
)
def test_copies_are_dropped_or_kept_as_asked(copies, kind, left_out, leaks):
    found = [replace(pair, kind=kind) for pair in pairs((0, 1))]
    done = resolve_leaks(
        images("test", *["train"] * 9),
        found,
        copies=copies,
        fractions=(0.6, 0.15, 0.25),
        split_seed=0,
    )
    assert (len(done[1]), len(done[2])) == (left_out, leaks)
    assert {record.split for record in done[0]} == {"train", "val", "test"}
