"""Holds what becomes of scores: labels, instances and the image's answer."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_modules.nets.post_processing import (
    ImageScores,
    OperatingPoints,
    PostProcessing,
    TypeThresholds,
    parse_operating_points,
)


def scores_of(maps: Tensor, *type_scores: float) -> ImageScores:
    """Scores from maps (K, H, W)."""
    anomaly_map, best = maps.max(dim=0)
    return ImageScores(anomaly_map, best + 1, torch.tensor(type_scores))


def two_squares() -> ImageScores:
    """Type 1 in a 4x4 square at (2, 3), type 2 in a 5x6 one, and two lone pixels of type 1."""
    maps = torch.zeros(2, 32, 40)
    maps[0, 2:6, 3:7] = 0.8
    maps[1, 20:25, 10:16] = 0.9
    maps[0, 30, 38:40] = 1.0
    return scores_of(maps, 0.1, 0.6, 0.3)


def test_instances_come_best_first_with_box_score_and_mask() -> None:
    best, second = PostProcessing()(two_squares()).instances
    assert (best.class_id, second.class_id) == (2, 1)
    assert best.box_xywh_px == (10, 20, 6, 5)
    assert best.score == pytest.approx(0.9)
    assert best.mask.shape == (32, 40)
    assert int(best.mask.sum()) == 30


def test_only_the_best_instances_are_listed_but_all_are_labelled() -> None:
    prediction = PostProcessing(max_instances=1)(two_squares())
    assert len(prediction.instances) == 1
    assert set(np.unique(prediction.label_map)) == {0, 1, 2}


def test_image_score_is_half_type_score_and_half_peak() -> None:
    prediction = PostProcessing()(two_squares())
    assert prediction.image_score == pytest.approx(0.5 * 0.9 + 0.5 * 1.0)


def test_answer_is_the_name_whose_regions_hold_most_or_the_best_type_without_any() -> None:
    scores = two_squares()
    assert PostProcessing()(scores).type_id == 2 != 1 + int(scores.type_scores[1:].argmax())
    assert PostProcessing(min_area_px=40)(scores).type_id == 1
    assert PostProcessing(points=OperatingPoints(image=0.96))(scores).type_id == 0


def test_touching_pieces_of_several_types_are_one_defect_with_runners_up() -> None:
    maps = torch.zeros(3, 16, 24)
    for place in range(6):  # a crack that is called scratch at every other step
        maps[place % 2, 2 + place, 2 + 3 * place : 5 + 3 * place] = 0.7 + 0.2 * (place % 2)
    maps[2, 4, 12] = 0.6
    prediction = PostProcessing()(scores_of(maps, 0.1, 0.5, 0.2, 0.2))
    (one,) = prediction.instances
    assert (one.class_id, one.box_xywh_px) == (2, (2, 2, 18, 6))
    assert prediction.label_map.unique().tolist() == [0, 2] and prediction.type_id == 2
    assert [class_id for class_id, _ in one.runners_up] == [1, 3]
    assert one.runners_up[0][1] == pytest.approx(0.7**8 * 9 / (0.7**8 * 9 + 0.9**8 * 9), abs=1e-2)


def test_small_sure_core_names_a_wide_pale_rim_which_is_cut_by_the_cores_threshold() -> None:
    maps = torch.zeros(2, 24, 24)
    maps[0], maps[1, 8:14, 8:14] = 0.3, 0.8
    points = OperatingPoints(by_name={"crack": TypeThresholds(0.2), "stain": TypeThresholds(0.5)})
    prediction = calibrated(points)(scores_of(maps, 0.2, 0.4, 0.4))
    (one,) = prediction.instances
    assert (one.class_id, one.box_xywh_px) == (2, (8, 8, 6, 6))
    assert torch.equal(prediction.label_map == 2, one.mask) and int(one.mask.sum()) == 36


def test_wide_slope_is_cut_to_what_reaches_its_share_of_the_peak() -> None:
    maps = torch.zeros(1, 24, 24)
    maps[0, 2:22, 2:22], maps[0, 6:11, 6:12], maps[0, 15:18, 15:18] = 0.2, 0.8, 0.5
    scores = scores_of(maps, 0.2, 0.8)
    points = OperatingPoints(TypeThresholds(0.1))
    (whole,) = PostProcessing(points=points)(scores).instances
    cut = PostProcessing(points=points, extent_share=0.5)(scores)
    assert whole.box_xywh_px == (2, 2, 20, 20)
    assert [one.box_xywh_px for one in cut.instances] == [(6, 6, 6, 5), (15, 15, 3, 3)]
    assert int((cut.label_map > 0).sum()) == 30 + 9


def test_thresholds_of_older_checkpoints_are_left_aside() -> None:
    module = torch.nn.Sequential(PostProcessing())
    module.load_state_dict(
        {"0.pixel_threshold": torch.tensor(0.3), "0.image_threshold": torch.ones(1)}
    )
    assert module[0].points == OperatingPoints() and not module.state_dict()


def calibrated(points: OperatingPoints) -> PostProcessing:
    """Post-processing of cracks (type 1) and stains (type 2), which are also called blots."""
    post_processing = PostProcessing(points=points)
    post_processing.entries = (("good",), ("crack",), ("stain", "blot"))
    return post_processing


@pytest.mark.parametrize(
    ("word", "threshold", "kept"),
    [("crack", 0.85, {0, 2}), ("stain", 0.95, {0, 1}), ("blot", 0.95, {0, 1})],
)
def test_each_type_begins_at_the_threshold_of_any_of_its_words(
    word: str, threshold: float, kept: set[int]
) -> None:
    points = OperatingPoints(by_name={word: TypeThresholds(threshold)})
    assert set(np.unique(calibrated(points)(two_squares()).label_map)) == kept


@pytest.mark.parametrize(("alarm", "stays"), [(0.95, True), (0.97, False)])
def test_region_stays_where_its_peak_reaches_the_alarm(alarm: float, stays: bool) -> None:
    maps = torch.zeros(1, 16, 16)
    maps[0, 2:8, 2:8] = 0.6
    maps[0, 4, 4] = 0.96
    points = OperatingPoints(by_name={"crack": TypeThresholds(0.5, alarm)})
    prediction = calibrated(points)(scores_of(maps, 0.2, 0.8))
    assert int((prediction.label_map == 1).sum()) == 36 * stays == 36 * len(prediction.instances)


@pytest.mark.parametrize(("score", "asked"), [(0.39, False), (0.41, True), (0.71, False)])
def test_person_is_asked_about_scores_in_the_band(score: float, asked: bool) -> None:
    points = OperatingPoints(image=0.5, review_low=0.4, review_high=0.7)
    scores = scores_of(torch.full((2, 8, 8), score), 1 - score, score, 0.0)
    assert calibrated(points)(scores).needs_review is asked


def test_band_that_ends_at_one_holds_one_and_an_empty_band_nothing() -> None:
    assert OperatingPoints(image=0.5, review_high=1.0).needs_review(1.0)
    assert not OperatingPoints(image=1.0).needs_review(1.0)


TYPE = {"pixel_threshold": 0.4, "alarm_threshold": 0.7}
IMAGE = {"threshold": 0.5, "review_low": 0.3, "review_high": 0.6}
CONTENT = {"version": 2, "image": IMAGE, "default": TYPE, "types": {"crack": TYPE}}


def test_thresholds_are_read_and_figures_left_aside() -> None:
    content = {**CONTENT, "split": "val", "image": {**IMAGE, "ece": 0.1}}
    one = TypeThresholds(0.4, 0.7)
    assert parse_operating_points(content) == OperatingPoints(one, 0.5, 0.3, 0.6, {"crack": one})


def test_two_numbers_of_the_first_version_hold_for_all_types() -> None:
    points = parse_operating_points({"pixel_threshold": 0.25, "image_threshold": 0.75})
    assert points == OperatingPoints(TypeThresholds(0.25), 0.75)
    assert not points.needs_review(0.75)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "the file is list"),
        ({}, "got version None, expected 2"),
        ({**CONTENT, "version": 3}, "got version 3, expected 2"),
        ({**CONTENT, "types": None}, "types is NoneType"),
        ({**CONTENT, "default": {"pixel_threshold": 0.4}}, "alarm_threshold is None"),
        ({**CONTENT, "types": {"crack": {**TYPE, "pixel_threshold": True}}}, "is True"),
        ({**CONTENT, "types": {"crack": {**TYPE, "alarm_threshold": 7}}}, r"alarm threshold is 7"),
        ({**CONTENT, "image": {**IMAGE, "threshold": 0.9}}, "review band is 0.3 to 0.6"),
        (
            {**CONTENT, "image": {**IMAGE, "review_low": float("nan")}},
            "review_low threshold is nan",
        ),
        ({"pixel_threshold": 1.5, "image_threshold": 0.5}, r"pixel threshold is 1\.5"),
    ],
)
def test_anything_else_is_refused_with_what_was_found(content: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_operating_points(content)
