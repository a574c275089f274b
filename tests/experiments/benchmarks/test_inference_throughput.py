"""The whole of stage 2 gives the same masks with either side's features, at a small size."""

import pytest
import torch

from experiments.benchmarks.inference_throughput import measure_sizes, random_picture
from experiments.measuring import ancestor_features
from experiments.measuring.stage2_parts import make_diffusion, make_stage2
from tests.experiments.small_sizes import SMALL_STAGE2


def test_rows_count_the_crops_of_their_pictures() -> None:
    rows = measure_sizes(SMALL_STAGE2, (1, 2), repeats=3)
    assert [row.name.split(",")[0] for row in rows] == [
        "end to end: batch 1",
        "end to end: batch 4",
    ]
    assert all(row.ours and row.reference for row in rows)


def test_picture_is_cut_into_as_many_crops_as_it_says(seed: int) -> None:
    model = make_stage2(make_diffusion(SMALL_STAGE2), SMALL_STAGE2)
    assert random_picture(model, 4).shape == (3, 208, 208)  # 64 px and three steps of 48


def test_other_masks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(self: torch.nn.Module, crop: torch.Tensor) -> list[torch.Tensor]:
        return [2 * each for each in maps_of_one(self, crop)]

    maps_of_one = ancestor_features.AncestorFeatures.maps_of_one
    monkeypatch.setattr(ancestor_features.AncestorFeatures, "maps_of_one", doubled)
    with pytest.raises(RuntimeError, match="our masks of one crop are not those"):
        measure_sizes(SMALL_STAGE2, (1,), repeats=3)
