"""Who trains and who is tested where some defect types are held out of training.

The class ids of both sides are each vocabulary's own; `dataset.py` translates the manifest's.
"""

from collections.abc import Callable, Sequence

import numpy as np

from datamodules.manifest import Manifest
from datamodules.vocabulary import normalise_name

ALL, SEEN, HELD_OUT = "all", "seen", "held_out"


class TypeDivision:
    """Rows and names of training and of the test of a manifest, with `held_out` types kept out.

    training: the vocabulary of the seen types; a group of pictures of which one shows a held-out
    type neither trains nor validates. tested: the vocabulary of the test. `test_types` says which:
    `all` names, on all pictures; those `seen`, on pictures without a held-out type; those
    `held_out`, on pictures that show no other. Raises ValueError for unknown names or words, and
    where no type is left to train on.
    """

    def __init__(self, index: Manifest, held_out: Sequence[str], test_types: str) -> None:
        if test_types not in (ALL, SEEN, HELD_OUT):
            raise ValueError(f"test_types is {test_types!r}: expected {ALL}, {SEEN} or {HELD_OUT}")
        if test_types == HELD_OUT and not held_out:
            raise ValueError("test_types is 'held_out', but held_out_types names none: name some")
        self.training, unseen = index.vocabulary.division(held_out)
        if held_out and len(self.training) == 1:
            raise ValueError(
                f"held_out_types names all types of {index.path}: expected at least one to train on"
            )
        self.index, self.test_types = index, test_types
        self.tested = {ALL: index.vocabulary, SEEN: self.training, HELD_OUT: unseen}[test_types]
        self.held_out = unseen.names[1:]
        self.held_out_words = unseen.words - set(unseen.entries[0])

    def rows_of(self, split: str) -> np.ndarray:
        """The rows of a split that take part, ascending; ValueError where there are none."""
        given = self.index.rows_of(split)
        rows = given[self._taking_part(split)[given]] if self.held_out_words else given
        if len(rows) == 0:
            raise ValueError(
                f"manifest {self.index.path} has no {split} images among {len(self.index)}"
                + (
                    f" but those that held_out_types {', '.join(self.held_out)} leave out: "
                    "hold out fewer"
                    if len(given)
                    else f": give {split}_fraction a share and the data more groups"
                )
            )
        return rows

    def _taking_part(self, split: str) -> np.ndarray:
        """(rows of the manifest,) bool, whether the row may be in this split."""
        # Per row, whether each of its types is held out.
        shown = [
            [normalise_name(name) in self.held_out_words for name in names]
            for names in self.index.column("defects")
        ]
        if split != "test":
            groups = self.index.column("group")
            closed = {group for group, held in zip(groups, shown, strict=True) if any(held)}
            return np.array([group not in closed for group in groups])
        fits: dict[str, Callable[[list[bool]], bool]] = {
            ALL: lambda held: True,
            SEEN: lambda held: not any(held),
            HELD_OUT: lambda held: any(held) and all(held),
        }
        return np.array([fits[self.test_types](held) for held in shown])
