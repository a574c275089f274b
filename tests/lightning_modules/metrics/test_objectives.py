"""Holds that a threshold serves what it was chosen for."""

import itertools

import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor

from lightning_modules.metrics.calibration import Objective, middle_of_run, parse_objective
from lightning_modules.metrics.score_histogram import sum_from_top

BINS = 40


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


@pytest.mark.parametrize("seed", range(5))
def test_recall_is_reached_and_one_score_higher_it_is_not(seed: int) -> None:
    histograms = random_histograms(seed)
    place = Objective("recall", 0.9).choose(histograms)
    assert place is not None
    assert rates(histograms, place)[1] >= 0.9 > rates(histograms, place + 1)[1]


@pytest.mark.parametrize("seed", range(5))
def test_false_alarm_rate_is_kept_and_one_score_lower_it_is_not(seed: int) -> None:
    histograms = random_histograms(seed)
    place = Objective("false_alarm_rate", 0.1).choose(histograms)
    assert place is not None
    assert rates(histograms, place)[0] <= 0.1 < rates(histograms, place - 1)[0]


@pytest.mark.parametrize("seed", range(5))
def test_best_f1_is_the_best_of_all_thresholds(seed: int) -> None:
    histograms = random_histograms(seed)
    bins = torch.arange(BINS)
    scores = torch.cat([bins.repeat_interleave(one) for one in histograms])
    truth = [0] * 30 + [1] * 20
    f1 = [f1_score(truth, scores >= place) for place in range(BINS)]
    assert f1[Objective("best_f1").choose(histograms) or 0] == pytest.approx(max(f1))


@pytest.mark.parametrize("seed", range(5))
def test_balanced_is_the_best_mean_of_both_accuracies(seed: int) -> None:
    histograms = random_histograms(seed)
    means = [1 - false + hit for false, hit in (rates(histograms, p) for p in range(BINS))]
    assert means[Objective("balanced").choose(histograms) or 0] == pytest.approx(max(means))


def test_false_alarm_rate_that_the_highest_score_breaks_has_no_threshold() -> None:
    histograms = torch.tensor([[1, 0, 1], [1, 1, 0]])
    assert Objective("false_alarm_rate", 0.1).choose(histograms) is None


def test_middle_of_a_run_parts_the_same_scores() -> None:
    levels = sum_from_top(torch.tensor([3, 0, 0, 0, 2, 0, 1]))
    places = [middle_of_run(levels, place) for place in range(7)]
    assert places == [0, 3, 3, 3, 3, 6, 6]
    assert all(levels[a] == levels[b] for a, b in itertools.zip_longest(places, range(7)))


@pytest.mark.parametrize("text", ["balanced", "best_f1", "recall=0.95", "false_alarm_rate=0.01"])
def test_objective_reads_back_as_it_was_typed(text: str) -> None:
    assert str(parse_objective(text)) == text


@pytest.mark.parametrize(
    "text", ["", "recall", "recall=", "recall=95", "recall=x", "best_f1=1", "f1", "recall=nan"]
)
def test_other_words_are_refused_with_the_objectives(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected balanced, best_f1, recall=0\.95 or"):
        parse_objective(text)
