"""Holds what becomes of scores: labels, instances and the image's answer."""

import numpy as np
import pytest
import torch

from lightning_modules.nets.post_processing import ImageScores, PostProcessing


def two_squares() -> ImageScores:
    """Type 1 in a 4x4 square at (2, 3), type 2 in a 5x6 one, and two lone pixels of type 1."""
    maps = torch.zeros(2, 32, 40)
    maps[0, 2:6, 3:7] = 0.8
    maps[1, 20:25, 10:16] = 0.9
    maps[0, 30, 38:40] = 1.0
    return ImageScores(maps, torch.tensor([0.1, 0.6, 0.3]))


def test_each_type_gets_its_id_in_the_label_map() -> None:
    labels = PostProcessing(min_area_px=9)(two_squares()).label_map
    assert labels.dtype == torch.int64
    assert (labels[2:6, 3:7] == 1).all()
    assert (labels[20:25, 10:16] == 2).all()


def test_components_under_the_smallest_area_are_dropped() -> None:
    assert int((PostProcessing(min_area_px=3)(two_squares()).label_map > 0).sum()) == 16 + 30
    assert int((PostProcessing(min_area_px=2)(two_squares()).label_map > 0).sum()) == 16 + 30 + 2


def test_instances_come_best_first_with_box_score_and_mask() -> None:
    best, second = PostProcessing()(two_squares()).instances
    assert (best.class_id, second.class_id) == (2, 1)
    assert best.box_xywh_px == (10, 20, 6, 5)
    assert best.score == pytest.approx(0.9)
    assert best.mask.shape == (32, 40)
    assert int(best.mask.sum()) == 30


def test_components_touching_at_a_corner_are_one_instance() -> None:
    maps = torch.zeros(1, 12, 12)
    maps[0, 1:5, 1:5] = maps[0, 5:9, 5:9] = 0.7
    prediction = PostProcessing()(ImageScores(maps, torch.tensor([0.2, 0.8])))
    assert len(prediction.instances) == 1


def test_only_the_best_instances_are_listed_but_all_are_labelled() -> None:
    prediction = PostProcessing(max_instances=1)(two_squares())
    assert len(prediction.instances) == 1
    assert set(np.unique(prediction.label_map)) == {0, 1, 2}


def test_image_score_is_half_type_score_and_half_peak() -> None:
    prediction = PostProcessing()(two_squares())
    assert prediction.image_score == pytest.approx(0.5 * 0.9 + 0.5 * 1.0)
    assert prediction.type_id == 1


def test_image_under_the_image_threshold_is_good() -> None:
    scores = ImageScores(torch.full((2, 8, 8), 0.1), torch.tensor([0.9, 0.06, 0.04]))
    prediction = PostProcessing()(scores)
    assert prediction.type_id == 0
    assert not prediction.instances
    assert not prediction.label_map.any()


def test_thresholds_travel_in_the_state() -> None:
    source, target = PostProcessing(), PostProcessing()
    source.calibrate(0.85, 0.99)
    target.load_state_dict(source.state_dict())
    prediction = target(two_squares())
    assert {instance.class_id for instance in prediction.instances} == {2}
    assert prediction.type_id == 0


def test_threshold_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pixel threshold is 1\.5"):
        PostProcessing().calibrate(1.5, 0.5)


def test_an_image_of_one_type_keeps_the_anomaly_map_as_it_is() -> None:
    maps = torch.rand(1, 9, 7, generator=torch.Generator().manual_seed(0))
    prediction = PostProcessing()(ImageScores(maps, torch.tensor([0.5, 0.5])))
    assert torch.equal(prediction.anomaly_map, maps[0])
