"""Claims about group-aware, stratified, stable splits."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from datamodules.captions import Caption
from datamodules.sample import UNLABELLED, Record
from datamodules.splits import (
    assign_splits,
    check_groups,
    spread_over_types,
    supervised_thirds,
    type_of,
)


def record(number: int, *, defect: str = "", group: str = "", split: str = "") -> Record:
    return Record(
        image=f"{number}.png",
        mask="",
        mask_values=(),
        defects=(defect,) if defect else (),
        caption=Caption("plate", defect=defect),
        group=group or f"g{number}",
        source="parts",
        split=split,
    )


def runs(counts: dict[str, int], *, per_group: int = 1) -> list[Record]:
    """`counts` images of each type, `per_group` of one type in a group."""
    kinds = [(kind, place) for kind, count in counts.items() for place in range(count)]
    return [
        record(number, defect=kind, group=f"{kind}/{place // per_group}")
        for number, (kind, place) in enumerate(kinds)
    ]


def shares(records: list[Record]) -> dict[str, float]:
    counts = Counter(r.split for r in records)
    return {split: counts[split] / len(records) for split in ("train", "val", "test")}


def test_shares_of_images_are_met() -> None:
    got = shares(assign_splits(runs({"": 200, "crack": 60, "stain": 40}, per_group=2)))
    assert got == pytest.approx({"train": 0.6, "val": 0.15, "test": 0.25}, abs=0.03)


def test_groups_never_part() -> None:
    records = assign_splits(runs({"": 50, "crack": 31}, per_group=5))
    check_groups(records)
    assert {r.split for r in records} == {"train", "val", "test"}


@pytest.mark.parametrize("group_count", [3, 4, 7])
def test_a_type_with_three_groups_is_in_every_split(group_count: int) -> None:
    records = assign_splits(runs({"": 500, "crack": group_count}))
    assert {r.split for r in records if r.defects} == {"train", "val", "test"}


def test_one_large_group_does_not_empty_a_split() -> None:
    big = [record(n, defect="crack", group="big") for n in range(50)]
    small = [record(100 + n, defect="crack", group=f"s{n}") for n in range(2)]
    assert {r.split for r in assign_splits(big + small)} == {"train", "val", "test"}


def test_types_with_one_or_two_groups_are_trained_and_tested_first() -> None:
    one = assign_splits(runs({"": 30, "crack": 1}))
    two = assign_splits(runs({"": 30, "crack": 2}))
    assert [r.split for r in one if r.defects] == ["train"]
    assert {r.split for r in two if r.defects} == {"train", "test"}


def test_a_rare_type_among_good_pictures_of_its_run_is_in_every_split() -> None:
    mixed = [
        record(10 * g + n, defect="crack" if n == 0 else "", group=f"m{g}")
        for g in range(4)
        for n in range(5)
    ]
    records = assign_splits(mixed + runs({"stain": 60}))
    assert {r.split for r in records if type_of(r) == "crack"} == {"train", "val", "test"}


def test_split_does_not_depend_on_the_order_of_records() -> None:
    records = runs({"": 40, "crack": 20}, per_group=3)
    shuffled = random.Random(1).sample(records, len(records))
    first = {r.image: r.split for r in assign_splits(records)}
    assert first == {r.image: r.split for r in assign_splits(shuffled)}


def test_another_seed_is_another_split() -> None:
    records = runs({"": 60})
    assert assign_splits(records, seed=0) != assign_splits(records, seed=1)


def test_given_splits_are_kept_and_val_is_carved_from_train_by_group() -> None:
    given = [record(n, group=f"a{n // 4}", split="train") for n in range(80)]
    given += [record(100 + n, split="test") for n in range(20)]
    records = assign_splits(given)
    assert all(r.split == "test" for r in records[80:])
    counts = Counter(r.split for r in records[:80])
    assert counts == {"train": 64, "val": 16}
    check_groups(records)


def test_a_given_val_is_not_added_to() -> None:
    given = [record(n, split=("train", "val", "test")[n % 3]) for n in range(9)]
    assert assign_splits(given) == given


def test_no_val_is_carved_where_none_is_asked_for() -> None:
    given = [record(n, split="train") for n in range(9)]
    assert assign_splits(given, train=0.8, val=0.0, test=0.2) == given


def test_records_without_split_follow_their_group() -> None:
    records = [record(0, group="a", split="test"), record(1, group="a"), *runs({"crack": 30})]
    assert assign_splits(records)[1].split == "test"


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"train 0\.6, val 0\.3, test 0\.25, .*sum of 1"):
        assign_splits(runs({"": 9}), val=0.3)


def test_leaking_group_is_named() -> None:
    records = [record(0, group="run7", split="train"), record(1, group="run7", split="test")]
    with pytest.raises(ValueError, match=r"group 'run7' is in the splits 'train' and 'test'"):
        check_groups(records)


def test_unlabelled_pictures_keep_out_of_the_splits() -> None:
    records = [record(0, group="a", split=UNLABELLED), record(1, group="a"), *runs({"crack": 30})]
    done = assign_splits(records)
    assert done[0].split == UNLABELLED
    assert {r.split for r in done[1:]} == {"train", "val", "test"}
    check_groups(done)


def test_first_third_of_each_type_by_name_trains() -> None:
    cracks = [record(n, defect="crack") for n in range(9)]
    stains = [record(10 + n, defect="stain") for n in range(3)]
    trained = [r.image for r in supervised_thirds(cracks + stains) if r.split == "train"]
    assert trained == ["0.png", "1.png", "2.png", "10.png"]


def test_thirds_keep_the_published_split_of_good_pictures() -> None:
    good = [record(n, split="train" if n < 5 else "test") for n in range(8)]
    cracks = [record(10 + n, defect="crack", split="test") for n in range(6)]
    done = supervised_thirds(good + cracks)
    assert [r.split for r in done[:8]] == [r.split for r in good]
    assert [r.split for r in done[8:]] == ["train"] * 2 + ["test"] * 4


def test_thirds_part_no_group() -> None:
    records = [record(n, defect="crack", group=f"g{n // 2}") for n in range(12)]
    check_groups(supervised_thirds(records))


def test_generated_pictures_train_and_hold_their_group_there() -> None:
    painted = replace(record(0, defect="crack", group="a"), is_generated=True)
    records = [painted, record(1, group="a"), *runs({"crack": 30})]
    done = assign_splits(records)
    assert [r.split for r in done[:2]] == ["train", "train"]
    assert {r.split for r in done[2:]} == {"train", "val", "test"}


def test_val_is_carved_around_generated_pictures() -> None:
    given = [record(n, group=f"a{n // 4}", split="train") for n in range(80)]
    painted = [
        replace(given[4 * n], image=f"p{n}.png", is_generated=True, defects=("crack",))
        for n in range(10)
    ]
    done = assign_splits(given + painted)
    check_groups(done)
    assert {r.split for r in done[80:]} == {"train"}
    assert {r.split for r in done[:80]} == {"train", "val"}


def test_thirds_leave_generated_pictures_in_training() -> None:
    cracks = [record(n, defect="crack") for n in range(3)]
    painted = [replace(record(10 + n, defect="crack"), is_generated=True) for n in range(9)]
    done = supervised_thirds([replace(p, split="train") for p in painted] + cracks)
    assert [r.split for r in done] == ["train"] * 10 + ["test"] * 2


def test_a_few_rows_spread_over_types_as_the_whole_does() -> None:
    types = ["crack"] * 60 + ["stain"] * 30 + ["good"] * 10
    rows = spread_over_types(np.arange(100), types, 10)
    assert Counter(types[row] for row in rows) == {"crack": 6, "stain": 3, "good": 1}
    assert rows.tolist() == sorted(rows.tolist())
