"""What a user gets for one image: names, masks, boxes and scores, as arrays and plain numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from callbacks.drawing import RegionTag, draw_overlay
from datamodules.sample import Prediction


@dataclass(frozen=True, slots=True)
class NamedInstance:
    """One connected defect: mask (H, W) bool; box in pixels as (x, y, width, height)."""

    name: str
    class_id: int
    score: float
    mask: np.ndarray
    box_xywh_px: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer for one image, at the image's own size.

    name: what the image shows, a defect's name or "good"; image_score: in [0, 1], high for
    defective; needs_review: too close to call, a person should look; instances: best first;
    names: by class id, "good" first; type_scores: (K+1,), summing to one; label_map: (H, W) int64
    class ids; type_map: (H, W) int64, the best type at each pixel whatever its score; anomaly_map:
    (H, W) float32 in [0, 1]; picture: (H, W, 3) uint8, what was looked at.
    """

    name: str
    image_score: float
    needs_review: bool
    instances: tuple[NamedInstance, ...]
    names: tuple[str, ...]
    type_scores: np.ndarray
    label_map: np.ndarray
    type_map: np.ndarray
    anomaly_map: np.ndarray
    picture: np.ndarray

    def draw(self) -> np.ndarray:
        """The picture with coloured regions, outlines, names and scores, (H, W, 3) uint8."""
        tags = [
            RegionTag(f"{one.name} {one.score:.2f}", one.class_id, one.box_xywh_px)
            for one in self.instances
        ]
        return draw_overlay(self.picture, self.label_map, tags)


def answer_of(prediction: Prediction, names: Sequence[str], picture: np.ndarray) -> Answer:
    """The prediction for `picture` (H, W, 3) in words; its arrays on the CPU."""
    instances = tuple(
        NamedInstance(
            names[one.class_id], one.class_id, one.score, one.mask.cpu().numpy(), one.box_xywh_px
        )
        for one in prediction.instances
    )
    return Answer(
        name=names[prediction.type_id],
        image_score=prediction.image_score,
        needs_review=prediction.needs_review,
        instances=instances,
        names=tuple(names),
        type_scores=prediction.type_scores.float().cpu().numpy(),
        label_map=prediction.label_map.cpu().numpy(),
        type_map=prediction.type_map.cpu().numpy(),
        anomaly_map=prediction.anomaly_map.float().cpu().numpy(),
        picture=picture,
    )
