"""Where in an image a defect is painted, what the U-Net sees of it, and how both are joined.

All at the image's own resolution: nothing is resized. The painting is `nets/inpainting.py`.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.rendering.defects import DEFECTS, MAX_ATTEMPTS, MIN_AREA_PX
from datamodules.rendering.shapes import edge_chunk, fringe, smooth_blob
from lightning_modules.nets.tiling import mirror_index

SOFT_EDGE_PX = 3
# Of a defect whose shape is not known.
ANY_AREA_SHARE = 0.15
# Their straight side belongs at the border of a part, which nobody has marked.
BORDER_SHAPES = (edge_chunk, fringe)


@dataclass(frozen=True, slots=True)
class Window:
    """What the U-Net sees: `rows` and `columns` of the image, mirrored where it ends.

    own: the part of the window that is not mirrored.
    """

    rows: np.ndarray
    columns: np.ndarray
    own: tuple[slice, slice]

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """The window of pixels (H, W, ...)."""
        return pixels[np.ix_(self.rows, self.columns)]

    def cut_mask(self, mask: np.ndarray) -> np.ndarray:
        """The window of a mask (H, W) bool, False in what is mirrored."""
        inside = np.zeros((len(self.rows), len(self.columns)), dtype=bool)
        inside[self.own] = self.cut(mask)[self.own]
        return inside

    def place(self, image: np.ndarray, painted: np.ndarray) -> np.ndarray:
        """A copy of the image (H, W, ...) with the painted window in its place."""
        placed = image.copy()
        rows, columns = self.own
        placed[np.ix_(self.rows[rows], self.columns[columns])] = painted[self.own]
        return placed


def window_around(mask: np.ndarray, *, side_px: int, stride_px: int) -> Window:
    """The window of side_px around the set pixels of mask (H, W), wider where these need more.

    Its sides are multiples of stride_px. A smaller image lies in its middle. ValueError for an
    empty mask.
    """
    if not mask.any():
        raise ValueError("the mask is empty: expected some pixels above 127, where the defect goes")
    indices, own = [], []
    for places, length in zip(np.nonzero(mask), mask.shape, strict=True):
        first, last = int(places.min()), int(places.max())
        side = max(side_px, -(-(last - first + 1) // stride_px) * stride_px)
        start = int(np.clip((first + last + 1 - side) // 2, 0, max(0, length - side)))
        indices.append(mirror_index(length, side).numpy()[start : start + side])
        before = max(0, side - length) // 2
        own.append(slice(before, before + min(side, length)))
    return Window(indices[0], indices[1], (own[0], own[1]))


def join(image: np.ndarray, painted: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with what was painted inside the mask; every pixel outside it stays as it is.

    image, painted: (H, W, 3) or (H, W) uint8; mask: (H, W) bool. The seam is softened inside
    the mask, over SOFT_EDGE_PX where it is broad enough for that.
    """
    shape = (*mask.shape, *[1] * (image.ndim - 2))
    share = soft_inside(mask).reshape(shape)
    mixed = np.rint(image + share * (painted.astype(np.float32) - image)).astype(np.uint8)
    return np.where(mask.reshape(shape), mixed, image)


def soft_inside(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32: 0 outside the mask, rising from its rim to 1 inside.

    Half of the greatest depth is the longest ramp, so that a hairline is painted in full.
    """
    if mask.all():
        return np.ones(mask.shape, dtype=np.float32)
    depth_px = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    ramp_px = np.clip(depth_px.max() / 2, 1, SOFT_EDGE_PX)
    return np.clip(depth_px / ramp_px, 0, 1).astype(np.float32)


def draw_mask(
    rng: np.random.Generator, size_px: tuple[int, int], *, defect: str, side_px: int
) -> np.ndarray:
    """A mask (H, W) bool in which `defect` might lie, anywhere in an image of size_px (H, W).

    Its shape is that of the rendered defect of this name, a smooth blob for any other, and not
    wider than side_px. ValueError for an image in which no defect fits.
    """
    canvas_px = min(*size_px, side_px)
    known = {one.name: one for one in DEFECTS if one.shape not in BORDER_SHAPES}
    drawn = known.get(defect)
    shape = drawn.shape if drawn else smooth_blob
    largest_px = (drawn.max_area_share if drawn else ANY_AREA_SHARE) * canvas_px**2
    if largest_px < 2 * MIN_AREA_PX:
        raise ValueError(
            f"image is {size_px[1]} x {size_px[0]} px: too small to draw a mask of {defect!r} "
            "in it; give --masks"
        )
    # Small defects are as frequent as large ones.
    area_px = float(np.exp(rng.uniform(np.log(1.4 * MIN_AREA_PX), np.log(largest_px))))
    for _ in range(MAX_ATTEMPTS):
        patch = shape(rng, canvas_px, area_px) >= 0.5
        if patch.sum() >= MIN_AREA_PX:
            break
        area_px *= 1.15
    top, left = (int(rng.integers(length - canvas_px + 1)) for length in size_px)
    mask = np.zeros(size_px, dtype=bool)
    mask[top : top + canvas_px, left : left + canvas_px] = patch
    return mask
