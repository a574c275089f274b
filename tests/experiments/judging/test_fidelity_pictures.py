"""Claims about the pictures of the comparison."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.judging.fidelity_pictures import COPY_COLOR, draw_by_type, draw_neighbours, spread
from experiments.judging.nearest_neighbours import NO_COPY, Neighbours
from experiments.judging.picture_sets import Described, RealPictures, TensorPictures, crop_views
from tests.experiments.audits.small_manifest import small_manifest


def seen_as(*kinds: str) -> Described:
    count = len(kinds)
    thumbnails = np.zeros((count, 48, 48), np.uint8)
    return Described(torch.zeros(count, 2), None, thumbnails, kinds, torch.arange(count))


def plain(*kinds: str) -> TensorPictures:
    return TensorPictures(torch.zeros(len(kinds), 3, 24, 24), kinds)


def rows_drawn(real: tuple[str, ...], generated: tuple[str, ...]) -> int:
    drawn = draw_by_type(
        plain(*real),
        plain(*generated),
        seen_real=seen_as(*real),
        seen_generated=seen_as(*generated),
    )
    return round(drawn.shape[0] / 176)


def test_each_generated_type_with_a_real_picture_gets_a_row() -> None:
    assert rows_drawn(("crack", "good", "stain"), ("crack", "good", "")) == 2
    assert rows_drawn(("crack",), ("crack", "unseen")) == 1


def test_comparison_without_a_type_in_common_says_so() -> None:
    assert rows_drawn(("crack",), ("stain",)) == 1


def test_pictures_shown_are_spread_over_the_set() -> None:
    assert spread(list(range(100))) == [0, 25, 50, 75]
    assert spread([5, 6]) == [5, 6]


@pytest.mark.parametrize("seeks_windows", [True, False])
def test_copies_are_named_in_red_and_others_are_not(tmp_path: Path, seeks_windows: bool) -> None:
    manifest = small_manifest(tmp_path)
    train = RealPictures(manifest, manifest.rows_of("train"), crop_views(24))
    copied = np.array([train.origins[2], NO_COPY])
    neighbours = Neighbours(torch.tensor([0.3, 0.1]), torch.tensor([0, 1]), copied)
    generated = plain("crack", "crack")

    def red_pixels(found: Neighbours) -> int:
        drawn = draw_neighbours(generated, train, found, seeks_windows=seeks_windows)
        return int((drawn == COPY_COLOR).all(axis=-1).sum())

    assert red_pixels(neighbours) > 0
    assert red_pixels(replace(neighbours, copied=np.array([NO_COPY, NO_COPY]))) == 0
