"""Holds how figures are counted, named and turned into thresholds."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from datamodules.sample import Batch, Prediction
from lightning_modules.evaluation import Evaluation
from lightning_modules.metrics.calibration import CalibrationRule
from lightning_modules.nets.post_processing import PostProcessing
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


def test_predictions_pass_through_unchanged() -> None:
    batch = defect_batch()
    answers = right_answers(batch)
    assert Evaluation(NAMES).count("val", answers, batch) is answers


def test_perfect_predictions_have_perfect_figures() -> None:
    figures = counted().compute("val")
    for name in ("type_accuracy", "type_accuracy_balanced", "iou_image", "iou_dataset"):
        assert figures[name].item() == pytest.approx(1)
    for name in ("pixel_auroc", "pixel_ap", "image_auroc", "image_ap", "aupro"):
        assert figures[name].item() == pytest.approx(1, abs=1e-3)


def test_counters_start_again_after_they_were_read() -> None:
    evaluation, batch = counted(), defect_batch()
    evaluation.compute("val")
    wrong = [Prediction(0 * p.label_map, 0 * p.anomaly_map, 0.0, p.type_scores, 0, p.type_map)
             for p in right_answers(batch)]  # fmt: skip
    evaluation.count("val", wrong, batch)
    assert evaluation.compute("val")["iou_image"].item() == pytest.approx(0)


def test_splits_are_counted_apart() -> None:
    evaluation, batch = counted("val"), defect_batch()
    evaluation.count("test", right_answers(batch)[3:], SimpleNamespace(**{
        name: None if value is None else value[3:]
        for name in Batch.__slots__ for value in [getattr(batch, name)]}))  # fmt: skip
    assert evaluation.compute("val")["type_accuracy"].item() == pytest.approx(1)
    assert torch.isnan(evaluation.compute("test")["iou_image"])


def test_figures_are_named_stage_split_name() -> None:
    module = Module()
    counted("test").finish_test(module)  # type: ignore[arg-type]
    assert "mask/test/iou_image" in module.logged
    assert all(name.startswith("mask/test/") for name in module.logged)
    assert {value.dtype for value in module.logged.values()} == {torch.float32}


def test_thresholds_move_to_where_validation_parts_best() -> None:
    post_processing = PostProcessing(pixel_threshold=0.95, image_threshold=0.95)
    counted().calibrate(post_processing, CalibrationRule())
    assert 0.1 < float(post_processing.pixel_threshold) <= 0.801
    assert 0.1 < float(post_processing.image_threshold) <= 0.801


def test_types_have_their_thresholds_by_name() -> None:
    post_processing = PostProcessing()
    counted().calibrate(post_processing, CalibrationRule(min_images=1))
    assert set(post_processing.points.by_name) == {"crack", "stain"}


def test_a_split_without_defects_leaves_the_thresholds() -> None:
    evaluation, batch, post_processing = Evaluation(NAMES), defect_batch(), PostProcessing()
    heat = 0.1 * torch.ones(64, 64)
    good = [Prediction(0 * m, heat, 0.1, torch.eye(3)[0], 0, 0 * m + 1) for m in batch.mask]
    batch.mask, batch.class_ids = 0 * batch.mask, [()] * 4
    evaluation.count("val", good, batch)
    evaluation.calibrate(post_processing, CalibrationRule())
    assert float(post_processing.pixel_threshold) == float(post_processing.image_threshold) == 0.5


def test_curves_are_of_what_was_counted_so_far_and_counting_goes_on() -> None:
    evaluation = counted("test")
    curves = evaluation.curves("test")
    assert curves.names == NAMES
    assert curves.confusion.tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 1]]
    assert curves.precision_recall["images"].tolist() == [[1.0, 1.0], [1.0, 0.75]]
    assert curves.precision_recall["pixels"][0].tolist() == [1.0, 1.0]
    assert curves.reliability["image"][:, 1:].tolist() == [[0.0, 1.0], [1.0, 3.0]]
    assert evaluation.compute("test")["type_accuracy"] == 1
