"""Holds what studies say of their figures, on figures worked by hand."""

from collections.abc import Mapping, Sequence

import pytest

from experiments.reporting.report import Report, Results
from experiments.reporting.rows import (
    MEASURED,
    NO_ANSWER,
    NOT_REACHED,
    NOT_RUN,
    PAPER_ONLY,
    Row,
)
from experiments.studies.sample_efficiency import first_reaching
from experiments.study import read_study
from experiments.tracking import RunRow
from tests.experiments.reporting.finished_run import finished_run

IOU, ACCURACY = "mask/test/iou_image", "mask/test/type_accuracy"
Curve = Sequence[float | None]
Found = dict[tuple[str, int], RunRow]


def report(study: str, found: Found, *words: str) -> Report:
    """What a shipped study says of these runs."""
    plan, usual = read_study([f"studies/{study}.yaml"], words)
    return usual.report(Results(plan, found))


def worked(
    metric: str, figures: Mapping[str, Curve], data: str = "made", setting: str = "full"
) -> Found:
    """The metric of each variant by seed 0, 1, ...; None where a child has not finished."""
    tags = {"setting": setting, "dataset": data, "scale": "tiny"}
    return {
        (name, seed): finished_run(f"{name}-{seed}", {metric: value}, tags)
        for name, values in figures.items()
        for seed, value in enumerate(values)
        if value is not None
    }


def without(*variants: str) -> list[str]:
    """The words that leave variants out."""
    return [word for name in variants for word in (f"--variants.{name}", "null")]


@pytest.mark.parametrize(
    ("at_5", "at_25", "status", "samples"),
    [
        ([0.6, 0.6], [0.9, 0.9], MEASURED, 5 * 5**0.5),
        ([0.6, 0.6], [0.9, 0.7], f"{NOT_REACHED} by 1 of 2 seeds", None),
        ([0.6, 0.6], [0.7, 0.7], NOT_REACHED, None),
        ([0.6, None], [0.9, None], MEASURED, 5 * 5**0.5),
        ([None, None], [0.9, 0.9], NOT_RUN, None),
        ([0.9, 0.6], [0.9, None], MEASURED, 5.0),
    ],
)
def test_samples_are_read_from_whole_curves_alone(
    at_5: Curve, at_25: Curve, status: str, samples: float | None
) -> None:
    words = [*without("random_k100", "imagenet_k100", "ours_k100"), "--differences", "[]"]
    found = worked(ACCURACY, {"random_k5": at_5, "random_k25": at_25})
    table = report("sample_efficiency", found, *words, "--report.init_args.target", "0.75")
    row = next(row for row in table.tables[0].rows if row.labels["pre-training"] == "random")
    assert row.status == status
    assert (row.ours and row.ours.mean) == (samples and pytest.approx(samples))


@pytest.mark.parametrize(
    ("figures", "answer"),
    [([0.9, 0.95], 5), ([0.1, 0.2], None), ([0.1, 0.8], 500), ([0.3, 1.3], 50)],
)
def test_target_between_two_counts_lies_on_a_line_over_their_logarithm(
    figures: list[float], answer: float | None
) -> None:
    found = first_reaching([5, 500], figures, 0.8)
    assert found == (answer if answer is None else pytest.approx(answer))


@pytest.mark.parametrize(
    ("best", "other", "rivals"),
    [([0.5, 0.61], [0.4, 0.5], "none"), ([0.5, 0.7], [0.4, 0.5], "10"), ([0.5], [0.4], "10")],
)
def test_best_t_is_parted_over_the_same_seeds(best: Curve, other: Curve, rivals: str) -> None:
    found = worked(IOU, {"single_t50": best, "single_t10": other})
    (answer,) = report("feature_timestep", found).answers
    assert "is highest at t = 50" in answer and answer.endswith(f"not parted from t = {rivals}")


def scaled(*gains: Curve) -> Sequence[str]:
    """The answers for images whose gains over 0.5 these are, seed by seed."""
    counts = (3200, 9600, 30016)[: len(gains)]
    figures: dict[str, Curve] = {"base_0": [0.5] * len(gains[0])}
    for count, gain in zip(counts, gains, strict=True):
        figures[f"base_{count}"] = [None if one is None else 0.5 + one for one in gain]
    return report("pretraining_scale", worked(IOU, figures)).answers


def test_stage_1_pays_from_where_all_more_images_pay() -> None:
    sure, none = [0.10, 0.11, 0.12], [0.10, -0.11, 0.01]
    assert "base: stage 1 pays from 9600 images on" in scaled(none, sure, sure)
    assert not [line for line in scaled(sure, sure, none) if "pays from" in line]


def test_trend_needs_three_points_and_promises_no_iou_that_cannot_be() -> None:
    assert not [line for line in scaled([0.1], [0.2]) if "ten times" in line]
    assert "would be 0.5" in scaled([0.01], [0.02], [0.03])[-1]
    assert scaled([0.03], [0.02], [0.01])[-1].endswith("which promises nothing")


def by_category(results: Found, *names: str) -> dict[tuple[str, str], list[Row]]:
    words = [word for name in names for word in (f"--variants.{name}", "{}")]
    left_out = without("mtd", "neu_seg", "pv_multi_defect")
    (table,) = report("per_category", results, *left_out, *words).tables
    found: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        found.setdefault((row.labels["category"], row.figure), []).append(row)
    return found


def test_average_is_of_all_categories_of_each_seed_and_names_those_runs_alone() -> None:
    found = worked(IOU, {"grid": [0.2, 0.4], "wood": [0.6]})
    (average,) = by_category(found, "grid", "wood")["average", "iou_image"]
    assert average.ours and average.ours.values == (pytest.approx(0.4),)
    assert average.runs == ("grid-0", "wood-0") and average.data == "made"
    assert average.paper is None


def test_papers_average_stands_beside_one_over_ten_of_its_own_data_alone() -> None:
    names = ["grid", "leather", "cable", *(f"c{number}" for number in range(7))]
    found = worked(IOU, {name: [0.5] for name in names}, data="mvtec_ad", setting="budget_200")
    (average,) = by_category(found, *names)["average", "iou_image"]
    assert average.paper and average.paper.value == 0.5571
    other = by_category(worked(IOU, {"grid": [0.2]}), "grid")["grid", "iou_image"]
    assert [row.status for row in other] == [MEASURED, PAPER_ONLY]


def test_cost_says_which_benchmark_has_not_run_and_which_had_no_answer() -> None:
    path = "measurements/features: all/"
    metrics = {f"{path}ours": 4.0, f"{path}ratio": 2.0, f"{path}settings/lowest ratio": 1.5}
    found = {("throughput", 0): finished_run("r0", metrics)}
    found["memory", 0] = finished_run("r1", {})
    (table,) = report("inference_cost", found).tables
    ours = [row for row in table.rows if row.labels["benchmark"] != "A100"]
    assert [(row.figure, row.ours and row.ours.mean, row.status) for row in ours] == [
        ("TF/image", None, NOT_RUN),
        ("GB", None, NO_ANSWER),
        ("crops/s", 4.0, MEASURED),
        ("ratio", 2.0, MEASURED),
        ("lowest ratio", 1.5, MEASURED),
    ]
