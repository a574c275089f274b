"""Group-aware, stratified, stable splits, and a few shots of each type."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.captions import Caption
from datamodules.manifest import Manifest, write_manifest
from datamodules.sample import UNLABELLED, Record
from datamodules.splits import (
    FewShots,
    assign_splits,
    check_groups,
    spread_over_types,
    supervised_thirds,
)
from datamodules.vocabulary import Vocabulary

EVERY_SPLIT = {"train", "val", "test"}


def record(number: int, defect: str = "", group: str = "", split: str = "") -> Record:
    defects = (defect,) if defect else ()
    caption = Caption("plate", defect=defect)
    return Record(f"{number}.png", "", (), defects, caption, group or f"g{number}", "parts", split)


def painted(number: int, group: str = "", split: str = "") -> Record:
    return replace(record(number, "crack", group, split), is_generated=True)


def runs(counts: dict[str, int], *, per_group: int = 1) -> list[Record]:
    """`counts` images of each type, `per_group` of one type in a group."""
    kinds = [(kind, place) for kind, count in counts.items() for place in range(count)]
    return [
        record(number, kind, f"{kind}/{place // per_group}")
        for number, (kind, place) in enumerate(kinds)
    ]


def splits_of(records: list[Record], defect: str) -> set[str]:
    return {r.split for r in records if defect in r.defects}


def test_shares_of_images_are_met_and_groups_never_part() -> None:
    records = assign_splits(runs({"": 200, "crack": 60, "stain": 40}, per_group=2))
    counts = Counter(r.split for r in records)
    shares = {split: count / len(records) for split, count in counts.items()}
    assert shares == pytest.approx({"train": 0.6, "val": 0.15, "test": 0.25}, abs=0.03)
    check_groups(records)


@pytest.mark.parametrize(
    ("group_count", "splits"),
    [(1, {"train"}), (2, {"train", "test"}), (3, EVERY_SPLIT), (7, EVERY_SPLIT)],
)
def test_a_type_is_in_as_many_splits_as_it_has_groups(group_count: int, splits: set[str]) -> None:
    assert splits_of(assign_splits(runs({"": 500, "crack": group_count})), "crack") == splits


def test_a_rare_type_among_good_images_of_its_run_is_in_every_split() -> None:
    mixed = [record(10 * g + n, "" if n else "crack", f"m{g}") for g in range(4) for n in range(5)]
    assert splits_of(assign_splits(mixed + runs({"stain": 60})), "crack") == EVERY_SPLIT


def test_a_rare_type_beside_a_common_one_is_in_every_split() -> None:
    for count in (3, 6):
        both = [replace(record(n), defects=("scratch", "dent")) for n in range(count)]
        alone = [record(100 + n, "scratch") for n in range(40)]
        for seed in range(10):
            done = assign_splits(both + alone, seed=seed)
            assert splits_of(done, "dent") == splits_of(done, "scratch") == EVERY_SPLIT


def test_split_does_not_depend_on_the_order_of_records_but_on_the_seed() -> None:
    records = runs({"": 40, "crack": 20}, per_group=3)
    shuffled = random.Random(1).sample(records, len(records))
    first, again, other = (
        {r.image: r.split for r in assign_splits(given, seed=seed)}
        for given, seed in ((records, 0), (shuffled, 0), (records, 1))
    )
    assert first == again != other


def test_given_splits_are_kept_and_val_is_carved_from_train_by_group() -> None:
    given = [record(n, group=f"a{n // 4}", split="train") for n in range(80)]
    given += [record(100 + n, split="test") for n in range(20)]
    records = assign_splits(given)
    assert {r.split for r in records[80:]} == {"test"}
    assert Counter(r.split for r in records[:80]) == {"train": 64, "val": 16}
    check_groups(records)


def test_records_without_split_follow_their_group() -> None:
    records = [record(0, group="a", split="test"), record(1, group="a"), *runs({"crack": 30})]
    assert assign_splits(records)[1].split == "test"


def test_unlabelled_images_keep_out_of_the_splits() -> None:
    records = [record(0, group="a", split=UNLABELLED), record(1, group="a"), *runs({"crack": 30})]
    done = assign_splits(records)
    assert done[0].split == UNLABELLED
    assert {r.split for r in done[1:]} == EVERY_SPLIT
    check_groups(done)


def test_generated_images_train_and_hold_their_group_there() -> None:
    done = assign_splits([painted(0, "a"), record(1, group="a"), *runs({"crack": 30})])
    assert [r.split for r in done[:2]] == ["train", "train"]
    assert {r.split for r in done[2:]} == EVERY_SPLIT


def test_val_is_carved_around_generated_images() -> None:
    given = [record(n, group=f"a{n // 4}", split="train") for n in range(80)]
    done = assign_splits(given + [painted(100 + n, f"a{n}", "train") for n in range(10)])
    check_groups(done)
    assert {r.split for r in done[80:]} == {"train"}
    assert {r.split for r in done[:80]} == {"train", "val"}


def test_shares_and_groups_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"train 0\.6, val 0\.3, test 0\.25, .*sum of 1"):
        assign_splits(runs({"": 9}), val=0.3)
    records = [record(0, group="run7", split="train"), record(1, group="run7", split="test")]
    with pytest.raises(ValueError, match=r"group 'run7' is in the splits 'train' and 'test'"):
        check_groups(records)


def test_thirds_train_on_the_first_of_each_type_and_keep_the_split_of_good_images() -> None:
    records = [record(n, split="train" if n < 5 else "test") for n in range(8)]
    records += [record(10 + n, "crack", split="test") for n in range(6)]
    records += [record(20 + n, "stain") for n in range(3)]
    records += [painted(30 + n, split="train") for n in range(9)]
    trained = [r.image for r in supervised_thirds(records) if r.split == "train"]
    numbers = [0, 1, 2, 3, 4, 10, 11, 20, *range(30, 39)]
    assert trained == [f"{n}.png" for n in numbers]


def test_a_few_rows_spread_over_types_as_the_whole_does() -> None:
    types = ["crack"] * 60 + ["stain"] * 30 + ["good"] * 10
    rows = spread_over_types(np.arange(100), types, 10)
    assert Counter(types[row] for row in rows) == {"crack": 6, "stain": 3, "good": 1}
    assert rows.tolist() == sorted(rows.tolist())


@pytest.fixture
def make_index(tmp_path: Path) -> Callable[..., Manifest]:
    """A function that writes so many training images of each type, and generated ones."""

    def make(good: int, crack: int, stain: int, generated: int = 0) -> Manifest:
        records = runs({"": good, "crack": crack, "stain": stain})
        records += [painted(1000 + n) for n in range(generated)]
        return write_manifest(
            tmp_path / "m.parquet",
            [replace(r, split="train") for r in records],
            root=tmp_path,
            vocabulary=Vocabulary.from_names(["crack", "stain"]),
            source="parts",
        )

    return make


def chosen(index: Manifest, shots: FewShots) -> Counter[str]:
    rows = shots.choose(index, index.rows_of("train"))
    assert rows.tolist() == sorted(rows.tolist())
    return Counter(index.types_of(rows))


def test_shots_are_so_many_of_each_type(make_index: Callable[..., Manifest]) -> None:
    index = make_index(60, 30, 2)
    assert chosen(index, FewShots()) == {"good": 60, "crack": 30, "stain": 2}
    assert chosen(index, FewShots(per_type=4)) == {"good": 4, "crack": 4, "stain": 2}


def test_an_image_of_several_types_is_a_shot_of_each(tmp_path: Path) -> None:
    both = [replace(record(n), defects=("scratch", "dent")) for n in range(3)]
    records = [replace(r, split="train") for r in both + runs({"stain": 9})]
    records = [replace(r, image=f"{n}.png") for n, r in enumerate(records)]
    names = Vocabulary.from_names(["scratch", "dent", "stain"])
    path = tmp_path / "m.parquet"
    index = write_manifest(path, records, root=tmp_path, vocabulary=names, source="parts")
    for shots in (FewShots(per_type=2), FewShots(budget=4)):
        rows = shots.choose(index, index.rows_of("train"))
        shown = Counter(name for row in rows for name in index[row].defects)
        assert shown == {"scratch": 2, "dent": 2, "stain": 2}


def test_shots_of_tiles_are_of_many_images(tmp_path: Path) -> None:
    tiles = [
        replace(record(n, "crack", split="train"), window_xywh_px=(left, 0, 8, 8))
        for n in range(10)
        for left in range(0, 160, 8)
    ]
    names = Vocabulary.from_names(["crack"])
    path = tmp_path / "m.parquet"
    index = write_manifest(path, tiles, root=tmp_path, vocabulary=names, source="parts")
    for shots in (FewShots(per_type=20), FewShots(budget=20)):
        rows = shots.choose(index, index.rows_of("train"))
        assert len(rows) == 20 and len({index[row].image for row in rows}) > 5


@pytest.mark.parametrize(
    ("budget", "counts"),
    [
        (8, {"crack": 4, "stain": 4}),
        (14, {"crack": 9, "stain": 5}),
        (26, {"crack": 15, "stain": 5, "good": 6}),
    ],
)
def test_budget_takes_defects_in_turn_and_fills_up_with_good_ones(
    make_index: Callable[..., Manifest], budget: int, counts: dict[str, int]
) -> None:
    index = make_index(20, 15, 5)
    assert chosen(index, FewShots(budget=budget)) == counts
    rows = index.rows_of("train")
    fewer, more = (FewShots(None, n, 3).choose(index, rows) for n in (budget - 3, budget))
    assert set(fewer) < set(more)


def test_generated_images_are_no_shots_and_stay(make_index: Callable[..., Manifest]) -> None:
    index = make_index(9, 9, 9, generated=4)
    assert chosen(index, FewShots(per_type=2)) == {"good": 2, "crack": 2 + 4, "stain": 2}


@pytest.mark.parametrize(("per_type", "budget"), [(0, None), (None, 0), (2, 2)])
def test_numbers_that_say_nothing_are_refused(per_type: int | None, budget: int | None) -> None:
    with pytest.raises(ValueError, match=r"expected one of them, 1 or more, or neither"):
        FewShots(per_type, budget)


def test_group_that_was_given_two_splits_is_refused_in_any_order():
    for splits in (("train", "test"), ("test", "train")):
        told = [record(k, group="x", split=split) for k, split in enumerate(splits)]
        with pytest.raises(ValueError, match="group 'x' is in the splits"):
            assign_splits(told)
