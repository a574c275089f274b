"""Holds how figures are counted, named, drawn and added up over processes."""

from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import precision_recall_curve
from torch import Tensor
from torchmetrics import Metric

from datamodules.sample import Batch, Prediction
from lightning_modules.evaluation import Evaluation, precision_recall
from lightning_modules.metrics.score_histogram import count_scores
from tests.lightning_modules.metrics.random_scenes import NAMES as SCENE_NAMES
from tests.lightning_modules.metrics.random_scenes import random_scenes
from tests.lightning_modules.small_parts import defect_batch, rows_of

NAMES = ("good", "crack", "stain")


def right_answers(batch: Batch) -> list[Prediction]:
    """Perfect predictions, defects at 0.8 and the rest at 0.1."""
    answers = []
    for mask, ids in zip(batch.mask, batch.class_ids, strict=True):
        heat = torch.where(mask > 0, 0.8, 0.1)
        score = 0.8 if ids else 0.1
        type_id = ids[0] if ids else 0
        answers.append(Prediction(mask, heat, score, torch.eye(3)[type_id], type_id, mask))
    return answers


def counted(split: str = "val") -> Evaluation:
    evaluation, batch = Evaluation(NAMES), defect_batch()
    evaluation.count(split, right_answers(batch), batch)
    return evaluation


def test_figures_are_named_stage_split_name() -> None:
    logged: dict[str, Tensor] = {}
    counted("test").log(SimpleNamespace(log_dict=logged.update), "test")  # type: ignore[arg-type]
    assert "mask/test/iou_image" in logged
    assert all(name.startswith("mask/test/") for name in logged)
    assert {value.dtype for value in logged.values()} == {torch.float32}


def test_curves_are_of_what_was_counted_so_far_and_counting_goes_on() -> None:
    evaluation = counted("test")
    curves = evaluation.curves("test")
    assert curves.names == NAMES
    assert curves.confusion.tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 1]]
    assert curves.precision_recall["images"].tolist() == [[1.0, 1.0], [1.0, 0.75]]
    assert curves.precision_recall["pixels"][0].tolist() == [1.0, 1.0]
    assert curves.reliability["image"][:, 1:].tolist() == [[0.0, 1.0], [1.0, 3.0]]
    assert evaluation.compute("test")["type_accuracy"] == 1


def test_precision_over_recall_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(200, generator=generator)
    is_defect = torch.rand(200, generator=generator) < scores
    precision, recall, _ = precision_recall_curve(is_defect, scores)
    ours = precision_recall(count_scores(scores, is_defect, 1 << 20))
    expected = torch.from_numpy(recall[::-1].copy())[1:], torch.from_numpy(precision[::-1].copy())
    torch.testing.assert_close(ours[:, 0], expected[0])
    torch.testing.assert_close(ours[:, 1], expected[1][1:])


def counters() -> list[Metric]:
    """A fresh set of what a test run counts."""
    return list(Evaluation(SCENE_NAMES).counters["test"].values())  # type: ignore[arg-type]


def state_bytes(metrics: list[Metric]) -> list[int]:
    return [sum(value.nbytes for value in one.metric_state.values()) for one in metrics]


def test_state_does_not_grow_with_images_or_their_size() -> None:
    metrics = counters()
    before = state_bytes(metrics)
    for seed, side_px in enumerate((48, 96, 160)):
        for metric in metrics:
            metric.update(*random_scenes(seed, side_px=side_px))
    assert state_bytes(metrics) == before


def test_state_is_whole_numbers_alone() -> None:
    values = [value for metric in counters() for value in metric.metric_state.values()]
    assert {value.is_floating_point() for value in values} == {False}


@pytest.mark.parametrize("first", [[0], [6, 2, 4, 0], [5, 4, 3, 2, 1]])
def test_shares_of_two_processes_add_up_to_one_pass_bit_by_bit(first: list[int]) -> None:
    predictions, batch = random_scenes(0, count=7)
    second = [place for place in range(7) if place not in first]
    for whole, one, other in zip(counters(), counters(), counters(), strict=True):
        whole.update(predictions, batch)
        for metric, places in ((one, first), (other, second)):
            metric.update([predictions[place] for place in places], rows_of(batch, places))
        one.merge_state(other)
        figures = one.compute()
        for name, figure in whole.compute().items():
            torch.testing.assert_close(figures[name], figure, rtol=0, atol=0, equal_nan=True)
