"""Memorisation: which training picture is nearest to a generated one, and is it copied.

Two tests. The soft one compares distances of features with those of real pictures that were held
out. The hard one asks the fingerprints that guard the splits (`datamodules/preparing`): it sees
copies that are turned by quarters or mirrored, not those turned by some degrees or zoomed. Crops
are sought in whole pictures by `window_search.py`; figures are made in `fidelity_measures.py`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.preparing.duplicates import EVEN_DEVIATION, LARGEST_FAMILY
from datamodules.preparing.fingerprints import (
    BROAD,
    FINE,
    TURNS,
    Look,
    look_at,
    turned_rows,
)
from experiments.judging.picture_sets import Described
from experiments.judging.window_search import Windows
from lightning_modules.metrics.generation import nearest_neighbours

QUERY_BLOCK = 64
REFERENCE_BLOCK = 16_384
NO_COPY = -1


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of N views the nearest training view, and which views are copies of a training picture.

    distance: (N,) 1 - cosine of features; index: (N,) into the training views; copied: (N,) the
    origin of the training picture that the view copies, NO_COPY where it copies none.
    """

    distance: Tensor
    index: Tensor
    copied: np.ndarray

    @property
    def is_copy(self) -> np.ndarray:
        """Which views are copies: (N,) bool."""
        return self.copied != NO_COPY


def find_neighbours(
    views: Described, train: Described, *, windows: Windows | None = None
) -> Neighbours:
    """The nearest training view of each view, and whether a training view or window is copied."""
    distance, index = nearest_neighbours(views.features, train.features)
    place = find_copies(views.thumbnails, train.thumbnails, windows=windows)
    origins = train.origins.numpy()
    copied = np.where(place < len(origins), origins[np.minimum(place, len(origins) - 1)], NO_COPY)
    if windows is not None:
        column = np.maximum(place - len(origins), 0)
        of_window = np.take_along_axis(windows.origins, column[:, None], axis=1)[:, 0]
        copied = np.where(place >= len(origins), of_window, copied)
    return Neighbours(distance[:, 0], index[:, 0], np.where(place == NO_COPY, NO_COPY, copied))


def find_copies(
    thumbnails: np.ndarray, references: np.ndarray, *, windows: Windows | None = None
) -> np.ndarray:
    """What each thumbnail (N, 48, 48) copies: (N,) a place among the references (M, 48, 48).

    From M on the window of column place - M; NO_COPY for no copy. The rule of `duplicates.py`: a
    copy is far nearer than the many look-alikes of its product. These are looked for among the
    references alone, so that a generator which repeats one copy a hundred times can't make it
    look common. Even pictures are nobody's copies.
    """
    copied = np.full(len(thumbnails), NO_COPY)
    for look in (BROAD, FINE):
        rows = look_at(thumbnails, look)
        nearest, place = nearest_in_turns(rows, look_at(references, look))
        best, background = nearest[:, 0].copy(), nearest[:, -1]
        for column in range(0 if windows is None else windows.origins.shape[1]):
            assert windows is not None
            alike = alike_in_turns(rows, look_at(windows.thumbnails[:, column], look))
            place[alike > best] = len(references) + column
            best = np.maximum(best, alike)
        accepted = are_copies(best, background, look)
        copied[accepted] = place[accepted]
    copied[thumbnails.std(axis=(1, 2)) < EVEN_DEVIATION] = NO_COPY
    return copied


def are_copies(similarity: np.ndarray, background: np.ndarray, look: Look) -> np.ndarray:
    """Which similarities (N,) are far above those of look-alikes (N,)."""
    least = np.maximum(background, look.smallest_background)
    is_near = 1 - similarity < look.largest_ratio * (1 - least)
    return is_near | (similarity > look.certain_similarity)


def nearest_in_turns(rows: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Similarities (N, kept) of each row to its nearest references over all turns, best first.

    And the place (N,) of the best. kept: a family of copies and one more, who is a look-alike;
    memory beside the arguments is constant in N and M.
    """
    kept = min(1 + min(LARGEST_FAMILY, max(1, len(references) // 4)), len(references))
    blocks = [
        _nearest_of_block(rows[start : start + QUERY_BLOCK], references, kept)
        for start in range(0, len(rows), QUERY_BLOCK)
    ]
    return np.concatenate([b[0] for b in blocks]), np.concatenate([b[1] for b in blocks])


def _nearest_of_block(
    rows: np.ndarray, references: np.ndarray, kept: int
) -> tuple[np.ndarray, np.ndarray]:
    turns = [torch.from_numpy(turned_rows(rows, turn)) for turn in range(len(TURNS))]
    top, place = torch.empty(len(rows), 0), torch.empty(len(rows), 0, dtype=torch.int64)
    for first in range(0, len(references), REFERENCE_BLOCK):
        others = references[first : first + REFERENCE_BLOCK].astype(np.float32)
        columns = torch.from_numpy(others).T
        alike = torch.stack([turn @ columns for turn in turns]).amax(0)
        alike, index = alike.topk(min(kept, len(others)), dim=1)
        top, place = torch.cat([top, alike], dim=1), torch.cat([place, index + first], dim=1)
        top, order = top.topk(min(kept, top.shape[1]), dim=1)
        place = place.gather(1, order)
    return top.numpy(), place[:, 0].numpy().copy()


def alike_in_turns(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Similarity (N,) of each row to the other of its place, in the best turn."""
    wide = others.astype(np.float32)
    turns = [(turned_rows(rows, turn) * wide).sum(1) for turn in range(len(TURNS))]
    return np.max(turns, axis=0)
