"""Features and the ancestor's are the same before they are timed, at a small size."""

import pytest
import torch

from experiments.benchmarks.inference_features import (
    check_agreement,
    make_sides,
    measure_sizes,
)
from experiments.measuring.measurements import BenchSettings
from experiments.measuring.stage2_parts import make_diffusion, random_pictures
from tests.experiments.small_sizes import SMALL_STAGE2


def test_rows_name_both_sides_and_the_limit_at_their_width() -> None:
    rows = measure_sizes(SMALL_STAGE2, BenchSettings(repeats=3))
    assert len({row.name for row in rows}) == 4
    assert all(row.ours and row.reference for row in rows)
    assert [row.limit is None for row in rows] == [False, False, False, True]
    assert 1 < rows[0].limit == rows[2].limit < rows[1].limit


def test_maps_of_other_weights_are_refused(seed: int) -> None:
    full, unet, _ = make_sides(make_diffusion(SMALL_STAGE2))
    *_, other = make_sides(make_diffusion(SMALL_STAGE2))
    with pytest.raises(RuntimeError, match="our maps are not the ancestor's: 12 of 12 differ"):
        check_agreement(full, unet, other, random_pictures(SMALL_STAGE2))


def test_batch_that_parts_is_refused(seed: int) -> None:
    full, unet, ancestor = make_sides(make_diffusion(SMALL_STAGE2))

    def crooked(crops: torch.Tensor) -> list[torch.Tensor]:
        return [each * len(each) for each in full(crops)]

    with pytest.raises(RuntimeError, match="0 of 12 differ for one crop, a batch by"):
        check_agreement(crooked, unet, ancestor, random_pictures(SMALL_STAGE2))
