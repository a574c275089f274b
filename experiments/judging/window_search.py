"""Where in a training picture a generated crop may have come from.

Needed where training pictures are seen as crops: a copied crop is hardly ever the very one that
was drawn for comparison. Whether the place found is a copy is decided in `nearest_neighbours.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.preparing.fingerprints import TURNS, fingerprint, turned
from experiments.judging.picture_sets import Described, PictureSet
from lightning_modules.metrics.generation import nearest_neighbours

# Features know little of turned pictures: they choose only where there are more than these.
PRESELECTED_PICTURES = 1000
SEARCHED_PICTURES = 3
# A view's side while all pictures are searched, and while one is. At 16 px the crop's own picture
# (or another exposure of the same part) was among the first 3 in 8 of 10 magnetic tiles.
COARSE_PX, SEARCH_PX = 16, 64
COARSE_SURROUND_PX = 3.0


@dataclass(frozen=True, slots=True)
class Windows:
    """Of N views the places of A training pictures that are most like them.

    thumbnails: (N, A, 48, 48) uint8; origins: (N, A) int64, the pictures.
    """

    thumbnails: np.ndarray
    origins: np.ndarray


def search_windows(
    views: Described,
    train: Described,
    *,
    pictures: PictureSet,
    open_whole: Callable[[int], np.ndarray],
) -> Windows:
    """The most alike places of the most alike training pictures, for each view.

    pictures: the views' pixels, squares of one size; open_whole: origin -> training picture at
    its own size. About 2 kB of every training picture are kept.
    """
    origins = preselected_origins(views, train)
    scale = COARSE_PX / pictures[0].pixels.shape[0]
    coarse = {
        int(origin): equalised(open_whole(int(origin)), scale) for origin in np.unique(origins)
    }
    chosen, thumbnails = [], []
    for number, row in enumerate(origins):
        pixels = pictures[number].pixels
        best = most_alike_pictures(equalised(pixels, scale), {int(o): coarse[int(o)] for o in row})
        found = [most_alike_window(open_whole(origin), pixels) for origin in best]
        thumbnails.append(np.stack([fingerprint(window).thumbnail for window in found]))
        chosen.append(best)
    return Windows(np.stack(thumbnails), np.array(chosen))


def preselected_origins(views: Described, train: Described) -> np.ndarray:
    """Of each view the training pictures to search, nearest in features: (N, A) origins."""
    every, counts = train.origins.unique(return_counts=True)
    if len(every) <= PRESELECTED_PICTURES:
        return np.tile(every.numpy(), (len(views), 1))
    # So many views surely hold that many pictures.
    enough = int(counts.sort(descending=True).values[: PRESELECTED_PICTURES - 1].sum()) + 1
    _, index = nearest_neighbours(views.features, train.features, kept=enough)
    near = train.origins[index].tolist()
    return np.array([list(dict.fromkeys(row))[:PRESELECTED_PICTURES] for row in near])


def equalised(pixels: np.ndarray, scale: float) -> np.ndarray:
    """A small grey copy, float32, with local contrast made equal: light tells nothing of copies."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = (max(1, round(length * scale)) for length in grey.shape)
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), COARSE_SURROUND_PX)
    contrast = cv2.GaussianBlur(detail * detail, (0, 0), COARSE_SURROUND_PX)
    return detail / np.sqrt(contrast + 1)


def most_alike_pictures(view: np.ndarray, pictures: Mapping[int, np.ndarray]) -> list[int]:
    """The keys of the pictures that hold a place most like the square view, in any turn."""
    templates = [turned(view, turn) for turn in range(len(TURNS))]
    scores = {
        key: max(best_place(reflected(picture, len(view)), one)[0] for one in templates)
        for key, picture in pictures.items()
    }
    return sorted(scores, key=lambda key: -scores[key])[:SEARCHED_PICTURES]


def most_alike_window(picture: np.ndarray, view: np.ndarray) -> np.ndarray:
    """The window of picture (H, W, 3), as large as the square view, that is most like it.

    In any turn; by correlation of grey values, first on small copies, then pixel by pixel around
    the best place. A picture smaller than the view is reflected, as crops for training are.
    """
    side = view.shape[0]
    picture = reflected(picture, side)
    grey, template = (cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) for pixels in (picture, view))
    shrink = max(1, side // SEARCH_PX)
    small, small_template = (shrunk(pixels, shrink) for pixels in (grey, template))
    places = [best_place(small, turned(small_template, turn)) for turn in range(len(TURNS))]
    turn = int(np.argmax([score for score, _ in places]))
    left, top = (value * shrink for value in places[turn][1])
    left, top = min(left, grey.shape[1] - side), min(top, grey.shape[0] - side)
    first_left, first_top = max(0, left - shrink), max(0, top - shrink)
    around = grey[first_top : top + side + shrink, first_left : left + side + shrink]
    _, (shift_x, shift_y) = best_place(around, turned(template, turn))
    left, top = first_left + shift_x, first_top + shift_y
    return picture[top : top + side, left : left + side]


def best_place(grey: np.ndarray, template: np.ndarray) -> tuple[float, tuple[int, int]]:
    """The highest correlation of the template in the grey picture, and its (left, top)."""
    scores = cv2.matchTemplate(grey, np.ascontiguousarray(template), cv2.TM_CCOEFF_NORMED)
    _, score, _, place = cv2.minMaxLoc(scores)
    return float(score), (int(place[0]), int(place[1]))


def reflected(picture: np.ndarray, side_px: int) -> np.ndarray:
    """The picture, reflected at its lower and right rim where it is smaller than the side."""
    low, wide = (max(0, side_px - length) for length in picture.shape[:2])
    return cv2.copyMakeBorder(picture, 0, low, 0, wide, cv2.BORDER_REFLECT_101)


def shrunk(pixels: np.ndarray, factor: int) -> np.ndarray:
    """The picture at 1 / factor of its size."""
    height, width = (max(1, length // factor) for length in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
