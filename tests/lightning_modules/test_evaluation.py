"""Holds how figures are counted, named and turned into thresholds."""

import pytest
import torch
from sklearn.metrics import precision_recall_curve
from torch import Tensor

from datamodules.sample import Batch, Prediction
from lightning_modules.evaluation import Evaluation, precision_recall
from lightning_modules.metrics.score_histogram import count_scores
from tests.lightning_modules.small_parts import defect_batch

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


class Module:
    """Notes what is logged."""

    def __init__(self) -> None:
        self.logged: dict[str, Tensor] = {}

    def log_dict(self, values: dict[str, Tensor]) -> None:
        """Note the values."""
        self.logged |= values


def counted(split: str = "val") -> Evaluation:
    evaluation, batch = Evaluation(NAMES), defect_batch()
    evaluation.count(split, right_answers(batch), batch)
    return evaluation


def test_perfect_predictions_have_perfect_figures() -> None:
    figures = counted().compute("val")
    for name in ("type_accuracy", "type_accuracy_balanced", "iou_image", "iou_dataset"):
        assert figures[name].item() == pytest.approx(1)
    for name in ("pixel_auroc", "pixel_ap", "image_auroc", "image_ap", "aupro"):
        assert figures[name].item() == pytest.approx(1, abs=1e-3)


def test_figures_are_named_stage_split_name() -> None:
    module = Module()
    counted("test").log(module, "test")  # type: ignore[arg-type]
    assert "mask/test/iou_image" in module.logged
    assert all(name.startswith("mask/test/") for name in module.logged)
    assert {value.dtype for value in module.logged.values()} == {torch.float32}


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
