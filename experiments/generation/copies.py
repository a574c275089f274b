"""Memorisation: which training image is nearest to a generated one, and is it copied.

Two tests. The soft one compares distances of features with those of real images that were held
out. The hard one asks the fingerprints that guard the splits (`datamodules/preparing`): it sees
copies that are turned by quarters or mirrored, not those turned by some degrees or zoomed.

Where images are compared as crops, a copied crop is hardly ever the very one that was cut for
comparison: then the most similar places of the whole training images are searched too.
"""

import math
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
import torch
from torch import Tensor

from datamodules.preparing.duplicates import EVEN_DEVIATION, LARGEST_FAMILY
from datamodules.preparing.fingerprints import (
    BROAD,
    FINE,
    TURNS,
    fingerprint,
    look_at,
    turned,
    turned_rows,
)
from experiments.generation.views import RealViews, ViewFeatures, Views
from lightning_modules.metrics.generation import nearest_neighbours

NO_COPY = -1
QUERY_BLOCK = 64
# Features know little of turned images: they choose only where there are more than these.
PRESELECTED_IMAGES, SEARCHED_IMAGES = 1000, 3
# A view's side while all images are searched, and while one is. At 16 px the crop's own image
# (or another exposure of the same part) was among the first 3 in 8 of 10 magnetic tiles.
COARSE_PX, SEARCH_PX = 16, 64
COARSE_SURROUND_PX = 3.0


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of N views the nearest training view, and which training image is copied.

    distance: (N,) 1 - cosine of features; index: (N,) into the training views; copied: (N,) the
    training image that the view copies, NO_COPY where it copies none.
    """

    distance: Tensor
    index: Tensor
    copied: np.ndarray


def find_neighbours(
    features: ViewFeatures, train_features: ViewFeatures, *, views: Views, train: RealViews
) -> Neighbours:
    """The nearest training view of each view, and the training image that it copies."""
    distance, index = nearest_neighbours(features.features, train_features.features)
    images, windows = np.empty((0, len(views)), int), np.empty((0, len(views), 48, 48), np.uint8)
    if train.is_cropped:
        images, windows = search_windows(features, train_features, views=views, train=train)
    copied = find_copies(features.thumbnails, train_features.thumbnails, images, windows)
    return Neighbours(distance[:, 0], index[:, 0], copied)


def find_copies(
    thumbnails: np.ndarray, references: np.ndarray, images: np.ndarray, windows: np.ndarray
) -> np.ndarray:
    """Which of M training images each of N views copies: (N,), or NO_COPY.

    thumbnails: (N, 48, 48); references: (M, 48, 48), of the training views; windows:
    (A, N, 48, 48), of places in the training images (A, N) that are like the view. The rule of
    `duplicates.py`: a copy is far nearer than the many similar images of its product. These are
    looked for among the references alone, so that a generator which repeats one copy a hundred
    times can't make it look common. Images of one even grey are nobody's copies.
    """
    copied = np.full(len(thumbnails), NO_COPY)
    for look in (BROAD, FINE):
        rows = look_at(thumbnails, look)
        nearest, place = nearest_in_turns(rows, look_at(references, look))
        best, background = nearest[:, 0].copy(), nearest[:, -1]
        for image, window in zip(images, windows, strict=True):
            others = look_at(window, look).astype(np.float32)
            turns = [(turned_rows(rows, turn) * others).sum(1) for turn in range(len(TURNS))]
            similarity = np.max(turns, axis=0)
            place = np.where(similarity > best, image, place)
            best = np.maximum(best, similarity)
        least = np.maximum(background, look.smallest_background)
        is_near = 1 - best < look.largest_ratio * (1 - least)
        copied = np.where(is_near | (best > look.certain_similarity), place, copied)
    copied[thumbnails.std(axis=(1, 2)) < EVEN_DEVIATION] = NO_COPY
    return copied


def nearest_in_turns(rows: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Similarities (N, kept) of each row to its nearest references over all turns, best first.

    And the place (N,) of the best. kept: a family of copies and one more, who is none.
    """
    kept = min(1 + min(LARGEST_FAMILY, max(1, len(references) // 4)), len(references))
    columns = torch.from_numpy(references.astype(np.float32)).T
    nearest, places = [], []
    for block in np.array_split(rows, math.ceil(len(rows) / QUERY_BLOCK)):
        turns = [torch.from_numpy(turned_rows(block, turn)) for turn in range(len(TURNS))]
        similarity = reduce(torch.maximum, (turn @ columns for turn in turns))
        best = similarity.topk(kept, dim=1)
        nearest.append(best.values.numpy())
        places.append(best.indices[:, 0].numpy())
    return np.concatenate(nearest), np.concatenate(places)


def search_windows(
    features: ViewFeatures, train_features: ViewFeatures, *, views: Views, train: RealViews
) -> tuple[np.ndarray, np.ndarray]:
    """For each of N views the A most similar training images, and their most similar places.

    views: squares of one size. The images (A, N), the places' thumbnails (A, N, 48, 48). About
    2 kB of every training image are kept.
    """
    kept = min(PRESELECTED_IMAGES, len(train))
    _, candidates = nearest_neighbours(features.features, train_features.features, kept=kept)
    scale = COARSE_PX / views[0].pixels.shape[0]
    coarse: dict[int, np.ndarray] = {}
    images, windows = [], []
    for number, row in enumerate(candidates.tolist()):
        pixels = views[number].pixels
        template, scores = equalised(pixels, scale), {}
        for image in row:
            if image not in coarse:
                coarse[image] = equalised(train.whole(image), scale)
            scores[image] = best_place(reflected(coarse[image], COARSE_PX), template)[0]
        images.append(sorted(row, key=lambda image: -scores[image])[:SEARCHED_IMAGES])
        found = [most_similar_window(train.whole(image), pixels) for image in images[-1]]
        windows.append([fingerprint(window).thumbnail for window in found])
    return np.array(images).T, np.array(windows).swapaxes(0, 1)


def equalised(pixels: np.ndarray, scale: float) -> np.ndarray:
    """A small grey copy, float32, with local contrast made equal: light tells nothing of copies."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = shrunk(grey, scale).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), COARSE_SURROUND_PX)
    contrast = cv2.GaussianBlur(detail * detail, (0, 0), COARSE_SURROUND_PX)
    return detail / np.sqrt(contrast + 1)


def most_similar_window(image: np.ndarray, view: np.ndarray) -> np.ndarray:
    """The window of image (H, W, 3), as large as the square view, that is most like it.

    In any turn; by correlation of grey values, first on small copies, then pixel by pixel around
    the best place. An image smaller than the view is reflected, as crops for training are.
    """
    side = view.shape[0]
    image = reflected(image, side)
    grey, template = (cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) for pixels in (image, view))
    step = max(1, side // SEARCH_PX)
    _, place = best_place(shrunk(grey, 1 / step), shrunk(template, 1 / step))
    left, top = (max(0, (value - 1) * step) for value in place)
    around = grey[top : top + side + 2 * step, left : left + side + 2 * step]
    if min(around.shape) < side:  # rounding has led out of the image
        left, top = min(left, grey.shape[1] - side), min(top, grey.shape[0] - side)
        around = grey[top:, left:]
    _, (shift_x, shift_y) = best_place(around, template)
    left, top = left + shift_x, top + shift_y
    return image[top : top + side, left : left + side]


def best_place(grey: np.ndarray, template: np.ndarray) -> tuple[float, tuple[int, int]]:
    """The highest correlation of the template, in any turn, in a grey image; its (left, top)."""
    found = []
    for turn in range(len(TURNS)):
        one = np.ascontiguousarray(turned(template, turn))
        scores = cv2.matchTemplate(grey, one, cv2.TM_CCOEFF_NORMED)
        _, score, _, (left, top) = cv2.minMaxLoc(scores)
        found.append((float(score), (int(left), int(top))))
    return max(found)


def reflected(image: np.ndarray, side_px: int) -> np.ndarray:
    """The image, reflected at its lower and right rim where it is smaller than the side."""
    low, wide = (max(0, side_px - length) for length in image.shape[:2])
    return cv2.copyMakeBorder(image, 0, low, 0, wide, cv2.BORDER_REFLECT_101)


def shrunk(pixels: np.ndarray, scale: float) -> np.ndarray:
    """The image (H, W, ...) at that scale, at least one pixel each way."""
    height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
