"""The one way from scores to a Prediction; test, predict and export all go through it.

Tiles are joined to scores of a whole image before, in `tiling.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from datamodules.sample import GOOD_ID, Instance, Prediction
from lightning_modules.nets.operating_points import OperatingPoints, TypeThresholds

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(slots=True)
class ImageScores:
    """Scores of one whole image, at the image's own size.

    anomaly_map: (H, W) in [0, 1], the best defect type's score; type_map: (H, W) int64, which type
    that is, 1..K; type_scores: (K+1,) scores of good and each type, summing to one.
    """

    anomaly_map: Tensor
    type_map: Tensor
    type_scores: Tensor


class PostProcessing(nn.Module):
    """Turns ImageScores into a Prediction, by thresholds of types and of the image.

    Those of types without their own travel in the checkpoint; all others lie beside the weights
    (`operating_points.py`) and are found by name.
    """

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
        self.entries: tuple[tuple[str, ...], ...] = ()
        self.register_buffer("pixel_threshold", torch.tensor(0.5))
        self.register_buffer("image_threshold", torch.tensor(0.5))
        self.calibrate(OperatingPoints(TypeThresholds(pixel_threshold), image_threshold))

    def calibrate(self, points: OperatingPoints) -> None:
        """Answers by these thresholds from now on."""
        self.points = points
        self.pixel_threshold.fill_(points.default.pixel)
        self.image_threshold.fill_(points.image)

    def name_types(self, entries: tuple[tuple[str, ...], ...]) -> None:
        """Takes the words of each class, good first; what was calibrated for them holds again."""
        self.entries = entries

    def type_thresholds(self, type_count: int) -> tuple[Tensor, Tensor]:
        """Pixel and alarm thresholds (K+1,) of good, which has none, and of each type."""
        own = [self.points.of_entry(words) for words in self.entries[: type_count + 1]]
        own += [None] * (type_count + 1 - len(own))
        pixel, default_alarm = float(self.pixel_threshold), self.points.default.alarm
        return (
            torch.tensor([pixel if one is None else one.pixel for one in own]),
            torch.tensor([default_alarm if one is None else one.alarm for one in own]),
        )

    def forward(self, scores: ImageScores) -> Prediction:
        """The image's labels, instances and answer.

        A pixel has its best type where the anomaly map reaches that type's pixel threshold; a
        component stays where its peak reaches the alarm threshold. The image score is half
        `1 - type_scores[good]`, half the peak of the anomaly map: the first sees the whole image,
        the second small defects. Instances come best first. Beside the scores the image keeps 8
        bytes per pixel for its labels and one for each instance that is listed.
        """
        anomaly_map, type_map = scores.anomaly_map, scores.type_map
        image_score = float(0.5 * (1.0 - scores.type_scores[GOOD_ID]) + 0.5 * anomaly_map.max())
        pixel, alarm = self.type_thresholds(len(scores.type_scores) - 1)
        found = anomaly_map >= pixel.to(anomaly_map)[type_map]
        labels, instances = split_into_instances(
            torch.where(found, type_map, GOOD_ID).cpu().numpy(),
            anomaly_map.detach().float().cpu().numpy(),
            min_area_px=self.min_area_px,
            alarms=alarm.tolist(),
            max_instances=self.max_instances,
        )
        is_defective = image_score >= float(self.image_threshold)
        return Prediction(
            label_map=torch.from_numpy(labels).to(type_map.device),
            anomaly_map=anomaly_map,
            image_score=image_score,
            type_scores=scores.type_scores,
            type_id=1 + int(scores.type_scores[1:].argmax()) if is_defective else GOOD_ID,
            type_map=type_map,
            instances=instances,
            needs_review=self.points.needs_review(image_score),
        )


@dataclass(slots=True)
class Component:
    """One connected region of a class: where it lies, and which pixels of there are inside."""

    class_id: int
    score: float
    window: tuple[slice, slice]
    inside: np.ndarray


def split_into_instances(
    labels: np.ndarray,
    anomaly_map: np.ndarray,
    *,
    min_area_px: int,
    alarms: Sequence[float],
    max_instances: int,
) -> tuple[np.ndarray, list[Instance]]:
    """The label map of the components that stay, and the best `max_instances` as Instances.

    labels: (H, W) int64 class ids; anomaly_map: (H, W); alarms: one per class, the least peak.
    An instance's score is the mean of the anomaly map inside it; masks are on the CPU.
    """
    kept = np.zeros_like(labels)
    components: list[Component] = []
    for one in find_components(labels, anomaly_map):
        peak = anomaly_map[one.window][one.inside].max()
        if one.inside.sum() >= min_area_px and peak >= np.float32(alarms[one.class_id]):
            kept[one.window][one.inside] = one.class_id
            components.append(one)
    components.sort(key=lambda one: one.score, reverse=True)
    # A mask has the image's size: only those that are listed get one.
    return kept, [_as_instance(one, labels.shape) for one in components[:max_instances]]


def find_components(labels: np.ndarray, anomaly_map: np.ndarray) -> Iterator[Component]:
    """The components of the label map, 8-connected within one class.

    labels: (H, W) int64 class ids; anomaly_map: (H, W).
    """
    for class_id in np.unique(labels[labels != GOOD_ID]):
        regions, _ = ndimage.label(labels == class_id, structure=EIGHT_NEIGHBOURS)
        for index, window in enumerate(ndimage.find_objects(regions), start=1):
            inside = regions[window] == index
            score = float(anomaly_map[window][inside].mean())
            yield Component(int(class_id), score, window, inside)


def _as_instance(one: Component, shape: tuple[int, ...]) -> Instance:
    mask = np.zeros(shape, dtype=bool)
    mask[one.window] = one.inside
    rows, columns = one.window
    box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return Instance(one.class_id, one.score, torch.from_numpy(mask), box)
