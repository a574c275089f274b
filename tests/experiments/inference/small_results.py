"""Results as a stage gives them, for a ring-shaped defect beside a blot, and for a good part."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from datamodules.vocabulary import Vocabulary
from experiments.inference.inputs import InputImage
from experiments.predictor import NamedInstance, Result

VOCABULARY = Vocabulary.parse("pit, hole; burr; good")
SIZE_PX = (60, 80)


def ring_mask() -> np.ndarray:
    """A slanted ring with a hole."""
    y, x = np.mgrid[: SIZE_PX[0], : SIZE_PX[1]]
    distance = np.hypot((y - 30) * 1.2, x - 30 - 0.3 * (y - 30))
    return (distance < 25) & (distance > 10)


def blot_mask() -> np.ndarray:
    """A blot in the image's last corner, and a pixel that touches it at one corner only."""
    mask = np.zeros(SIZE_PX, dtype=bool)
    mask[50:, 70:] = True
    mask[49, 69] = True
    return mask


def instance(class_id: int, score: float, mask: np.ndarray) -> NamedInstance:
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    box = (left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
    return NamedInstance(VOCABULARY.names[class_id], class_id, score, mask, box)


def result_with(*instances: NamedInstance, needs_review: bool = False) -> Result:
    """The result that holds these defects, the first one its name; good without any."""
    labels = np.zeros(SIZE_PX, dtype=np.int64)
    for one in instances:
        labels[one.mask] = one.class_id
    return Result(
        name=instances[0].name if instances else "good",
        image_score=0.9 if instances else 0.1,
        needs_review=needs_review,
        instances=instances,
        names=VOCABULARY.names,
        type_scores=np.array([0.2, 0.5, 0.3], dtype=np.float32),
        label_map=labels,
        anomaly_map=(labels > 0).astype(np.float32),
        image=np.full((*SIZE_PX, 3), 90, dtype=np.uint8),
    )


def given(file_name: str) -> InputImage:
    return InputImage(file_name.rpartition(".")[0], Path("parts") / file_name)


RING = result_with(
    replace(instance(1, 0.8, ring_mask()), runners_up=(("burr", 0.25),)),
    instance(2, 0.6, blot_mask()),
)
GOOD_PART = result_with()
