"""Holds that what is counted for calibration is right, mergeable, and of constant size."""

import torch

from datamodules.sample import Batch, Prediction
from lightning_modules.metrics.calibration_counts import (
    CalibrationCounts,
    expected_calibration_error,
)
from lightning_modules.metrics.score_histogram import bin_scores
from lightning_modules.metrics.segmentation import to_units
from tests.lightning_modules.small_parts import NAMES, defect_batch

BINS = 2048


def random_answers(batch: Batch, seed: int = 0) -> list[Prediction]:
    """Answers that know nothing of the batch."""
    generator = torch.Generator().manual_seed(seed)
    answers = []
    for mask in batch.mask:
        heat = torch.rand(mask.shape, generator=generator)
        types = torch.randint(1, 3, mask.shape, generator=generator)
        scores = torch.rand(3, generator=generator).softmax(0)
        image_score = float(torch.rand((), generator=generator))
        answers.append(Prediction(0 * mask, heat, image_score, scores, 0, types))
    return answers


def counted(*answers: list[Prediction]) -> CalibrationCounts:
    counts = CalibrationCounts(("good", *NAMES))
    for one in answers:
        counts.update(one, defect_batch())
    return counts


def test_peak_of_a_type_is_the_highest_score_where_it_is_the_best_type() -> None:
    answers = random_answers(defect_batch())
    counts = counted(answers)
    peaks = torch.stack([a.anomaly_map[a.type_map == 2].max() for a in answers])
    with_stain, without = counts.peak_counts[2, 1], counts.peak_counts[2, 0]
    assert with_stain.nonzero().flatten().equal(bin_scores(peaks[1:2], BINS))
    assert without.sum() == 3 and without[bin_scores(peaks[[0, 2, 3]], BINS)].sum() == 3


def test_type_that_is_nowhere_the_best_has_peak_zero() -> None:
    answers = random_answers(defect_batch())
    for answer in answers:
        answer.type_map.fill_(1)
    assert counted(answers).peak_counts[2, :, 0].tolist() == [3, 1]


def test_overlap_is_counted_over_the_images_that_show_the_type() -> None:
    counts = counted(random_answers(defect_batch()))
    assert counts.overlap_count.tolist() == [3, 2, 1]
    assert counts.overlap_sum[0].equal(counts.overlap_sum[1] + counts.overlap_sum[2])


def test_boxes_and_images_without_a_mask_say_nothing_of_extent() -> None:
    batch = defect_batch()
    batch.is_box[0], batch.has_mask[1] = True, False
    counts = CalibrationCounts(("good", *NAMES))
    counts.update(random_answers(batch), batch)
    assert counts.overlap_count.tolist() == [1, 1, 0] and counts.image_counts.sum() == 4


def test_parts_add_up_to_the_whole_to_the_last_bit() -> None:
    first, second = (random_answers(defect_batch(), seed) for seed in (1, 2))
    whole, parts = counted(first, second), [counted(second), counted(first)]
    for name in whole.metric_state:
        assert getattr(whole, name).equal(sum(getattr(part, name) for part in parts))


def test_calibration_error_is_the_weighted_distance_of_score_and_truth() -> None:
    scores = to_units(torch.tensor([0.4, 1.4]))
    reliability = torch.tensor([[2, 0, int(scores[0])], [2, 2, int(scores[1])], [0, 0, 0]])
    torch.testing.assert_close(
        float(expected_calibration_error(reliability)), (2 * 0.2 + 2 * 0.3) / 4
    )


def test_honest_scores_have_no_calibration_error() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(40_000, generator=generator)
    truth = torch.rand(40_000, generator=generator) < scores
    bins = (scores * 15).long()
    table = torch.zeros(15, 3, dtype=torch.int64)
    table.index_add_(0, bins, torch.stack([bins * 0 + 1, truth.long(), to_units(scores)], dim=1))
    assert float(expected_calibration_error(table)) < 0.02
