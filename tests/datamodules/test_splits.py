"""Claims about group-aware, stratified, stable splits, and about a few shots of each type."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.captions import Caption
from datamodules.manifest import write_manifest
from datamodules.sample import UNLABELLED, Record
from datamodules.splits import (
    FewShots,
    assign_splits,
    check_groups,
    k_shot,
    spread_over_types,
    supervised_thirds,
    type_of,
    within_budget,
)
from datamodules.vocabulary import Vocabulary
from tests.datamodules.conftest import TYPES


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


def test_types_with_one_or_two_groups_are_trained_and_tested_first() -> None:
    one = assign_splits(runs({"": 30, "crack": 1}))
    two = assign_splits(runs({"": 30, "crack": 2}))
    assert [r.split for r in one if r.defects] == ["train"]
    assert {r.split for r in two if r.defects} == {"train", "test"}


def test_a_rare_type_among_good_images_of_its_run_is_in_every_split() -> None:
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


def test_given_splits_are_kept_and_val_is_carved_from_train_by_group() -> None:
    given = [record(n, group=f"a{n // 4}", split="train") for n in range(80)]
    given += [record(100 + n, split="test") for n in range(20)]
    records = assign_splits(given)
    assert all(r.split == "test" for r in records[80:])
    counts = Counter(r.split for r in records[:80])
    assert counts == {"train": 64, "val": 16}
    check_groups(records)


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


def test_unlabelled_images_keep_out_of_the_splits() -> None:
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


def test_thirds_keep_the_published_split_of_good_images() -> None:
    good = [record(n, split="train" if n < 5 else "test") for n in range(8)]
    cracks = [record(10 + n, defect="crack", split="test") for n in range(6)]
    done = supervised_thirds(good + cracks)
    assert [r.split for r in done[:8]] == [r.split for r in good]
    assert [r.split for r in done[8:]] == ["train"] * 2 + ["test"] * 4


def test_generated_images_train_and_hold_their_group_there() -> None:
    painted = replace(record(0, defect="crack", group="a"), is_generated=True)
    records = [painted, record(1, group="a"), *runs({"crack": 30})]
    done = assign_splits(records)
    assert [r.split for r in done[:2]] == ["train", "train"]
    assert {r.split for r in done[2:]} == {"train", "val", "test"}


def test_val_is_carved_around_generated_images() -> None:
    given = [record(n, group=f"a{n // 4}", split="train") for n in range(80)]
    painted = [
        replace(given[4 * n], image=f"p{n}.png", is_generated=True, defects=("crack",))
        for n in range(10)
    ]
    done = assign_splits(given + painted)
    check_groups(done)
    assert {r.split for r in done[80:]} == {"train"}
    assert {r.split for r in done[:80]} == {"train", "val"}


def test_thirds_leave_generated_images_in_training() -> None:
    cracks = [record(n, defect="crack") for n in range(3)]
    painted = [replace(record(10 + n, defect="crack"), is_generated=True) for n in range(9)]
    done = supervised_thirds([replace(p, split="train") for p in painted] + cracks)
    assert [r.split for r in done] == ["train"] * 10 + ["test"] * 2


def test_a_few_rows_spread_over_types_as_the_whole_does() -> None:
    types = ["crack"] * 60 + ["stain"] * 30 + ["good"] * 10
    rows = spread_over_types(np.arange(100), types, 10)
    assert Counter(types[row] for row in rows) == {"crack": 6, "stain": 3, "good": 1}
    assert rows.tolist() == sorted(rows.tolist())


IMAGES = [f"{n}.png" for n in range(40)]


def test_k_shot_keeps_k_of_each_type() -> None:
    types = ["good"] * 60 + ["crack"] * 30 + ["stain"] * 2
    kept = k_shot([f"{n}.png" for n in range(92)], types, 4, seed=0)
    assert Counter(types[place] for place in kept) == {"good": 4, "crack": 4, "stain": 2}
    assert kept == sorted(kept)


def test_budget_takes_defects_in_turn_and_fills_up_with_good_ones() -> None:
    types = ["good"] * 20 + ["crack"] * 15 + ["stain"] * 5
    few, more, most = (
        Counter(types[place] for place in within_budget(IMAGES, types, count, seed=0))
        for count in (8, 14, 26)
    )
    assert few == {"crack": 4, "stain": 4}
    assert more == {"crack": 9, "stain": 5}
    assert most == {"crack": 15, "stain": 5, "good": 6}


def test_larger_budget_contains_a_smaller_one() -> None:
    types = ["good", "crack"] * 20
    few, more = (set(within_budget(IMAGES, types, count, seed=3)) for count in (11, 30))
    assert few < more


@pytest.mark.parametrize(("per_type", "budget"), [(0, None), (None, 0), (2, 2)])
def test_numbers_that_say_nothing_are_refused(per_type: int | None, budget: int | None) -> None:
    with pytest.raises(ValueError, match=r"expected one of them, 1 or more, or neither"):
        FewShots(per_type, budget)


def test_generated_images_are_no_shots_and_stay(
    make_records: Callable[[int], list[Record]], tmp_path: Path
) -> None:
    records = [
        replace(record, split="train", is_generated=number < 4)
        for number, record in enumerate(make_records(24))
    ]
    index = write_manifest(
        tmp_path / "parts.parquet",
        records,
        root=tmp_path / "raw",
        vocabulary=Vocabulary.from_names(TYPES),
        source="parts",
    )
    rows = index.rows_of("train")
    chosen = FewShots(per_type=2).choose(index, rows)
    generated = [row for row in chosen.tolist() if index.column("is_generated")[row]]
    assert len(generated) == 4
    real = [row for row in chosen.tolist() if row not in generated]
    assert set(Counter(index.types_of(real)).values()) == {2}
