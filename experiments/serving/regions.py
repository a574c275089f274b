"""Regions as people change them: a name and run lengths, small enough to keep for every image.

Where they are kept is `corrections.py`; who changes them is `desk.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from callbacks.drawing import RegionTag, draw_overlay, scale_to_fit
from datamodules.auditing.agreement import LEAST_IOU
from datamodules.captions import Caption
from datamodules.language.descriptors import location_of, morphology_of
from datamodules.sample import GOOD
from datamodules.vocabulary import defect_name
from experiments.inference.result_files import compressed
from experiments.predictor import NamedInstance, Result

SHOWN_PX = 900
SELECTED = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class MarkedRegion:
    """A named place; counts: COCO's compressed run lengths at the image's size.

    score, runners_up: as the machine gave them, None and none of what a person drew.
    """

    name: str
    counts: str
    score: float | None = None
    runners_up: tuple[tuple[str, float], ...] = ()

    def mask(self, size_px: tuple[int, int]) -> np.ndarray:
        """Its pixels, (H, W) bool, in an image of (height, width)."""
        return coco_mask.decode({"size": list(size_px), "counts": self.counts}).astype(bool)

    def named(self, name: str) -> "MarkedRegion":
        """The region under another name; ValueError for one that means good, or none."""
        return replace(self, name=region_name(name))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the machine said of an image: its name, score, whether a person should look, regions."""

    name: str
    image_score: float
    needs_review: bool
    regions: tuple[MarkedRegion, ...]


def region_name(text: str) -> str:
    """The one spelling of a defect's name; ValueError for one that means good, or none."""
    name = defect_name(text)
    if not name:
        raise ValueError(
            f"got the name {text!r}, expected a defect's: delete a region that is good"
        )
    return name


def drawn_region(mask: np.ndarray, name: str) -> MarkedRegion:
    """The region of a mask (H, W) bool; ValueError for no pixel, and a name that is none."""
    if not mask.any():
        raise ValueError("nothing is drawn: expected a region; paint it with the brush")
    return MarkedRegion(region_name(name), str(compressed(mask)["counts"]))


def answer_of(result: Result) -> Answer:
    """The result in so little memory that thousands are kept."""
    regions = tuple(
        MarkedRegion(one.name, str(compressed(one.mask)["counts"]), one.score, one.runners_up)
        for one in result.instances
    )
    return Answer(result.name, result.image_score, result.needs_review, regions)


def names_of(regions: Sequence[MarkedRegion]) -> list[str]:
    """The names of regions, each once, in their order."""
    return list(dict.fromkeys(one.name for one in regions))


def label_map(
    regions: Sequence[MarkedRegion], names: Sequence[str], size_px: tuple[int, int]
) -> np.ndarray:
    """(H, W) int64 class ids of the regions, the largest drawn first; names: by class id."""
    ids = np.zeros(size_px, dtype=np.int64)
    masks = sorted(((one.mask(size_px), one.name) for one in regions), key=lambda p: -p[0].sum())
    for mask, name in masks:
        ids[mask] = names.index(name)
    return ids


def type_of(regions: Sequence[MarkedRegion], size_px: tuple[int, int]) -> str:
    """The name that covers most pixels, "good" without regions."""
    names = [GOOD, *names_of(regions)]
    counts = np.bincount(label_map(regions, names, size_px).ravel(), minlength=len(names))[1:]
    return names[1 + int(counts.argmax())] if len(counts) else GOOD


def differ(
    first: Sequence[MarkedRegion], second: Sequence[MarkedRegion], size_px: tuple[int, int]
) -> bool:
    """Whether the pixels of any name overlap by less than an IoU of 0.75 (section 5.1)."""
    names = [GOOD, *names_of((*first, *second))]
    one, other = (label_map(regions, names, size_px) for regions in (first, second))
    for class_id in range(1, len(names)):
        drawn, redrawn = one == class_id, other == class_id
        if (drawn & redrawn).sum() < LEAST_IOU * (drawn | redrawn).sum():
            return True
    return False


def caption_of(
    regions: Sequence[MarkedRegion], size_px: tuple[int, int], *, product: str, material: str
) -> Caption:
    """The six fields as name and mask tell them; only people know a cause (section 5.1)."""
    if not regions:
        return Caption(product, material)
    everywhere = np.logical_or.reduce([one.mask(size_px) for one in regions])
    defects = " and ".join(names_of(regions))
    return Caption(product, material, defects, location_of(everywhere), morphology_of(everywhere))


def result_of(
    image: np.ndarray, answer: Answer, regions: Sequence[MarkedRegion], names: Sequence[str]
) -> Result:
    """The regions as `predict` would give them, for all that writes its results.

    image: (H, W, 3) uint8; names: by class id, "good" first. What people drew has the score 1.
    """
    size_px = (image.shape[0], image.shape[1])
    ids, name = label_map(regions, names, size_px), type_of(regions, size_px)
    masks = [one.mask(size_px) for one in regions]
    instances = tuple(
        NamedInstance(
            one.name,
            names.index(one.name),
            1.0 if one.score is None else one.score,
            mask,
            cv2.boundingRect(mask.astype(np.uint8)),  # type: ignore[arg-type]
            one.runners_up,
        )
        for one, mask in zip(regions, masks, strict=True)
    )
    scores = np.eye(len(names), dtype=np.float32)[names.index(name)]
    is_drawn = (ids > 0).astype(np.float32)
    return Result(
        name, answer.image_score, answer.needs_review, instances, tuple(names), scores, ids,
        is_drawn, image,
    )  # fmt: skip


def draw_regions(
    image: np.ndarray,
    regions: Sequence[MarkedRegion],
    names: Sequence[str],
    *,
    selected: int | None = None,
) -> np.ndarray:
    """The image with numbered regions, their names and scores, its longer side SHOWN_PX.

    image: (H, W, 3) uint8; names: by class id; selected: the place of the region with a white rim.
    """
    size_px = (image.shape[0], image.shape[1])
    tags, masks = [], [one.mask(size_px) for one in regions]
    for number, (one, mask) in enumerate(zip(regions, masks, strict=True), start=1):
        score = "" if one.score is None else f" {one.score:.2f}"
        box = tuple(int(side) for side in cv2.boundingRect(mask.astype(np.uint8)))
        tags.append(RegionTag(f"{number} {one.name}{score}", names.index(one.name), box))  # type: ignore[arg-type]
    scale = scale_to_fit(image, SHOWN_PX)
    drawn = draw_overlay(image, label_map(regions, names, size_px), tags, scale=scale)
    if selected is None or selected >= len(regions):
        return drawn
    shown = fitted(masks[selected], (drawn.shape[0], drawn.shape[1])).astype(np.uint8)
    contours, _ = cv2.findContours(shown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(drawn.copy(), contours, -1, SELECTED, thickness=2)


def fitted(mask: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) bool at another (height, width), bool."""
    sized = cv2.resize(mask.astype(np.uint8), size_px[::-1], interpolation=cv2.INTER_NEAREST)
    return sized.astype(bool)


def redrawn(before: np.ndarray, shown: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The mask `before` (H, W) with what a person changed on a canvas of another size.

    shown, after: (h, w) bool, the canvas when it was opened and now. What nobody touched keeps its
    own pixels, however coarse the canvas.
    """
    size_px = (before.shape[0], before.shape[1])
    is_added, is_erased = (fitted(one, size_px) for one in (after & ~shown, shown & ~after))
    return (before | is_added) & ~is_erased


def box_around(mask: np.ndarray) -> np.ndarray:
    """The smallest upright box around a mask (H, W) bool, as a mask."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    box = np.zeros_like(mask)
    box[top : top + height, left : left + width] = True
    return box
