"""Holds the overlap and naming figures against torchmetrics."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchmetrics.classification import (
    BinaryF1Score,
    BinaryJaccardIndex,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index

from datamodules.sample import Batch, Prediction
from lightning_modules.metrics.segmentation import SegmentationMetrics, split_by_frequency
from tests.lightning_modules.small_parts import batch_of

NAMES = ("good", "crack", "stain")


def answer(label_map: Tensor, type_id: int) -> Prediction:
    anomaly_map = (label_map > 0).float()
    return Prediction(label_map, anomaly_map, 0.5, torch.ones(3) / 3, type_id, label_map)


def random_case(seed: int, count: int = 4) -> tuple[list[Prediction], Batch]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, 3, (count, 12, 10), generator=generator)
    labels = torch.randint(0, 3, (count, 12, 10), generator=generator)
    answered = torch.randint(0, 3, (count,), generator=generator).tolist()
    true_types = torch.randint(0, 3, (count,), generator=generator).tolist()
    batch = batch_of(truth, class_ids=[(t,) if t else () for t in true_types])
    return [answer(m, t) for m, t in zip(labels, answered, strict=True)], batch


def run(cases: list[tuple[list[Prediction], Batch]]) -> dict[str, Tensor]:
    metric = SegmentationMetrics(NAMES)
    for predictions, batch in cases:
        metric.update(predictions, batch)
    return metric.compute()


def test_figures_of_types_and_of_any_defect_equal_torchmetrics() -> None:
    predictions, batch = random_case(0)
    labels, figures = (
        torch.stack([one.label_map for one in predictions]),
        run([(predictions, batch)]),
    )
    for name, kind in (("iou", MulticlassJaccardIndex), ("f1", MulticlassF1Score)):
        expected = kind(3, average="none")(labels, batch.mask)
        for place, one in enumerate(NAMES[1:], start=1):
            torch.testing.assert_close(figures[f"{name}_type/{one}"], expected[place])
    for name, pooled in (("iou", BinaryJaccardIndex()), ("f1", BinaryF1Score())):
        expected = pooled((labels > 0).long(), (batch.mask > 0).long())
        torch.testing.assert_close(figures[f"{name}_dataset"], expected)


def test_image_figures_are_means_over_defective_images_only() -> None:
    predictions, batch = random_case(2)
    batch.mask[3] = 0
    truth = (batch.mask > 0).long()
    pairs = [((p.label_map > 0).long(), t) for p, t in zip(predictions, truth, strict=True)][:3]
    figures = run([(predictions, batch)])
    iou = torch.stack([binary_jaccard_index(labels, t) for labels, t in pairs]).mean()
    f1 = torch.stack([binary_f1_score(labels, t) for labels, t in pairs]).mean()
    torch.testing.assert_close(figures["iou_image"], iou)
    torch.testing.assert_close(figures["f1_image"], f1)


def test_balanced_accuracy_is_the_mean_over_types_that_occur() -> None:
    empty = torch.zeros(4, 2, 2, dtype=torch.int64)
    batch = batch_of(empty, class_ids=[(), (), (), (2, 1)])
    figures = run([([answer(empty[0], t) for t in (0, 0, 1, 2)], batch)])
    assert float(figures["type_accuracy"]) == pytest.approx(3 / 4)
    assert float(figures["type_accuracy_balanced"]) == pytest.approx((2 / 3 + 1) / 2)


def test_accuracy_of_defective_images_leaves_good_aside_and_ties_out() -> None:
    scores = torch.tensor([[0.9, 0.06, 0.04], [0.8, 0.0, 0.0], [0.1, 0.7, 0.2], [0.5, 0.5, 0.0]])
    predictions = [
        replace(answer(torch.zeros(4, 4, dtype=torch.int64), 0), type_scores=each)
        for each in scores
    ]
    batch = batch_of(torch.zeros(4, 4, 4, dtype=torch.int64), class_ids=[(1,), (2,), (2,), ()])
    figures = run([(predictions, batch)])
    assert figures["type_accuracy_defective"] == pytest.approx(1 / 3)
    assert figures["type_accuracy"] == pytest.approx(1 / 4)


def test_images_without_a_mask_count_in_type_accuracy_only() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.int64)
    batch = batch_of(mask, class_ids=[(1,)], has_mask=torch.tensor([False]))
    figures = run([([answer(torch.ones_like(mask[0]), 1)], batch)])
    assert float(figures["type_accuracy"]) == 1.0
    assert all(figures[name].isnan() for name in ("iou_image", "f1_image", "iou_dataset"))


def test_false_marks_on_good_images_alone_have_no_overlap_to_tell_of() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.int64)
    batch = batch_of(mask, class_ids=[()])
    figures = run([([answer(torch.ones_like(mask[0]), 1)], batch)])
    assert all(figures[name].isnan() for name in ("iou_image", "f1_image", "iou_dataset"))


def test_names_without_good_first_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 'good' first"):
        SegmentationMetrics(["crack"])


def test_boxes_have_an_iou_of_their_own_and_count_in_no_other() -> None:
    predictions, batch = random_case(5)
    without = run([(predictions, batch)])
    batch.is_box[:] = True
    boxed = run([(predictions, batch)])
    torch.testing.assert_close(boxed["iou_image_box"], without["iou_image"])
    assert "iou_image_box" not in without
    assert boxed["iou_image"].isnan()
    assert boxed["iou_dataset"].isnan()


def test_types_are_split_into_thirds_by_the_number_of_their_images() -> None:
    thirds = split_by_frequency(torch.tensor([5, 0, 9, 1, 7, 2]))
    places = {part: types.tolist() for part, types in thirds.items()}
    assert places == {"head": [2, 4], "middle": [0, 5], "tail": [3]}


def test_figures_of_a_third_are_means_over_its_types() -> None:
    metric = SegmentationMetrics(["good", "a", "b", "c", "d"])
    ids = [1] * 4 + [2] * 3 + [3] * 2 + [4]
    masks = torch.tensor(ids)[:, None, None].expand(-1, 2, 2).clone()
    answers = [0, 1, 1, 1, 2, 2, 0, 3, 0, 4]
    predictions = [
        replace(answer(torch.full((2, 2), t), t), type_scores=torch.eye(5)[t]) for t in answers
    ]
    metric.update(predictions, batch_of(masks))
    figures = {name: float(figure) for name, figure in metric.compute().items()}
    assert figures["type_accuracy_head"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert (figures["iou_type_middle"], figures["type_accuracy_tail"]) == (0.5, 1.0)
    assert figures["iou_type_mean"] == pytest.approx((3 / 4 + 2 / 3 + 1 / 2 + 1) / 4)


def test_true_regions_are_named_by_their_pixels_whatever_was_marked() -> None:
    mask = torch.tensor([[1, 1, 1, 0, 2, 2, 0, 2]])  # a crack and two stains
    types = torch.tensor([[2, 2, 1, 1, 2, 1, 1, 1]])
    scores = torch.tensor([[0.1, 0.1, 0.3, 0.9, 0.4, 0.3, 0.9, 0.2]])
    unmarked = replace(answer(torch.zeros_like(mask), 0), anomaly_map=scores, type_map=types)
    figures = run([([unmarked], batch_of(mask[None], class_ids=[(1, 2)]))])
    assert figures["name_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    # A small sure core has the vote, as in the regions of a prediction.
    core = torch.where(torch.arange(64).reshape(8, 8) < 16, 0.9, 0.4)
    crack = torch.ones(8, 8, dtype=torch.int64)
    rimmed = replace(
        answer(torch.zeros_like(crack), 0),
        anomaly_map=core,
        type_map=torch.where(core > 0.5, 1, 2),
    )
    figures = run([([rimmed], batch_of(crack[None], class_ids=[(1, 2)]))])
    assert figures["name_accuracy"] == 1
    silent = replace(unmarked, anomaly_map=torch.zeros_like(scores))
    assert run([([silent], batch_of(mask[None], class_ids=[(1, 2)]))])["name_accuracy"] == 0
