"""Which training pictures are used where few are wanted: K of each type, or a budget for all.

A smaller number is always part of a larger one. Generated pictures are not counted: where a set has
some, all of them stay, so that K real ones can be compared with and without them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.manifest import Manifest
from datamodules.sample import GOOD
from datamodules.splits import hash_rank


@dataclass(frozen=True, slots=True)
class FewShots:
    """per_type: images of each type, good included; budget: images in all, defects first and
    good ones as they fill up (NOTES 19); None for no limit. Raises ValueError for both, and for
    numbers below 1.
    """

    per_type: int | None = None
    budget: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        given = [limit for limit in (self.per_type, self.budget) if limit is not None]
        if len(given) > 1 or any(limit < 1 for limit in given):
            raise ValueError(
                f"shots_per_type is {self.per_type} and image_budget {self.budget}: expected one "
                "of them, 1 or more, or neither; leave the other out or raise it"
            )

    def choose(self, index: Manifest, rows: np.ndarray) -> np.ndarray:
        """The rows of `rows` that are used, ascending."""
        if self.per_type is None and self.budget is None:
            return rows
        is_generated = np.array(index.column("is_generated"), dtype=bool)[rows]
        real = rows[~is_generated]
        images, types = index.column("image"), index.types_of(real)
        names = [images[row] for row in real.tolist()]
        if self.budget is not None:
            places = within_budget(names, types, self.budget, seed=self.seed)
        else:
            assert self.per_type is not None
            places = k_shot(names, types, self.per_type, seed=self.seed)
        return np.union1d(real[places], rows[is_generated])


def k_shot(images: Sequence[str], types: Sequence[str], k: int, *, seed: int) -> list[int]:
    """The places of at most `k` images per type (good included), ascending.

    A type with fewer images keeps all.
    """
    by_type = ranked_by_type(images, types, seed)
    return sorted(place for members in by_type.values() for place in members[:k])


def within_budget(
    images: Sequence[str], types: Sequence[str], budget: int, *, seed: int
) -> list[int]:
    """The places of at most `budget` images, ascending: defect types in turn, then good."""
    by_type = ranked_by_type(images, types, seed)
    good = by_type.pop(GOOD, [])
    in_turn = sorted(
        (turn, name, place)
        for name, members in by_type.items()
        for turn, place in enumerate(members)
    )
    return sorted([*(place for _, _, place in in_turn), *good][:budget])


def ranked_by_type(images: Sequence[str], types: Sequence[str], seed: int) -> dict[str, list[int]]:
    """The places of each type in the order of the seed."""
    by_type: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(types):
        by_type[name].append(place)
    return {
        name: sorted(members, key=lambda place: hash_rank(images[place], seed))
        for name, members in by_type.items()
    }
