"""Results as files that people and programs read: label maps, overlays, a table, COCO.

Each function opens one kind of file and gives what takes an image and its result; all is written
when its `with` block ends. `report_page.py` and `labelling_tools.py` write alike.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from callbacks.drawing import class_color
from datamodules.sample import GOOD_ID
from datamodules.vocabulary import Vocabulary
from experiments.inference.inputs import InputImage
from experiments.predictor import NamedInstance, Result

COLUMNS = ("image", "answer", "image_score", "needs_review", "defects", "best_defect_score")
AddResult = Callable[[InputImage, Result], None]


@contextmanager
def label_and_overlay_files(folder: Path) -> Iterator[AddResult]:
    """`labels/<name>.png` of class ids and `overlays/<name>.png` to look at, below the folder."""

    def add(image: InputImage, result: Result) -> None:
        drawn = {
            "labels": label_image(result.label_map, len(result.names)),
            "overlays": Image.fromarray(result.draw()),
        }
        for kind, pixels in drawn.items():
            path = folder / kind / f"{image.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels.save(path)

    yield add


def label_image(label_map: np.ndarray, class_count: int) -> Image.Image:
    """Class ids as a palette image whose indices are the ids; 16-bit grey above 256 classes."""
    if class_count > 256:
        return Image.fromarray(label_map.astype(np.uint16))
    image = Image.fromarray(label_map.astype(np.uint8), mode="L")
    colors = [(0, 0, 0), *(class_color(class_id) for class_id in range(1, class_count))]
    image.putpalette([channel for color in colors for channel in color])
    return image


@contextmanager
def results_table(path: Path) -> Iterator[AddResult]:
    """A CSV of COLUMNS, which `--images` takes as a list; defects are parted by ";"."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)

        def add(image: InputImage, result: Result) -> None:
            score, review = f"{result.image_score:.4f}", int(result.needs_review)
            best = f"{result.instances[0].score:.4f}" if result.instances else ""
            defects = "; ".join(count_defects(result))
            writer.writerow((image.file_name, result.name, score, review, defects, best))

        yield add


def count_defects(result: Result) -> list[str]:
    """How many defects of each name there are, most first: ["3 crack", "1 pit"]."""
    counts = Counter(one.name for one in result.instances)
    return [f"{count} {name}" for name, count in counts.most_common()]


@contextmanager
def coco_file(
    path: Path, vocabulary: Vocabulary, *, is_compressed: bool = True
) -> Iterator[AddResult]:
    """A COCO JSON for pycocotools, CVAT and training: `sources/coco.py` reads it pixel for pixel.

    Beside COCO's own keys each image carries `answer`, `image_score`, `needs_review` and
    `type_scores`, each annotation `score` and `runners_up`. Categories are the defect types under
    their class ids; good has none.
    """
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    encode = compressed if is_compressed else uncompressed

    def add(image: InputImage, result: Result) -> None:
        height, width = result.label_map.shape
        found = {
            "id": len(images) + 1,
            "file_name": image.file_name,
            "width": width,
            "height": height,
            "license": 0,
            "answer": result.name,
            "image_score": result.image_score,
            "needs_review": result.needs_review,
            "type_scores": dict(zip(result.names, result.type_scores.tolist(), strict=True)),
        }
        images.append(found)
        for one in result.instances:
            number = len(annotations) + 1
            annotations.append({"id": number, "image_id": len(images), **annotation(one, encode)})

    yield add
    content = {
        # CVAT's reader stops at a file without licences, be they empty.
        "licenses": [{"id": 0, "name": "", "url": ""}],
        "info": {"description": "defects found by experiments.predict", "version": "1"},
        "categories": [
            {"id": class_id, "name": words[0], "supercategory": "", "synonyms": list(words[1:])}
            for class_id, words in enumerate(vocabulary.entries)
            if class_id != GOOD_ID
        ],
        "images": images,
        "annotations": annotations,
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def annotation(
    instance: NamedInstance, encode: Callable[[np.ndarray], dict[str, object]]
) -> dict[str, object]:
    """A region as COCO has it; encode: of its mask."""
    return {
        "category_id": instance.class_id,
        "segmentation": encode(instance.mask),
        "area": int(instance.mask.sum()),
        "bbox": list(instance.box_xywh_px),
        "iscrowd": 0,
        "score": instance.score,
        "runners_up": dict(instance.runners_up),
    }


def compressed(mask: np.ndarray) -> dict[str, object]:
    """COCO's compressed run lengths of mask (H, W) bool."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}


def uncompressed(mask: np.ndarray) -> dict[str, object]:
    """COCO's run lengths of mask (H, W) bool as a list: background first, down the columns."""
    flat = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": list(mask.shape), "counts": np.diff([0, *edges, mask.size]).tolist()}
