"""Two annotators: kappa by hand and against scikit-learn, masks counted verdict by verdict."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from datamodules.auditing.agreement import cohens_kappa, mask_agreement


def mask_of(rows: slice, class_id: int = 1) -> np.ndarray:
    mask = np.zeros((40, 10), np.int64)
    mask[rows] = class_id
    return mask


def test_kappa_of_a_hand_worked_table():
    # 20 and 15 agree of 50; the first says yes 25 times, the second 30: 0.7 against 0.5.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = cohens_kappa(first, second)
    assert (found.count, found.observed, found.expected) == (50, 0.7, 0.5)
    assert found.kappa == pytest.approx(0.4, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 4, 200).tolist()
    second = [a if rng.random() < 0.7 else int(rng.integers(0, 5)) for a in first]
    expected = cohen_kappa_score(first, second)
    assert cohens_kappa(first, second).kappa == pytest.approx(expected, abs=1e-12)


def test_labels_that_only_one_annotator_uses_count():
    first, second = ["a", "b", "a", "c"], ["a", "b", "d", "d"]
    expected = cohen_kappa_score(first, second)
    assert cohens_kappa(first, second).kappa == pytest.approx(expected, abs=1e-12)


def test_annotators_who_never_agree_are_below_chance():
    assert cohens_kappa(["a", "b"], ["b", "a"]).kappa == -1.0


def test_one_label_throughout_has_no_kappa_and_says_so():
    found = cohens_kappa(["good"] * 3, ["good"] * 3)
    assert math.isnan(found.kappa) and found.observed == 1
    assert found.note == "both said 'good' throughout: no kappa"


@pytest.mark.parametrize(("first", "second"), [([], []), (["a"], ["a", "b"])])
def test_labels_of_other_things_are_refused(first, second):
    with pytest.raises(ValueError, match="expected one label each"):
        cohens_kappa(first, second)


def test_each_verdict_on_masks_is_counted():
    blank = mask_of(slice(0, 0))
    first = [mask_of(slice(0, 20)), mask_of(slice(0, 20)), mask_of(slice(0, 9)), blank, blank]
    second = [mask_of(slice(0, 16)), mask_of(slice(0, 14)), blank, mask_of(slice(0, 9)), blank]
    found = mask_agreement(first, second, class_ids=[1])
    assert (found.overlapping, found.below_iou) == (1, 1)
    assert (found.only_first, found.only_second, found.both_absent) == (1, 1, 1)
    assert found.agreement.observed == 2 / 5
    assert found.mean_iou == pytest.approx((0.8 + 0.7) / 2)


def test_overlap_of_exactly_three_quarters_agrees():
    found = mask_agreement([mask_of(slice(0, 20))], [mask_of(slice(0, 15))], class_ids=[1])
    assert found.overlapping == 1


def test_kappa_of_masks_by_hand():
    # Drawn alike twice, blank alike once, and once by the first only: 3/4 against 8/16 + 1/16.
    drawn, blank = mask_of(slice(0, 20)), mask_of(slice(0, 0))
    first, second = [drawn, drawn, drawn, blank], [drawn, drawn, blank, blank]
    found = mask_agreement(first, second, class_ids=[1]).agreement
    assert found.observed == 3 / 4
    assert found.expected == (3 * 2 + 1 * 2) / 16
    assert found.kappa == pytest.approx((3 / 4 - 1 / 2) / (1 / 2), abs=1e-12)


def test_the_same_outline_under_two_names_is_two_disagreements():
    first, second = mask_of(slice(0, 20), 1), mask_of(slice(0, 20), 2)
    found = mask_agreement([first], [second], class_ids=[1, 2])
    assert (found.only_first, found.only_second, found.overlapping) == (1, 1, 0)


def test_too_little_overlap_counts_as_drawn_by_one_only():
    first = [mask_of(slice(0, 20)), mask_of(slice(0, 0))]
    second = [mask_of(slice(10, 30)), mask_of(slice(0, 0))]
    found = mask_agreement(first, second, class_ids=[1]).agreement
    assert (found.observed, found.expected) == (0.5, (0.5 * 0.5 + 1.5 * 1.5) / 4)


def test_masks_that_agree_throughout_on_one_verdict_have_no_kappa():
    drawn = mask_of(slice(0, 20))
    found = mask_agreement([drawn], [drawn], class_ids=[1]).agreement
    assert math.isnan(found.kappa) and found.note == "nothing differs: no kappa"


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"masks 0 have the sizes \(40, 10\) and \(10, 40\)"):
        mask_agreement([mask_of(slice(0, 9))], [mask_of(slice(0, 9)).T], class_ids=[1])


@pytest.mark.parametrize(("count", "class_ids"), [(0, [1]), (1, []), (2, [1])])
def test_nothing_to_compare_is_refused(count, class_ids):
    with pytest.raises(ValueError, match="expected one mask each"):
        mask_agreement([mask_of(slice(0, 9))] * count, [mask_of(slice(0, 9))], class_ids=class_ids)
