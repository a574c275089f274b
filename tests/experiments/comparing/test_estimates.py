"""Holds that an interval is Student's, and that a curve is read between its points."""

import math

import pytest

from experiments.comparing.estimates import estimate, first_reaching, in_words, is_parted

NAN = math.nan


def test_interval_of_three_seeds_is_students() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found is not None
    # t(0.975, 2) = 4.3027, standard error 1 / sqrt(3)
    assert found.mean == pytest.approx(2.0)
    assert found.high - found.mean == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_one_seed_has_no_interval() -> None:
    found = estimate([0.5, NAN])
    assert found is not None
    assert (found.mean, found.seeds) == (0.5, 1)
    assert math.isnan(found.low) and math.isnan(found.high)


def test_no_number_is_no_estimate() -> None:
    assert estimate([]) is None
    assert estimate([NAN]) is None


def test_target_between_two_counts_lies_on_a_line_over_their_logarithm() -> None:
    assert first_reaching([10, 1000], [0.0, 1.0], 0.5) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("figures", "answer"),
    [([0.9, 0.95], 5), ([0.1, 0.2], None), ([0.1, 0.8], 50)],
)
def test_target_at_the_ends_of_the_curve(figures: list[float], answer: float | None) -> None:
    found = first_reaching([5, 50], figures, 0.8)
    assert found == (answer if answer is None else pytest.approx(answer))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.1], "+0.100; one seed, nothing can be said"),
        ([0.1, 0.11, 0.12], "+0.110 (+0.085 to +0.135)"),
        ([0.005, 0.005], "+0.005 under each of 2 seeds; their spread is unknown"),
        ([-0.1, 0.1, 0.3], "+0.100 (-0.397 to +0.597), which may be nothing"),
    ],
)
def test_difference_is_told_with_what_it_is_worth(values: list[float], words: str) -> None:
    found = estimate(values)
    assert found and in_words(found) == words
    assert is_parted(found) == words.endswith(")")
