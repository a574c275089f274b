"""How far an exported file's answers are from the trained model's, stage by stage, and may be."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from datamodules.sample import Instance, Prediction
from datamodules.whole_files import write_whole
from experiments.inference.exported_model import open_exported
from experiments.tables import Table
from lightning_modules.nets.post_processing import ImageScores
from lightning_modules.segmentation_module import SegmentationModule

# By stage: the difference that float files and int8 files may have.
TOLERANCES = {
    "pixel score, largest": (1e-3, 1.0),
    "pixel score, mean of an image": (1e-4, 0.05),
    "type score": (1e-3, 0.25),
    "image score": (1e-3, 0.25),
    "label map, share of an image": (1e-3, 0.1),
    "instances, share without a like one": (0.01, 0.25),
    "answers, share of images": (0.0, 0.05),
}
# Of these one image says nothing: the difference is over all.
OVER_ALL = tuple(TOLERANCES)[-2:]
LIKE_IOU = 0.75
Found = tuple[ImageScores, Prediction]


def measure_parity(
    trained: SegmentationModule, files: Mapping[str, Path], images: Iterable[Tensor]
) -> tuple[dict[str, dict[str, float]], int]:
    """By format, by stage: the largest difference of an image, or of OVER_ALL the share.

    With the number of images (3, H, W) in [-1, 1]; ValueError for none.
    """
    opened = {one: open_exported(file) for one, file in files.items()}
    rows: dict[str, list[list[tuple[float, int]]]] = {one: [] for one in opened}
    for image in images:
        right = find(trained, image)
        for one, model in opened.items():
            rows[one].append(compare(right, find(model, image)))
    if not all(rows.values()):
        raise ValueError("there is no image to compare by: name some with --parity_images")
    count = max(map(len, rows.values()))
    return {one: summarise(columns) for one, columns in rows.items()}, count


@torch.inference_mode()
def find(model: SegmentationModule, image: Tensor) -> Found:
    """Scores of an image and what becomes of them."""
    (scores,) = model.image_scores([image])
    return scores, model.post_processing(scores)


def compare(right: Found, other: Found) -> list[tuple[float, int]]:
    """By stage the difference of one image, and how many things it is a share of."""
    (scores, found), (other_scores, other_found) = right, other
    pixels = (scores.anomaly_map - other_scores.anomaly_map).abs()
    types = (scores.type_scores - other_scores.type_scores).abs()
    labels = (found.label_map != other_found.label_map).float()
    regions = len(found.instances) + len(other_found.instances)
    alone = regions - 2 * like_pairs(found.instances, other_found.instances)
    return [
        (float(pixels.max()), 1),
        (float(pixels.mean()), 1),
        (float(types.max()), 1),
        (abs(found.image_score - other_found.image_score), 1),
        (float(labels.mean()), 1),
        (alone, regions),
        (int(found.type_id != other_found.type_id), 1),
    ]


def like_pairs(ours: list[Instance], others: list[Instance]) -> int:
    """How many regions have one of the same name with IoU of LIKE_IOU or more; each has one."""
    return sum(
        any(
            one.class_id == other.class_id
            and (one.mask & other.mask).sum() >= LIKE_IOU * (one.mask | other.mask).sum()
            for other in others
        )
        for one in ours
    )


def summarise(images: list[list[tuple[float, int]]]) -> dict[str, float]:
    """By stage the largest difference, or the share over all images."""
    summary = {}
    for stage, column in zip(TOLERANCES, zip(*images, strict=True), strict=True):
        differences, counts = zip(*column, strict=True)
        of_all = sum(differences) / max(1, sum(counts))
        summary[stage] = of_all if stage in OVER_ALL else max(differences)
    return summary


def check_parity(found: Mapping[str, Mapping[str, float]]) -> None:
    """ValueError for the first format and stage that is off by more than its tolerance, or nan."""
    for one, stages in found.items():
        for stage, difference in stages.items():
            limit = limit_of(stage, one)
            if math.isnan(difference) or difference > limit:
                raise ValueError(
                    f"{one} is not written: {stage} differs by {difference:.2g} from the trained "
                    f"model, expected {limit:g} at most; export without it, or train longer: near "
                    "a threshold small differences count"
                )


def limit_of(stage: str, format_name: str) -> float:
    """The tolerance of a stage in a format."""
    return TOLERANCES[stage][format_name.endswith("int8")]


def parity_table(found: Mapping[str, Mapping[str, float]], images: int) -> Table:
    """A row for each stage, a column for each format, tolerances beside."""
    columns = ("stage", *found, "tolerance: float", "int8")
    rows = tuple(
        (stage, *(f"{stages[stage]:.2g}" for stages in found.values()), *map(str, limits))
        for stage, limits in TOLERANCES.items()
    )
    return Table(f"Largest difference to the trained model over {images} images", columns, rows)


def write_parity(file: Path, found: Mapping[str, Mapping[str, float]], images: int) -> None:
    """The differences beside their tolerances as JSON."""
    content = {
        "images": images,
        "formats": {
            one: {
                stage: {"difference": value, "tolerance": limit_of(stage, one)}
                for stage, value in stages.items()
            }
            for one, stages in found.items()
        },
    }
    write_whole(file, json.dumps(content, indent=2) + "\n")
