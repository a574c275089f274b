"""Holds that thresholds are chosen by type, with honest figures, or say why they were not."""

import math

import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor

from datamodules.sample import Batch, Prediction
from lightning_modules.metrics.anomaly import AnomalyMetrics
from lightning_modules.metrics.calibration import (
    Calibration,
    CalibrationRule,
    Objective,
    ThresholdChoice,
    choose_thresholds,
    middle_of_run,
    parse_objective,
    proportion,
)
from lightning_modules.metrics.calibration_counts import (
    CalibrationCounts,
    expected_calibration_error,
)
from lightning_modules.metrics.score_histogram import (
    bin_scores,
    count_scores,
    lower_edge,
    sum_from_top,
)
from lightning_modules.metrics.segmentation import to_units
from lightning_modules.nets.post_processing import VERSION, parse_operating_points
from tests.lightning_modules.small_parts import batch_of

SIDE_PX, BINS = 12, 40
CLASSES = ("good", "crack", "stain")
PEAKS = (0.95, 0.7)
"""What type 1 and type 2 reach at best; their rims have two thirds of that."""


def line(count: int, *, with_good: bool = True) -> tuple[list[Prediction], Batch]:
    """`count` images each of type 1, type 2 and good: a core, a rim that belongs to it, noise."""
    generator = torch.Generator().manual_seed(0)
    types = [1, 2, 0] * count if with_good else [1, 2] * count
    mask = torch.zeros(len(types), SIDE_PX, SIDE_PX, dtype=torch.int64)
    answers = []
    for index, type_id in enumerate(types):
        heat = 0.3 * torch.rand(SIDE_PX, SIDE_PX, generator=generator)
        type_map = torch.randint(1, 3, heat.shape, generator=generator)
        strength = float(0.8 + 0.2 * torch.rand((), generator=generator))
        if type_id:
            mask[index, 2:9, 2:9] = type_id
            type_map[2:9, 2:9] = type_id
            heat[2:9, 2:9] = strength * PEAKS[type_id - 1] * 2 / 3
            heat[4:7, 4:7] = strength * PEAKS[type_id - 1]
        score = float(heat.max())
        answers.append(Prediction(0 * mask[0], heat, score, torch.ones(3) / 3, 0, type_map))
    return answers, batch_of(mask)


def counted(answers: list[Prediction], batch: Batch) -> CalibrationCounts:
    counts = CalibrationCounts(CLASSES)
    counts.update(answers, batch)
    return counts


def chosen(objective: str, count: int = 12, *, with_good: bool = True) -> Calibration:
    rule = CalibrationRule(parse_objective(objective))
    counts = counted(*line(count, with_good=with_good))
    return choose_thresholds(counts, rule, pixel=0.5, image=0.5)


def test_extent_of_each_type_is_where_its_own_masks_fit_best() -> None:
    types = chosen("balanced").types
    assert 0.3 < types["stain"].pixel_threshold < 0.7 * 2 / 3
    assert types["stain"].pixel_threshold < types["crack"].pixel_threshold < 0.95 * 2 / 3
    assert all(one.alarm_threshold == 0.0 for one in types.values())


def test_types_say_how_often_their_pixels_vote_for_their_name() -> None:
    """Cracks of one image are called stain all over, of another in more pixels but less surely."""
    answers, batch = line(4)
    answers[0].type_map[2:9, 2:9] = 2
    answers[3].type_map[2:9, 2:9] = 2
    answers[3].type_map[4:7, 4:7] = 1
    counts = counted(answers, batch)
    assert counts.named.tolist() == [[7, 8], [3, 4], [4, 4]]
    calibration = choose_thresholds(counts, CalibrationRule(), pixel=0.5, image=0.5)
    points = parse_operating_points({"version": VERSION, **calibration.content()})
    assert points.names_right == pytest.approx((4 / 6 + 5 / 6) / 2)


def test_default_thresholds_are_the_best_of_the_anomaly_metrics() -> None:
    metrics, calibration = AnomalyMetrics(), chosen("balanced")
    metrics.update(*line(12))
    figures = {name: float(figure) for name, figure in metrics.compute().items()}
    default, image = calibration.default.pixel_threshold, calibration.image.threshold
    assert default == pytest.approx(figures["iou_image_threshold_best"], abs=0.005)
    assert image == pytest.approx(figures["image_threshold_best"], abs=0.005)


@pytest.mark.parametrize("name", ["crack", "stain"])
def test_figures_are_the_counts_at_the_threshold(name: str) -> None:
    one = chosen("recall=0.7").types[name]
    answers, batch = line(12)
    row = CLASSES.index(name)
    peaks = torch.stack([a.anomaly_map[a.type_map == row].max() for a in answers])
    shown = torch.tensor([row in ids for ids in batch.class_ids])
    found = int((peaks[shown] >= one.alarm_threshold).sum())
    raised = int((peaks[~shown] >= one.alarm_threshold).sum())
    assert (one.recall.hits, one.recall.of) == (found, 12)
    assert (one.false_alarm_rate.hits, one.false_alarm_rate.of) == (raised, 24)
    assert one.recall.value is not None and one.recall.value >= 0.7
    assert one.pixel_threshold <= one.alarm_threshold


def test_type_that_few_images_show_says_so_and_keeps_the_default() -> None:
    calibration = chosen("recall=0.9", count=4)
    crack, default = calibration.types["crack"], calibration.default
    assert crack.reason == "shown by 4 images, fewer than 10: the default"
    assert crack.pixel_threshold == default.pixel_threshold
    assert crack.alarm_threshold == default.alarm_threshold > 0


def test_split_without_a_good_image_still_learns_where_masks_begin() -> None:
    calibration = chosen("balanced", with_good=False)
    assert calibration.image.threshold == 0.5
    assert calibration.image.reason == "no image without a defect: the default"
    assert 0.3 < calibration.default.pixel_threshold < 0.47


def test_empty_split_leaves_everything_and_writes_null_for_what_was_not_counted() -> None:
    counts = CalibrationCounts(CLASSES)
    calibration = choose_thresholds(counts, CalibrationRule(), pixel=0.4, image=0.6)
    assert (calibration.default.pixel_threshold, calibration.image.threshold) == (0.4, 0.6)
    assert calibration.image.reason and calibration.default.reason
    content = calibration.content()
    assert content["image"]["ece"] is None  # type: ignore[index]
    assert content["types"]["crack"]["recall"] == {  # type: ignore[index]
        "value": None, "low": None, "high": None, "hits": 0, "of": 0}  # fmt: skip


def test_split_without_masks_keeps_where_masks_begin_and_where_alarms_do() -> None:
    answers, batch = line(12)
    batch.has_mask[:] = False
    counts = counted(answers, batch)
    calibration = choose_thresholds(counts, CalibrationRule(), pixel=0.1, image=0.5, alarm=0.6)
    for one in (calibration.default, calibration.types["crack"]):
        assert (one.pixel_threshold, one.alarm_threshold) == (0.1, 0.6)


def of_image_scores(good: Tensor, defect: Tensor, rate: float) -> Calibration:
    """What is chosen where these are the image scores."""
    counts = CalibrationCounts(CLASSES)
    truth = torch.cat([torch.zeros(len(good)), torch.ones(len(defect))]).bool()
    counts.image_counts += count_scores(torch.cat([good, defect]), truth, 2048)
    rule = CalibrationRule(review_error_rate=rate)
    return choose_thresholds(counts, rule, pixel=0.5, image=0.5)


def test_outside_the_review_band_errors_are_as_few_as_asked() -> None:
    generator = torch.Generator().manual_seed(0)
    good = torch.sigmoid(torch.randn(200, generator=generator) - 1.5)
    defect = torch.sigmoid(torch.randn(100, generator=generator) + 1.5)
    image = of_image_scores(good, defect, 0.02).image
    low, high = image.review_low, image.review_high
    assert int((defect < low).sum()) == 2 and int((good >= high).sum()) == 4
    assert low < image.threshold < high
    inside = sum(int(((one >= low) & (one < high)).sum()) for one in (good, defect))
    assert (image.review_share.hits, image.review_share.of) == (inside, 300)


def test_scores_that_part_cleanly_need_no_person() -> None:
    image = of_image_scores(torch.full((20,), 0.1), torch.full((20,), 0.9), 0.0).image
    assert image.review_low == image.review_high == image.threshold
    assert image.review_share.hits == 0


@pytest.mark.parametrize(("good", "defect"), [(0.7, 0.7), (0.7, 0.3)])
def test_scores_that_part_nothing_leave_the_image_threshold_and_say_so(
    good: float, defect: float
) -> None:
    image = of_image_scores(torch.full((20,), good), torch.full((30,), defect), 0.05).image
    assert image.threshold == image.review_low == image.review_high == 0.5
    assert image.reason == "no threshold parts good from defect: the default"


def random_histograms(seed: int) -> Tensor:
    """30 good and 20 defective scores, the latter 5 bins higher."""
    generator = torch.Generator().manual_seed(seed)
    good = (torch.randn(30, generator=generator) * 5 + 15).long().clamp(0, BINS - 1)
    defect = (torch.randn(20, generator=generator) * 5 + 20).long().clamp(0, BINS - 1)
    return torch.stack([torch.bincount(one, minlength=BINS) for one in (good, defect)])


def rates(histograms: Tensor, place: int) -> tuple[float, float]:
    """False-alarm rate and recall from a bin upwards."""
    false_rate, recall = histograms[:, place:].sum(1).double() / histograms.sum(1)
    return float(false_rate), float(recall)


@pytest.mark.parametrize("seed", range(3))
def test_each_objective_chooses_the_bin_that_a_search_over_all_would(seed: int) -> None:
    histograms = random_histograms(seed)
    bins = torch.arange(BINS)
    scores = torch.cat([bins.repeat_interleave(one) for one in histograms])
    f1 = [f1_score([0] * 30 + [1] * 20, scores >= place) for place in range(BINS)]
    means = [1 - false + hit for false, hit in (rates(histograms, p) for p in range(BINS))]
    assert f1[Objective("best_f1").choose(histograms) or 0] == pytest.approx(max(f1))
    assert means[Objective("balanced").choose(histograms) or 0] == pytest.approx(max(means))
    place = Objective("recall", 0.9).choose(histograms) or 0
    assert rates(histograms, place)[1] >= 0.9 > rates(histograms, place + 1)[1]
    place = Objective("false_alarm_rate", 0.1).choose(histograms) or 0
    assert rates(histograms, place)[0] <= 0.1 < rates(histograms, place - 1)[0]


def test_false_alarm_rate_that_the_highest_score_breaks_has_no_threshold() -> None:
    histograms = torch.tensor([[1, 0, 1], [1, 1, 0]])
    assert Objective("false_alarm_rate", 0.1).choose(histograms) is None
    for defect in ([1, 1, 0], [0, 0, 0]):
        choice = ThresholdChoice({}, CalibrationRule(Objective("false_alarm_rate", 0.1)))
        _, reason = choice._threshold(torch.tensor([[0, 0, 5], defect]))
        assert reason == "no threshold has false_alarm_rate=0.1: the default"


def test_middle_of_a_run_parts_the_same_scores() -> None:
    levels = sum_from_top(torch.tensor([3, 0, 0, 0, 2, 0, 1]))
    edges = [middle_of_run(levels, place) for place in range(7)]
    assert edges == [lower_edge(place, 7) for place in (0, 3, 3, 3, 3, 6, 6)]


def test_lower_edge_falls_into_its_own_bin() -> None:
    assert (lower_edge(0, BINS), lower_edge(BINS // 2, BINS)) == (0.0, 0.5)
    assert int(bin_scores(torch.tensor(0.5), BINS)) == BINS // 2


@pytest.mark.parametrize("text", ["balanced", "best_f1", "recall=0.95", "false_alarm_rate=0.01"])
def test_objective_reads_back_as_it_was_typed(text: str) -> None:
    assert str(parse_objective(text)) == text


@pytest.mark.parametrize("text", ["", "recall", "recall=", "recall=95", "recall=x", "best_f1=1"])
def test_other_words_are_refused_with_the_objectives(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected balanced, best_f1, recall=0\.95 or"):
        parse_objective(text)


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (7, 10), (10, 10), (950, 1000)])
def test_ends_of_a_shares_interval_are_where_the_score_test_just_rejects(
    hits: int, of: int
) -> None:
    share = proportion(hits, of)
    for end in (share.low, share.high):
        if 1e-5 < end < 1 - 1e-5:  # type: ignore[operator]
            deviation = abs(hits / of - end) / math.sqrt(end * (1 - end) / of)  # type: ignore[operator]
            assert deviation == pytest.approx(1.959964, abs=1e-3)


def test_peak_of_a_type_is_the_highest_score_where_it_is_the_best_type() -> None:
    answers, batch = line(2)
    answers[4].type_map.fill_(1)  # nowhere of type 2, although the image shows it
    peaks = counted(answers, batch).peak_counts[2]
    highest = torch.stack([(a.anomaly_map * (a.type_map == 2)).max() for a in answers])
    shown = torch.tensor([2 in ids for ids in batch.class_ids])
    for row, chosen_images in ((1, shown), (0, ~shown)):
        expected = torch.bincount(bin_scores(highest[chosen_images], 2048), minlength=2048)
        assert peaks[row].equal(expected)
    assert peaks[1, 0] == 1


def test_images_without_a_mask_say_nothing_of_extent_and_boxes_do() -> None:
    answers, batch = line(2)
    whole = counted(answers, batch)
    assert whole.overlap_count.tolist() == [4, 2, 2]
    assert whole.overlap_sum[0].equal(whole.overlap_sum[1] + whole.overlap_sum[2])
    batch.is_box[0], batch.has_mask[1] = True, False
    counts = counted(answers, batch)
    assert counts.overlap_count.tolist() == [3, 2, 1] and counts.image_counts.sum() == 6


def test_calibration_error_is_the_weighted_distance_of_score_and_truth() -> None:
    scores = to_units(torch.tensor([0.4, 1.4]))
    reliability = torch.tensor([[2, 0, int(scores[0])], [2, 2, int(scores[1])], [0, 0, 0]])
    error = float(expected_calibration_error(reliability))
    assert error == pytest.approx((2 * 0.2 + 2 * 0.3) / 4)
