"""Claims about the figures that come of described views."""

import numpy as np
import pytest
import torch

from experiments.judging.fidelity_measures import (
    Settings,
    doubts,
    measure_classes,
    measure_distance,
    measure_diversity,
    measure_memorisation,
)
from experiments.judging.nearest_neighbours import NO_COPY, Neighbours
from experiments.judging.picture_sets import Described


def views(seed: int, count: int = 40, *, shift: float = 0.0, kind: str = "crack") -> Described:
    random = torch.Generator().manual_seed(seed)
    return Described(
        features=torch.randn(count, 8, generator=random) + shift,
        logits=torch.randn(count, 5, generator=random),
        thumbnails=np.zeros((count, 48, 48), np.uint8),
        kinds=(kind,) * count,
        origins=torch.arange(count),
    )


def neighbours(*distances: float, copies: tuple[bool, ...] = ()) -> Neighbours:
    copied = np.where(copies or (False,) * len(distances), 3, NO_COPY)
    return Neighbours(torch.tensor(distances), torch.zeros(len(distances)).long(), copied)


def test_worse_pictures_have_larger_distances_by_name_of_the_extractor() -> None:
    near, far = (
        measure_distance(views(0), views(1, shift=shift), extractor="net", settings=Settings())
        for shift in (0.1, 2.0)
    )
    assert near["fid_net"] < far["fid_net"] and near["kid_net"] < far["kid_net"]
    assert near["views_real"] == near["views_generated"] == 40


def test_class_score_is_left_out_without_classes() -> None:
    seen = views(2)
    headless = Described(seen.features, None, seen.thumbnails, seen.kinds, seen.origins)
    assert measure_classes(headless, extractor="net", settings=Settings()) == {}
    found = measure_classes(seen, extractor="net", settings=Settings())
    assert 1 <= found["is_net"] <= 5


def test_generator_that_repeats_itself_has_no_diversity() -> None:
    seen = views(3, 6)
    same = Described(seen.features[[0] * 6], None, seen.thumbnails, seen.kinds, seen.origins)
    found = measure_diversity(same, views(4), prompts=["crack"] * 6, extractor="net")
    assert found["diversity_net"] == pytest.approx(0, abs=1e-9)
    assert found["diversity_real_net"] > 0.5
    assert found["diversity_pairs"] == 15


def test_diversity_is_of_pictures_of_one_prompt_and_real_ones_of_its_type() -> None:
    prompts = ["one", "one", "two", "alone"]
    found = measure_diversity(views(5, 4), views(6, kind="stain"), prompts=prompts, extractor="net")
    assert found["diversity_prompts"] == 1
    assert found["diversity_pairs"] == 1
    assert found["diversity_real_pairs"] == 0


def test_memorised_pictures_are_nearer_than_held_out_ones() -> None:
    held_out = neighbours(*np.linspace(0.2, 0.4, 50).tolist())
    found = measure_memorisation(
        neighbours(0.0, 0.01, 0.3, 0.35, copies=(True, False, False, False)),
        held_out,
        extractor="net",
    )
    assert found["nearer_than_limit_net"] == 0.5
    assert found["copies"] == 1 and found["copies_share"] == 0.25
    assert found["copies_share_held_out"] == 0


def test_few_pictures_and_other_types_are_said() -> None:
    said = doubts(views(7), views(8, 5, kind="stain"), extractor="net")
    assert len(said) == 2
    assert "5 generated views are fewer than the 8 features" in said[0]
    assert "types differ" in said[1]
    assert doubts(views(9), views(10), extractor="net") == []
