"""Holds few-shot training sets: K of each type, a budget, and generated pictures apart."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from datamodules.few_shots import FewShots, k_shot, within_budget
from datamodules.manifest import write_manifest
from datamodules.sample import Record
from datamodules.vocabulary import Vocabulary
from tests.datamodules.conftest import TYPES

IMAGES = [f"{n}.png" for n in range(40)]


def test_k_shot_keeps_k_of_each_type() -> None:
    types = ["good"] * 60 + ["crack"] * 30 + ["stain"] * 2
    kept = k_shot([f"{n}.png" for n in range(92)], types, 4, seed=0)
    assert Counter(types[place] for place in kept) == {"good": 4, "crack": 4, "stain": 2}
    assert kept == sorted(kept)


def test_more_shots_contain_fewer_shots() -> None:
    types = ["good", "crack"] * 20
    assert set(k_shot(IMAGES, types, 2, seed=3)) < set(k_shot(IMAGES, types, 5, seed=3))


def test_another_seed_is_another_k_shot() -> None:
    types = ["crack"] * 40
    assert k_shot(IMAGES, types, 5, seed=0) != k_shot(IMAGES, types, 5, seed=1)


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


def test_generated_pictures_are_no_shots_and_stay(
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
