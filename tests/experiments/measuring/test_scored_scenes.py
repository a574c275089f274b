"""Scenes that metrics are timed on: the same again, and as hard as they say."""

import torch

from experiments.benchmarks.metrics_speed import pixel_auroc
from experiments.measuring.scored_scenes import scored_scenes


def test_same_seed_gives_the_same_scenes() -> None:
    first, again, other = (scored_scenes(2, side_px=32, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.scores, again.scores)
    assert torch.equal(first.is_defect, again.is_defect)
    assert not torch.equal(first.scores, other.scores)


def test_one_scene_in_four_is_good_and_the_rest_are_not() -> None:
    scenes = scored_scenes(8, side_px=64)
    assert [bool(mask.any()) for mask in scenes.is_defect] == [True, True, True, False] * 2
    assert scenes.batch.class_ids == [(1,), (1,), (1,), ()] * 2


def test_maps_separate_defects_from_good_but_not_wholly() -> None:
    scenes = scored_scenes(8, side_px=128)
    assert 0 < float(scenes.scores.min()) < float(scenes.scores.max()) < 1
    assert 0.8 < pixel_auroc(scenes.scores, scenes.is_defect) < 0.97
