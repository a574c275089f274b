"""Images with random defects and anomaly maps as a middling net would draw them, for metrics."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from datamodules.sample import GOOD_ID, Batch, Prediction

DEFECT_TYPE = 1
DISCS_PER_SCENE = 3
# Logits of good pixels, of defects above them, and of both's noise: pixel AUROC is about 0.9.
GOOD_LOGIT, DEFECT_LOGIT, NOISE_LOGIT = -3.0, 3.0, 1.5


@dataclass(frozen=True, slots=True)
class ScoredScenes:
    """Truth and predictions of the same images; one in four is good."""

    batch: Batch
    predictions: list[Prediction]

    @property
    def scores(self) -> Tensor:
        """The anomaly maps, (B, H, W) in [0, 1]."""
        return torch.stack([prediction.anomaly_map for prediction in self.predictions])

    @property
    def is_defect(self) -> Tensor:
        """The truth, (B, H, W) bool."""
        return self.batch.mask != GOOD_ID


def scored_scenes(count: int, *, side_px: int, seed: int = 0) -> ScoredScenes:
    """`count` scenes of `side_px` square, the same for the same seed."""
    dice = np.random.default_rng(seed)
    masks = [
        draw_defects(dice, side_px, 0 if i % 4 == 3 else DISCS_PER_SCENE) for i in range(count)
    ]
    is_defective = [bool(mask.any()) for mask in masks]
    batch = Batch(
        image=torch.zeros(count, 3, 0, 0),
        mask=torch.from_numpy(np.stack(masks)).long() * DEFECT_TYPE,
        has_mask=torch.ones(count, dtype=torch.bool),
        is_box=torch.zeros(count, dtype=torch.bool),
        captions=[""] * count,
        class_ids=[(DEFECT_TYPE,) if found else () for found in is_defective],
        row=torch.arange(count),
        seeds=list(range(count)),
    )
    return ScoredScenes(batch, [predict(score_pixels(dice, mask)) for mask in masks])


def draw_defects(dice: np.random.Generator, side_px: int, discs: int) -> np.ndarray:
    """(H, W) bool, `discs` discs of an eighth of the side at most, which may touch."""
    rows, columns = np.mgrid[:side_px, :side_px]
    mask = np.zeros((side_px, side_px), dtype=bool)
    for y, x, radius in dice.uniform((0, 0, 0.02), (1, 1, 0.12), (discs, 3)) * side_px:
        mask |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return mask


def score_pixels(dice: np.random.Generator, mask: np.ndarray) -> Tensor:
    """(H, W) in [0, 1]: smooth noise, higher where a blurred defect is."""
    noise = ndimage.gaussian_filter(dice.standard_normal(mask.shape), 3.0)
    defect = ndimage.gaussian_filter(mask.astype(float), 2.0)
    logits = GOOD_LOGIT + DEFECT_LOGIT * defect + NOISE_LOGIT * noise / noise.std()
    return torch.from_numpy(logits).float().sigmoid()


def predict(anomaly_map: Tensor) -> Prediction:
    """The prediction of a net with one type that draws this map."""
    peak = anomaly_map.max()
    found = (anomaly_map >= 0.5).long() * DEFECT_TYPE
    return Prediction(
        label_map=found,
        anomaly_map=anomaly_map,
        image_score=float(peak),
        type_scores=torch.stack([1 - peak, peak]),
        type_id=int(found.max()),
        type_map=torch.full_like(found, DEFECT_TYPE),
    )
