"""The one way from scores to a Prediction; test, predict and export all go through it.

Tiles are joined to scores of a whole image before, in `tiling.py`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from datamodules.sample import GOOD_ID, Instance, Prediction

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(slots=True)
class ImageScores:
    """Scores of one whole image, at the image's own size.

    maps: (K, H, W) in [0, 1], one per defect type, K >= 1; type_scores: (K+1,) scores of good and
    each type, summing to one.
    """

    maps: Tensor
    type_scores: Tensor


class PostProcessing(nn.Module):
    """Turns ImageScores into a Prediction with two thresholds that travel in the checkpoint."""

    pixel_threshold: Tensor
    image_threshold: Tensor

    def __init__(
        self,
        min_area_px: int = 9,
        *,
        pixel_threshold: float = 0.5,
        image_threshold: float = 0.5,
        max_instances: int = 100,
    ) -> None:
        """min_area_px: smaller components are dropped; max_instances: best ones listed."""
        super().__init__()
        self.min_area_px = min_area_px
        self.max_instances = max_instances
        self.register_buffer("pixel_threshold", torch.tensor(0.5))
        self.register_buffer("image_threshold", torch.tensor(0.5))
        self.calibrate(pixel_threshold, image_threshold)

    def calibrate(self, pixel_threshold: float, image_threshold: float) -> None:
        """Sets both thresholds, e.g. to the best ones on validation; ValueError outside [0, 1]."""
        for name, value in (("pixel", pixel_threshold), ("image", image_threshold)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} threshold is {value}: expected a number in [0, 1]")
        self.pixel_threshold.fill_(pixel_threshold)
        self.image_threshold.fill_(image_threshold)

    def forward(self, scores: ImageScores) -> Prediction:
        """The image's labels, instances and answer.

        The image score is half `1 - type_scores[good]`, half the peak of the anomaly map: the
        first sees the whole image, the second small defects. Instances come best first.
        """
        anomaly_map, best_type = scores.maps.max(dim=0)
        image_score = 0.5 * (1.0 - scores.type_scores[GOOD_ID]) + 0.5 * anomaly_map.max()
        found = anomaly_map >= self.pixel_threshold
        labels = torch.where(found, best_type + 1, GOOD_ID).to(torch.int64)
        kept, instances = split_into_instances(
            labels.cpu().numpy(), anomaly_map.detach().float().cpu().numpy(), self.min_area_px
        )
        is_defective = bool(image_score >= self.image_threshold)
        return Prediction(
            label_map=torch.from_numpy(kept).to(labels.device),
            anomaly_map=anomaly_map,
            image_score=float(image_score),
            type_scores=scores.type_scores,
            type_id=1 + int(scores.type_scores[1:].argmax()) if is_defective else GOOD_ID,
            instances=instances[: self.max_instances],
        )


def split_into_instances(
    labels: np.ndarray, anomaly_map: np.ndarray, min_area_px: int
) -> tuple[np.ndarray, list[Instance]]:
    """The label map without components under `min_area_px`, and the others as Instances.

    labels: (H, W) int64 class ids; anomaly_map: (H, W). Components are 8-connected within one
    class; an instance's score is the mean of the anomaly map inside it; masks are on the CPU.
    """
    kept = np.zeros_like(labels)
    instances: list[Instance] = []
    for class_id in np.unique(labels[labels != GOOD_ID]):
        regions, _ = ndimage.label(labels == class_id, structure=EIGHT_NEIGHBOURS)
        for index, window in enumerate(ndimage.find_objects(regions), start=1):
            inside = regions[window] == index
            if inside.sum() < min_area_px:
                continue
            kept[window][inside] = class_id
            mask = np.zeros(labels.shape, dtype=bool)
            mask[window] = inside
            rows, columns = window
            instances.append(
                Instance(
                    class_id=int(class_id),
                    score=float(anomaly_map[window][inside].mean()),
                    mask=torch.from_numpy(mask),
                    box_xywh_px=(
                        columns.start,
                        rows.start,
                        columns.stop - columns.start,
                        rows.stop - rows.start,
                    ),
                )
            )
    instances.sort(key=lambda instance: instance.score, reverse=True)
    return kept, instances
