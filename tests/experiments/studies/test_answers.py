"""Holds what studies say of their figures, on figures worked by hand."""

from collections.abc import Sequence

import pytest

from experiments.comparing.paper_tables import MEASURED, NO_ANSWER, NOT_REACHED, NOT_RUN
from experiments.comparing.study_plan import ChildResult, Results
from experiments.studies.feature_timestep import FeatureTimestep
from experiments.studies.inference_cost import InferenceCost
from experiments.studies.pretraining_scale import PretrainingScale
from experiments.studies.sample_efficiency import SampleEfficiency
from experiments.studies.systems import Systems
from tests.experiments.studies.worked_results import worked

IOU, ACCURACY = "mask/test/iou_image", "mask/test/type_accuracy"
Curve = Sequence[float | None]


@pytest.mark.parametrize(
    ("at_5", "at_50", "status", "samples"),
    [
        ([0.6, 0.6], [0.9, 0.9], MEASURED, 5 * 10**0.5),
        ([0.6, 0.6], [0.9, 0.7], f"{NOT_REACHED} by 1 of 2 seeds", None),
        ([0.6, 0.6], [0.7, 0.7], NOT_REACHED, None),
        ([0.6, None], [0.9, None], MEASURED, 5 * 10**0.5),
        ([0.6, 0.6], [None, None], NOT_RUN, None),
        ([None, None], [0.9, 0.9], NOT_RUN, None),
        ([0.9, 0.6], [0.9, None], MEASURED, 5.0),
    ],
)
def test_samples_are_read_from_whole_curves_alone(
    at_5: Curve, at_50: Curve, status: str, samples: float | None
) -> None:
    study = SampleEfficiency((5, 50), target=0.75)
    report = study.report(worked(ACCURACY, {"random_k5": at_5, "random_k50": at_50}))
    row = next(row for row in report.tables[0].rows if row.labels["pre-training"] == "random")
    assert row.status == status
    assert (row.ours and row.ours.mean) == (samples and pytest.approx(samples))


@pytest.mark.parametrize(
    ("best", "other", "words"),
    [
        ([0.5, 0.61], [0.4, 0.5], "it is above all others"),
        ([0.5, 0.7], [0.4, 0.5], "it is not parted from t = 10"),
        ([0.5], [0.4], "it is not parted from t = 10"),
    ],
)
def test_best_t_is_parted_over_the_same_seeds(best: Curve, other: Curve, words: str) -> None:
    study = FeatureTimestep((10, 50))
    report = study.report(worked(IOU, {"single_t50": best, "single_t10": other}))
    (answer,) = report.answers
    assert "is highest at t = 50" in answer and answer.endswith(words)


def scaled(*gains: Curve) -> list[str]:
    """The answers for 0 images and 10, 100, ... whose gains over 0.5 these are, seed by seed."""
    counts = [10 ** (place + 1) for place in range(len(gains))]
    figures: dict[str, Curve] = {"base_0": [0.5] * len(gains[0])}
    for count, gain in zip(counts, gains, strict=True):
        figures[f"base_{count}"] = [None if one is None else 0.5 + one for one in gain]
    return list(PretrainingScale((0, *counts)).report(worked(IOU, figures)).answers)


def test_stage_1_pays_from_where_all_more_images_pay() -> None:
    sure, none = [0.10, 0.11, 0.12], [0.10, -0.11, 0.01]
    assert "base: stage 1 pays from 100 images on" in scaled(none, sure, sure)
    assert not [line for line in scaled(sure, sure, none) if "pays from" in line]


def test_trend_needs_three_points_and_promises_no_iou_that_cannot_be() -> None:
    assert not [line for line in scaled([0.1], [0.2]) if "ten times" in line]
    rising, falling = scaled([0.01], [0.02], [0.03])[-1], scaled([0.03], [0.02], [0.01])[-1]
    assert "changes by +0.0100" in rising and rising.endswith("would be 0.560 at a million")
    assert falling.endswith("which promises nothing")


def test_systems_are_compared_in_pairs_over_the_same_seeds() -> None:
    study = Systems({"a": ["a.yaml"], "b": ["b.yaml"]})
    report = study.report(worked(IOU, {"a": [0.5, 0.6, 0.9], "b": [0.61, 0.7, None]}))
    assert report.answers == ("b instead of a: iou_image +0.105 (+0.041 to +0.169)",)


def test_cost_says_which_benchmark_has_not_run_and_which_had_no_answer() -> None:
    path = "measurements/features: all/"
    metrics = {f"{path}ours": 4.0, f"{path}ratio": 2.0, f"{path}settings/lowest ratio": 1.5}
    found = {
        ("inference_features", 0): ChildResult("r0", metrics, {}),
        ("inference_gpu", 0): ChildResult("r1", {}, {}),
    }
    study = InferenceCost(("inference_features", "inference_gpu", "inference_memory"))
    (table,) = study.report(Results(found)).tables
    said = [
        (row.figure, row.ours and row.ours.mean, row.status)
        for row in table.rows
        if row.labels["benchmark"] != "A100"
    ]
    assert said == [
        ("images/s", 4.0, MEASURED),
        ("ratio", 2.0, MEASURED),
        ("lowest ratio", 1.5, MEASURED),
        ("ms/image", None, NO_ANSWER),
        ("GB", None, NOT_RUN),
    ]
