"""Holds the way from an image to a square and from boxes to a Prediction."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from datamodules.captions import Caption
from datamodules.transforms import Letterbox, to_tensor
from datamodules.vocabulary import Vocabulary
from lightning_modules.nets.box_prediction import (
    FILL,
    LOWEST_SCORE,
    MOST_OVERLAP,
    Boxes,
    best_boxes,
    from_square,
    inner_window,
    letterboxed,
    predict_from_boxes,
)
from lightning_modules.nets.post_processing import (
    OperatingPoints,
    PostProcessing,
    TypeThresholds,
)


@pytest.mark.parametrize("size", [(40, 200), (200, 40), (64, 64), (1, 300), (33, 31)])
def test_box_of_an_image_comes_back_from_the_square(size: tuple[int, int]) -> None:
    height, width = size
    image = torch.full((3, *size), -1.0)
    image[:, height // 2 :, width // 3 :] = 1.0
    square = letterboxed(image, 96)
    left, top, inner_width, inner_height = inner_window(size, 96)
    assert square.shape == (3, 96, 96) and max(inner_width, inner_height) == 96
    inside = torch.zeros(96, 96, dtype=torch.bool)
    inside[top : top + inner_height, left : left + inner_width] = True
    assert (square[:, ~inside] == FILL).all() and square[0, inside].amax() > 0.5
    rows, columns = (square[0] > 0).nonzero(as_tuple=True)
    box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    found = from_square(box[None].float(), size, 96)[0]
    truth = torch.tensor([width // 3, height // 2, width, height])
    assert (found - truth).abs().max() <= max(1, max(size) / 96)


def test_square_to_predict_on_is_that_of_the_training() -> None:
    image = np.full((90, 140, 3), 60, dtype=np.uint8)
    image[20:50, 30:100] = 200
    still = Letterbox(96, (1.0, 1.0), 0.0, 0.0, color_jitter_bsch=(0.0, 0.0, 0.0, 0.0))
    trained, *_ = still(image, image[..., 0], Caption("tile"), has_mask=False, seed=0)
    seen = letterboxed(to_tensor(image), 96)
    assert (seen - to_tensor(trained)).abs().mean() < 0.02


def test_best_boxes_equal_those_of_brute_force(seed: int) -> None:
    start = torch.rand(60, 2) * 20
    boxes = torch.cat([start, start + 5 + torch.rand(60, 2) * 20], dim=1)
    scores = torch.rand(60, 3)
    kept: list[tuple[float, int]] = []
    chosen: list[tuple[int, torch.Tensor]] = []
    for index in scores.flatten().argsort(descending=True).tolist():
        box, class_id = boxes[index // 3], index % 3
        rivals = [other for other_id, other in chosen if other_id == class_id]
        if all(box_iou(box[None], other[None]) <= MOST_OVERLAP for other in rivals):
            chosen.append((class_id, box))
            kept.append((float(scores.flatten()[index]), class_id))
    found = best_boxes(scores, boxes, most=1000)
    assert list(zip(found.scores.tolist(), found.class_ids.tolist(), strict=True)) == kept
    assert len(kept) < 180
    assert best_boxes(scores, boxes, most=5).scores.tolist() == found.scores[:5].tolist()
    assert not len(best_boxes(torch.full((60, 3), LOWEST_SCORE), boxes, most=5).scores)


CPU = torch.device("cpu")


def three_boxes() -> Boxes:
    """A sure crack, a likely stain across its corner, and an unlikely crack."""
    boxes = torch.tensor([[2.0, 3, 12, 9], [8.4, 6.6, 20, 20], [30, 30, 40.2, 45]])
    return Boxes(boxes, torch.tensor([0.9, 0.6, 0.1]), torch.tensor([0, 1, 0]))


def post_processing(**points: float) -> PostProcessing:
    ready = PostProcessing(points=OperatingPoints(TypeThresholds(0.5), **points))
    ready.entries = Vocabulary.from_names(["crack", "stain"]).entries
    return ready


def test_prediction_shows_the_best_box_at_each_pixel() -> None:
    answer = predict_from_boxes(three_boxes(), (40, 40), 3, post_processing(), CPU)
    assert answer.image_score == pytest.approx(0.9) and answer.type_id == 1
    assert answer.anomaly_map[8, 10] == pytest.approx(0.9) and answer.label_map[8, 10] == 1
    assert answer.anomaly_map[15, 15] == pytest.approx(0.6) and answer.label_map[15, 15] == 2
    assert answer.type_map[35, 35] == 1 and answer.label_map[35, 35] == 0
    assert answer.anomaly_map[0, 0] == 0
    torch.testing.assert_close(answer.type_scores, torch.tensor([0.1, 0.54, 0.36]))


def test_instances_are_all_boxes_in_whole_pixels_of_the_image() -> None:
    answer = predict_from_boxes(three_boxes(), (40, 40), 3, post_processing(), CPU)
    boxes = [one.box_xywh_px for one in answer.instances]
    assert boxes == [(2, 3, 10, 6), (8, 7, 12, 13), (30, 30, 10, 10)]
    assert [int(one.mask.sum()) for one in answer.instances] == [60, 156, 100]


def test_without_a_box_the_image_is_good() -> None:
    nothing = Boxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    answer = predict_from_boxes(nothing, (40, 30), 3, post_processing(), CPU)
    assert answer.type_id == 0 and not answer.instances and answer.image_score == 0
    assert answer.type_scores.tolist() == [1, 0, 0] and answer.label_map.shape == (40, 30)
