"""Predictions as one COCO JSON: RLE masks, boxes, scores and names, readable by pycocotools."""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as rle

from datamodules.sample import GOOD_ID, Prediction
from datamodules.vocabulary import Vocabulary


class CocoFile:
    """Collects predictions image by image and writes them as a COCO detection data set.

    Beside COCO's own keys each image carries `answer`, `image_score` and `type_scores`.
    Categories are the defect types under their class ids; good has none.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._names = vocabulary.names
        self._categories = [
            {"id": class_id, "name": entry[0], "synonyms": list(entry[1:])}
            for class_id, entry in enumerate(vocabulary.entries)
            if class_id != GOOD_ID
        ]
        self._images: list[dict[str, object]] = []
        self._annotations: list[dict[str, object]] = []

    def add(self, file_name: str, prediction: Prediction) -> None:
        """Adds one image with its instances."""
        height, width = prediction.label_map.shape
        image_id = len(self._images) + 1
        scores = prediction.type_scores.tolist()
        self._images.append(
            {
                "id": image_id,
                "file_name": file_name,
                "width": width,
                "height": height,
                "answer": self._names[prediction.type_id],
                "image_score": prediction.image_score,
                "type_scores": dict(zip(self._names, scores, strict=True)),
            }
        )
        for instance in prediction.instances:
            mask = np.asfortranarray(instance.mask.cpu().numpy().astype(np.uint8))
            encoded = rle.encode(mask)
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": instance.class_id,
                    "segmentation": {
                        "size": list(encoded["size"]),
                        "counts": encoded["counts"].decode("ascii"),
                    },
                    "area": int(mask.sum()),
                    "bbox": list(instance.box_xywh_px),
                    "iscrowd": 0,
                    "score": instance.score,
                }
            )

    def write(self, path: Path) -> None:
        """Writes everything that was added."""
        content = {
            "info": {"description": "defects found by experiments.predict"},
            "images": self._images,
            "categories": self._categories,
            "annotations": self._annotations,
        }
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
