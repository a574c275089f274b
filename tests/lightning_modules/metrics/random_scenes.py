"""Images with defects of three types, and answers that miss, shift, rename and invent some."""

import numpy as np
import torch

from datamodules.sample import Batch, Prediction
from lightning_modules.nets.post_processing import ImageScores, PostProcessing
from tests.lightning_modules.small_parts import batch_of

NAMES = ("good", "crack", "stain", "dent")
Box = tuple[int, int, int, int]


def random_scenes(
    seed: int, count: int = 6, *, side_px: int = 96, regions: int = 4
) -> tuple[list[Prediction], Batch]:
    """Square images, every fifth of them good; the answers went through the post-processing."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((count, side_px, side_px), dtype=np.int64)
    predictions = []
    for index, truth in enumerate(mask):
        answer, heat = truth.copy(), generator.uniform(0, 0.4, truth.shape)
        for _ in range(regions if index % 5 < 4 else 0):
            class_id, box = int(generator.integers(1, 4)), random_box(generator, side_px)
            paint(truth, box, class_id)
            if generator.random() < 0.8:
                shifted = tuple(int(n) for n in np.array(box) + generator.integers(-2, 3, 4))
                named = class_id if generator.random() < 0.9 else int(generator.integers(1, 4))
                paint(answer, shifted, named)
                paint(heat, shifted, generator.uniform(0.5, 1))
        if generator.random() < 0.5:
            box = random_box(generator, side_px)
            paint(answer, box, int(generator.integers(1, 4)))
            paint(heat, box, generator.uniform(0.5, 0.9))
        predictions.append(answer_of(answer, heat, generator.dirichlet(np.ones(4))))
    return predictions, batch_of(mask)


def random_box(generator: np.random.Generator, side_px: int) -> Box:
    """Left, top, width and height of a box inside the image, of up to half its side."""
    width, height = generator.integers(4, side_px // 2, 2)
    left, top = (int(generator.integers(0, side_px - size)) for size in (width, height))
    return left, top, int(width), int(height)


def paint(pixels: np.ndarray, box: Box | tuple[int, ...], value: float) -> None:
    """Fill the box, cut to the image, and at least one pixel wide."""
    left, top, width, height = box
    top, left = max(top, 0), max(left, 0)
    pixels[top : top + max(height, 1), left : left + max(width, 1)] = value


def answer_of(class_map: np.ndarray, heat: np.ndarray, type_scores: np.ndarray) -> Prediction:
    """The prediction whose type map is `class_map` where it names one."""
    type_map = torch.from_numpy(np.maximum(class_map, 1))
    scores = torch.from_numpy(type_scores).float()
    return PostProcessing()(ImageScores(torch.from_numpy(heat).float(), type_map, scores))
