"""Answers as one COCO JSON: masks, boxes, scores and names, for pycocotools, CVAT, and training.

`datamodules/sources/coco.py` reads it back, pixel for pixel.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from datamodules.sample import GOOD_ID
from datamodules.vocabulary import Vocabulary
from experiments.answering.answer import Answer, NamedInstance
from experiments.answering.inputs import AskedImage

RunLengths = dict[str, object]


class CocoFile:
    """Collects answers image by image and writes them as a COCO detection data set at the end.

    Beside COCO's own keys each image carries `answer`, `image_score`, `needs_review` and
    `type_scores`. Categories are the defect types under their class ids; good has none.
    """

    def __init__(
        self, path: Path, vocabulary: Vocabulary, *, encode: Callable[[np.ndarray], RunLengths]
    ) -> None:
        self._path = path
        self._encode = encode
        self._categories = [
            {"id": class_id, "name": entry[0], "supercategory": "", "synonyms": list(entry[1:])}
            for class_id, entry in enumerate(vocabulary.entries)
            if class_id != GOOD_ID
        ]
        self._images: list[dict[str, object]] = []
        self._annotations: list[dict[str, object]] = []

    def add(self, image: AskedImage, answer: Answer) -> None:
        """Adds one image with its instances."""
        height, width = answer.label_map.shape
        scores = answer.type_scores.tolist()
        self._images.append(
            {
                "id": len(self._images) + 1,
                "file_name": image.file_name,
                "width": width,
                "height": height,
                "license": 0,
                "answer": answer.name,
                "image_score": answer.image_score,
                "needs_review": answer.needs_review,
                "type_scores": dict(zip(answer.names, scores, strict=True)),
            }
        )
        self._annotations += [
            self._annotation(one, number)
            for number, one in enumerate(answer.instances, start=len(self._annotations) + 1)
        ]

    def _annotation(self, instance: NamedInstance, number: int) -> dict[str, object]:
        return {
            "id": number,
            "image_id": len(self._images),
            "category_id": instance.class_id,
            "segmentation": self._encode(instance.mask),
            "area": int(instance.mask.sum()),
            "bbox": list(instance.box_xywh_px),
            "iscrowd": 0,
            "score": instance.score,
        }

    def close(self) -> None:
        """Writes everything that was added."""
        content: dict[str, object] = {
            # CVAT's reader stops at a file without licences, be they empty.
            "licenses": [{"id": 0, "name": "", "url": ""}],
            "info": {"description": "defects found by experiments.predict", "version": "1"},
            "categories": self._categories,
            "images": self._images,
            "annotations": self._annotations,
        }
        self._path.write_text(json.dumps(content), encoding="utf-8")


def compressed(mask: np.ndarray) -> RunLengths:
    """COCO's compressed run lengths of mask (H, W) bool."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}


def uncompressed(mask: np.ndarray) -> RunLengths:
    """COCO's run lengths of mask (H, W) bool as a list: background first, down the columns."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff([0, *edges.tolist(), flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}
