"""Augmentations of both stages, and the only place that sets value ranges.

A transform moves image, mask and caption together: words of place follow the pixels. Geometry is
one affine warp per sample; the colours are changed by albumentations. Grey images stay one
channel until `to_tensor`: a third of the work.
"""

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# albumentations asks a server for its newest version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
from albumentations.augmentations.pixel import functional as colours

from datamodules.captions import Caption

GREY = 114  # what a letterboxed image is surrounded by
LEVELS = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)


class Transform(ABC):
    """A change of one image; the same arguments always give the same result.

    size_px: the side of the square that comes out, 0 where each image keeps its own size.
    variants: the data draws from so many fixed changes of each image, in turn; None: a new one
    at each turn.
    """

    size_px: int = 0
    variants: int | None = None

    @abstractmethod
    def __call__(
        self, image: np.ndarray, mask: np.ndarray, caption: Caption, *, has_mask: bool, seed: int
    ) -> tuple[np.ndarray, np.ndarray, Caption]:
        """The changed image, mask and caption.

        image: (H, W, 3), or (H, W) if it is grey, uint8; mask: (H, W) class ids, uint8 or uint16.
        The place in the caption is measured on the changed mask; without a mask it is mirrored,
        or dropped where a turn or a crop may have moved it.
        """


class Unchanged(Transform):
    """The whole image as it is, for validation and test."""

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, caption: Caption, *, has_mask: bool, seed: int
    ) -> tuple[np.ndarray, np.ndarray, Caption]:
        """The arguments themselves."""
        return image, mask, caption


@dataclass
class WholeSquare(Transform):
    """The whole image brought to a square, as systems that learn from good parts see it."""

    image_size_px: int = 256

    def __post_init__(self) -> None:
        self.size_px = self.image_size_px

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, caption: Caption, *, has_mask: bool, seed: int
    ) -> tuple[np.ndarray, np.ndarray, Caption]:
        """Image and mask of (image_size_px, image_size_px); nothing is turned or recoloured."""
        size = (self.size_px, self.size_px)
        planes = torch.from_numpy(np.atleast_3d(image)).permute(2, 0, 1)[None].float()
        # As a net of this size resizes what it is tested on.
        planes = functional.interpolate(planes, size, mode="bicubic", antialias=True)
        levels = planes[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        square = np.ascontiguousarray(levels).reshape(*size, *image.shape[2:])
        return square, cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), caption


@dataclass
class ResizedCrop(Transform):
    """Stage 1's augmentation, in its order (Table 2): a crop resized to a square.

    color_jitter_bsch: brightness, saturation, contrast, hue; crop_scale: share of the area.
    Corners that rotation leaves open are filled by reflection.
    """

    image_size_px: int = 512
    horizontal_flip_probability: float = 0.5
    vertical_flip_probability: float = 0.5
    rotation_degrees: float = 15.0
    color_jitter_bsch: tuple[float, float, float, float] = (0.2, 0.2, 0.1, 0.05)
    crop_scale: tuple[float, float] = (0.8, 1.0)

    def __post_init__(self) -> None:
        self.size_px = self.image_size_px

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, caption: Caption, *, has_mask: bool, seed: int
    ) -> tuple[np.ndarray, np.ndarray, Caption]:
        """The image mirrored, turned, recoloured and cropped to a square of image_size_px."""
        rng = np.random.default_rng(seed)
        horizontal, vertical, angle, turn = _draw_turn(self, rng)
        height, width = mask.shape
        crop_width, crop_height = _crop_shape(width, height, rng.uniform(*self.crop_scale), rng)
        shift = np.array([width - crop_width, height - crop_height]) * (rng.random(2) - 0.5)
        size = self.size_px
        image = smoothed(image, max(crop_width, crop_height) / size)
        centre = np.array([width - 1, height - 1]) / 2 + turn @ shift
        stretch = np.diag([crop_width, crop_height]) / size
        image, mask = _warp(image, mask, turn @ stretch, centre, size)
        image = change_colours(image, self.color_jitter_bsch, rng)
        moved = self.crop_scale[0] < 1 or angle != 0
        caption = _follow(caption, mask if has_mask else None, horizontal, vertical, moved)
        return image, mask, caption


@dataclass
class NativeCrop(Transform):
    """A square crop at native resolution, often on a defect, so that small defects stay whole.

    With `defect_probability` the crop holds a random pixel of a random defect type of the
    image. scale: random zoom, 1 is native. Images smaller than the crop are reflected.
    Raises ValueError for `variants` below 1.
    """

    crop_size_px: int = 128
    defect_probability: float = 0.5
    scale: tuple[float, float] = (0.8, 1.25)
    horizontal_flip_probability: float = 0.5
    vertical_flip_probability: float = 0.5
    rotation_degrees: float = 15.0
    color_jitter_bsch: tuple[float, float, float, float] = (0.2, 0.2, 0.1, 0.05)
    variants: int | None = None

    def __post_init__(self) -> None:
        if self.variants is not None and self.variants < 1:
            raise ValueError(
                f"variants is {self.variants}: expected at least 1, or null for new ones"
            )
        self.size_px = self.crop_size_px

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, caption: Caption, *, has_mask: bool, seed: int
    ) -> tuple[np.ndarray, np.ndarray, Caption]:
        """The crop of (crop_size_px, crop_size_px), mirrored, turned, zoomed and recoloured."""
        rng = np.random.default_rng(seed)
        horizontal, vertical, _, turn = _draw_turn(self, rng)
        low, high = self.scale
        zoom = float(low * (high / low) ** rng.random())
        window = self.size_px / zoom
        wants_defect = rng.random() < self.defect_probability
        target = _defect_pixel(mask, rng) if has_mask and wants_defect else None
        centre = _window_centre(mask.shape, window, target, rng)
        image, mask = _warp(image, mask, turn / zoom, centre, self.size_px)
        image = change_colours(image, self.color_jitter_bsch, rng)
        caption = _follow(caption, mask if has_mask else None, horizontal, vertical, True)
        return image, mask, caption


@dataclass
class Letterbox(Transform):
    """A box detector's augmentation: the whole image in a square, its shape kept, the rest grey.

    scale: of a random zoom, 1 is the whole image; translate: shares of the square's side to either
    side; color_jitter_bsch: as in `ResizedCrop`.
    """

    image_size_px: int = 640
    scale: tuple[float, float] = (0.5, 1.5)
    translate: float = 0.1
    horizontal_flip_probability: float = 0.5
    vertical_flip_probability: float = 0.0
    rotation_degrees: float = 0.0
    color_jitter_bsch: tuple[float, float, float, float] = (0.4, 0.7, 0.0, 0.015)

    def __post_init__(self) -> None:
        self.size_px = self.image_size_px

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, caption: Caption, *, has_mask: bool, seed: int
    ) -> tuple[np.ndarray, np.ndarray, Caption]:
        """The image moved, zoomed, mirrored and recoloured in a square of image_size_px."""
        rng = np.random.default_rng(seed)
        horizontal, vertical, _, turn = _draw_turn(self, rng)
        height, width = mask.shape
        shrink = max(height, width) / self.size_px / rng.uniform(*self.scale)
        shift = self.size_px * shrink * rng.uniform(-self.translate, self.translate, 2)
        image = change_colours(image, self.color_jitter_bsch, rng)
        centre = np.array([width - 1, height - 1]) / 2 + shift
        image, mask = _warp(
            smoothed(image, shrink), mask, turn * shrink, centre, self.size_px, GREY
        )
        return image, mask, _follow(caption, mask if has_mask else None, horizontal, vertical, True)


def smoothed(image: np.ndarray, shrink: float) -> np.ndarray:
    """The image averaged for a warp that makes it `shrink` times smaller.

    A warp reads single source pixels: averaging first keeps fine texture from aliasing.
    """
    return cv2.GaussianBlur(image, (0, 0), 0.4 * shrink) if shrink > 1.5 else image


def change_colours(
    image: np.ndarray, bsch: tuple[float, float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """The image (H, W, 3) uint8 with brightness, saturation, contrast and hue changed (Table 2).

    bsch: half-widths of the factors around 1, and of the hue's turn as a share of the circle.
    A grey image, (H, W), has no saturation and hue; it changes as its three equal channels would.
    """
    spread = np.asarray(bsch) * rng.uniform(-1, 1, size=4)
    brightness, saturation, contrast = (float(1 + value) for value in spread[:3])
    image = colours.adjust_brightness_torchvision(image, brightness)
    if image.ndim == 2:
        return colours.adjust_contrast_torchvision(image, contrast)
    image = colours.adjust_saturation_torchvision(image, saturation)
    image = colours.adjust_contrast_torchvision(image, contrast)
    return colours.adjust_hue_torchvision(image, float(spread[3]))


def to_tensor(image: np.ndarray) -> Tensor:
    """The image (H, W, 3) or, grey, (H, W) uint8 as (3, H, W) float32 in [-1, 1]."""
    planes = np.empty((3, *image.shape[:2]), dtype=np.float32)
    for plane, channel in zip(planes, cv2.split(image), strict=False):
        cv2.LUT(channel, LEVELS, dst=plane)
    if image.ndim == 2:
        planes[1:] = planes[0]
    return torch.from_numpy(planes)


def to_pixels(image: Tensor) -> np.ndarray:
    """The image (3, H, W) in [-1, 1] as (H, W, 3) uint8; values outside are clipped."""
    levels = image.detach().float().cpu().add(1.0).mul(127.5).round().clamp(0, 255)
    return np.ascontiguousarray(levels.to(torch.uint8).permute(1, 2, 0).numpy())


def _draw_turn(
    crop: ResizedCrop | NativeCrop | Letterbox, rng: np.random.Generator
) -> tuple[bool, bool, float, np.ndarray]:
    """Whether to mirror sideways and upside down, an angle, and the matrix (2, 2) of all three."""
    horizontal = bool(rng.random() < crop.horizontal_flip_probability)
    vertical = bool(rng.random() < crop.vertical_flip_probability)
    angle = float(np.deg2rad(rng.uniform(-crop.rotation_degrees, crop.rotation_degrees)))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mirror = np.diag([-1.0 if horizontal else 1.0, -1.0 if vertical else 1.0])
    return horizontal, vertical, angle, mirror @ rotation


def _crop_shape(
    width: int, height: int, area: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Width and height of a crop of a share `area`, its shape up to 4:3 from the image's."""
    aspect = (4 / 3) ** rng.uniform(-0.5, 0.5)
    aspect = float(np.clip(aspect, area, 1 / area))
    return width * (area * aspect) ** 0.5, height * (area / aspect) ** 0.5


def _defect_pixel(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The (x, y) of a random pixel of a random type in the mask, or None without any."""
    places = cv2.findNonZero((mask > 0).astype(np.uint8))
    if places is None:
        return None
    places = places.reshape(-1, 2)  # (N, 1, 2) in OpenCV 4, (N, 2) in 5
    types = mask[places[:, 1], places[:, 0]]
    present = np.flatnonzero(np.bincount(types))
    if present.size > 1:
        places = places[types == rng.choice(present)]
    return places[rng.integers(len(places))]


def _window_centre(
    shape: tuple[int, ...], window: float, target: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """The (x, y) centre of a window in the image, with the target inside where there is one."""
    length = np.array([shape[1], shape[0]], dtype=float)
    nearest = np.minimum(window / 2, length - window / 2)
    farthest = np.maximum(window / 2, length - window / 2)
    if target is None:
        centre = rng.uniform(nearest, farthest)
    else:
        # 0.35 keeps the target off the crop's rim, and in the crop when that turns by 15 degrees.
        centre = np.clip(target + rng.uniform(-0.35, 0.35, 2) * window, nearest, farthest)
    # On whole pixels, so that without turn and zoom the crop is a copy and not a blend.
    return np.round(centre - window / 2) + window / 2 - 0.5


def _warp(
    image: np.ndarray,
    mask: np.ndarray,
    linear: np.ndarray,
    centre: np.ndarray,
    size: int,
    fill: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask of (size, size); output pixel p shows centre + linear (p - middle).

    What lies outside is mirrored, or filled with a level and no defect.
    """
    middle = np.array([size - 1, size - 1]) / 2
    to_source = np.column_stack([linear, centre - linear @ middle])
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    border = cv2.BORDER_REFLECT_101 if fill is None else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(
        image, to_source, (size, size), flags=flags, borderMode=border, borderValue=(fill or 0,) * 3
    )
    if not mask.any():
        return warped, np.zeros((size, size), dtype=mask.dtype)
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST
    return warped, cv2.warpAffine(mask, to_source, (size, size), flags=flags, borderMode=border)


def _follow(
    caption: Caption, mask: np.ndarray | None, horizontal: bool, vertical: bool, moved: bool
) -> Caption:
    caption = caption.flipped(horizontal=horizontal, vertical=vertical)
    if mask is not None:
        return caption.relocated(mask)
    return caption.without_location() if moved else caption
