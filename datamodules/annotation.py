"""Record -> the image and the mask of class ids that belong to it, cut to the record's window.

The one place where a mask file, boxes, polygons and runs become the same thing.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from datamodules.decode import HIGHEST_GREY, open_pixels, read_header
from datamodules.masks import open_mask_values, values_in
from datamodules.sample import GOOD_ID, UNLABELLED, MaskValues, Record, Region
from datamodules.vocabulary import Vocabulary

KINDS = ("box", "polygon", "runs")
# Annotation tools round outward: a region may stick out of its image by so much and is cut.
OVERHANG_PX = 2.0
UNKNOWN = -1


def open_pair(
    record: Record, root: Path, *, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray | None]:
    """The record's image, (H, W, 3) or grey (H, W) uint8, and its class ids (H, W) if it has any.

    Raises FileNotFoundError or ValueError for a bad image or annotation.
    """
    path, window = root / record.image, record.window_xywh_px
    if window and (header := read_header(path)).is_large:
        image, size_px = open_pixels(path, window), header.shown_px[::-1]
    else:
        whole = open_pixels(path)
        size_px = (whole.shape[0], whole.shape[1])
        image = cut_window(whole, record)
    return image, open_annotation(record, root, vocabulary=vocabulary, image_size_px=size_px)


def open_annotation(
    record: Record, root: Path, *, vocabulary: Vocabulary, image_size_px: tuple[int, int]
) -> np.ndarray | None:
    """The (H, W) class ids of the record's window, or None where nobody drew any.

    image_size_px: (height, width) of the whole image. A good part needs no mask file: all
    its pixels are known to be good. Raises FileNotFoundError or ValueError for a bad annotation.
    """
    if record.mask:
        path, values = root / record.mask, record.mask_values
        ids = open_mask(path, values, vocabulary=vocabulary, size_px=image_size_px)
        return cut_window(ids, record)
    # The whole image may be too large to be held.
    window = record.window_xywh_px or (0, 0, *image_size_px[::-1])
    if record.regions:
        try:
            return draw_regions(
                record.regions, vocabulary=vocabulary, size_px=image_size_px, window_xywh_px=window
            )
        except ValueError as error:
            raise ValueError(f"annotation of {root / record.image}: {error}") from error
    return np.zeros(window[:1:-1], dtype=np.uint8) if is_known_good(record) else None


def is_known_good(record: Record) -> bool:
    """Whether somebody has said that the image shows no defect."""
    return not record.defects and record.split != UNLABELLED


def cut_window(pixels: np.ndarray, record: Record) -> np.ndarray:
    """The record's window of pixels (H, W, ...), all of them where it has none.

    Raises ValueError for a window that sticks out of the image.
    """
    if not record.window_xywh_px:
        return pixels
    window = record.window_xywh_px
    left, top, width, height = window if len(window) == 4 else (0, 0, 0, 0)
    is_empty = width < 1 or height < 1
    sticks_out = left + width > pixels.shape[1] or top + height > pixels.shape[0]
    if min(left, top) < 0 or is_empty or sticks_out:
        raise ValueError(
            f"the window {window} of {record.image} is empty or sticks out of its "
            f"{pixels.shape[1]} x {pixels.shape[0]} px: prepare the data again"
        )
    return pixels[top : top + height, left : left + width]


def open_mask(
    path: Path,
    values: Sequence[MaskValues],
    *,
    vocabulary: Vocabulary,
    size_px: tuple[int, int],
) -> np.ndarray:
    """The mask as (H, W) class ids, uint8 (uint16 above 256 classes).

    values: which grey values mean which class; 0 means good unless it is in a range.
    size_px: (height, width) of the image it belongs to. Raises FileNotFoundError, or ValueError
    for an unreadable file, another size than the image's, and a grey value in no range.
    """
    grey = open_mask_values(path, values)
    if grey.shape != size_px:
        raise ValueError(
            f"mask {path} is {grey.shape[1]}x{grey.shape[0]} px, expected its image's "
            f"{size_px[1]}x{size_px[0]} px: export the mask at the image's size"
        )
    table = _class_of_grey(values, vocabulary)
    present = values_in(grey)
    inside = (present >= 0) & (present <= HIGHEST_GREY)
    unknown = present[~inside | (table[np.where(inside, present, 0)] == UNKNOWN)]
    if unknown.size:
        expected = ", ".join(f"{v.low}-{v.high}={v.name}" for v in values) or "only 0=good"
        raise ValueError(
            f"mask {path} holds the unknown id {unknown[0]} ({len(unknown)} unknown values), "
            f"expected {expected}: repaint the mask or name the value"
        )
    if len(vocabulary) > 256:
        return table.astype(np.uint16)[grey]
    narrow = table.astype(np.uint8)
    return cv2.LUT(grey, narrow[:256]) if grey.dtype == np.uint8 else narrow[grey]


def draw_regions(
    regions: Iterable[Region],
    *,
    vocabulary: Vocabulary,
    size_px: tuple[int, int],
    window_xywh_px: tuple[int, ...] = (),
) -> np.ndarray:
    """The regions as (H, W) class ids, uint8 (uint16 above 256 classes).

    Drawn from the largest to the smallest, so that none hides another. Raises ValueError for a
    region that does not fit an image of size_px (height, width).
    """
    window = window_xywh_px or (0, 0, *size_px[::-1])
    ids = np.zeros(window[:1:-1], dtype=np.uint8 if len(vocabulary) <= 256 else np.uint16)
    drawn = [
        (draw_region(region, size_px=size_px, window_xywh_px=window), region.name)
        for region in regions
    ]
    for inside, name in sorted(drawn, key=lambda pair: -int(pair[0].sum())):
        ids[inside] = vocabulary.id_of(name)
    return ids


def draw_region(
    region: Region, *, size_px: tuple[int, int], window_xywh_px: tuple[int, ...] = ()
) -> np.ndarray:
    """The pixels of one region in a window of its image, in all of it without one, (H, W) bool.

    Raises ValueError for a box without area, a region outside an image of size_px (height, width),
    numbers that are not finite or not paired, and one without a name.
    """
    if problem := _problem_of(region, size_px):
        raise ValueError(f"{problem}: correct or remove it")
    x, y, width, height = window_xywh_px or (0, 0, *size_px[::-1])
    if region.kind == "runs":
        columns = np.zeros((width, size_px[0]), dtype=bool)
        flat, first = columns.reshape(-1), x * size_px[0]
        starts, lengths = np.array(region.numbers, dtype=int).reshape(-1, 2).T - ((first,), (0,))
        for start, end in zip(starts, starts + lengths, strict=True):
            flat[max(start, 0) : max(end, 0)] = True
        return columns.T[y : y + height]
    if region.kind == "box":
        inside = np.zeros((height, width), dtype=bool)
        left, top, right, bottom = map(round, _bounds_of(region))
        # A box thinner than a pixel still marks one.
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        inside[max(top - y, 0) : max(bottom - y, 0), max(left - x, 0) : max(right - x, 0)] = True
        return inside
    # COCO's own rule for which pixels a polygon covers; OpenCV's would add its whole border.
    corners = (np.array(region.numbers).reshape(-1, 2) - (x, y)).ravel()
    runs = coco_mask.frPyObjects([corners.tolist()], height, width)
    return coco_mask.decode(runs)[..., 0].astype(bool)


def runs_of(mask: np.ndarray) -> tuple[int, ...]:
    """The runs (start, length, ...) of the non-zero pixels of mask (H, W), down its columns."""
    flat = np.concatenate([[0], (mask != 0).T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    starts, ends = edges[0::2], edges[1::2]
    return tuple(np.stack([starts, ends - starts], axis=1).ravel().tolist())


def _bounds_of(region: Region) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box or polygon in pixels."""
    if region.kind == "box":
        left, top, width, height = region.numbers
        return left, top, left + width, top + height
    across, down = region.numbers[0::2], region.numbers[1::2]
    return min(across), min(down), max(across), max(down)


def _problem_of(region: Region, size_px: tuple[int, int]) -> str:
    """What is wrong with a region in an image of (height, width), "" for nothing."""
    kind, numbers, count = region.kind, region.numbers, len(region.numbers)
    place = f"{kind} of {region.name!r}"
    if kind not in KINDS:
        return f"region kind {kind!r} is unknown, expected one of {', '.join(KINDS)}"
    if not region.name:
        return f"a {kind} has no name, expected the type of its defect"
    shown = ", ".join(f"{number:g}" for number in numbers[:4]) + ", ..." * (count > 4)
    if not all(math.isfinite(number) for number in numbers):
        return f"{place} holds a number that is not finite: ({shown})"
    height, width = size_px
    if kind == "runs":
        starts, lengths = np.array(numbers[0::2]), np.array(numbers[1::2])
        if not count or count % 2:
            return f"{place} have {count} numbers, expected pairs of start and length"
        ends = starts + lengths
        is_whole = all(number == int(number) for number in numbers)
        if not is_whole or starts[0] < 0 or min(lengths) <= 0 or (starts[1:] < ends[:-1]).any():
            return f"{place} hold ({shown}), expected ascending whole runs"
        if ends[-1] > height * width:
            return f"{place} end at pixel {ends[-1]:g} of an image with {height * width} pixels"
        return ""
    if kind == "box" and count != 4:
        return f"{place} has {count} numbers, expected left, top, width, height"
    if kind == "polygon" and (count < 6 or count % 2):
        return f"{place} has {count} numbers, expected x and y of three or more corners"
    if kind == "box" and min(numbers[2:]) <= 0:
        return f"{place} is {numbers[2]:g} x {numbers[3]:g} px, expected a positive size"
    left, top, right, bottom = _bounds_of(region)
    if max(-left, -top, right - width, bottom - height) > OVERHANG_PX:
        return f"{place} ({shown}) lies outside its image of {width} x {height} px"
    return ""


def _class_of_grey(values: Sequence[MaskValues], vocabulary: Vocabulary) -> np.ndarray:
    """A look-up table from grey value to class id, UNKNOWN where no range names the value."""
    table = np.full(HIGHEST_GREY + 1, UNKNOWN, dtype=np.int32)
    table[0] = GOOD_ID
    for value in values:
        table[value.low : value.high + 1] = vocabulary.id_of(value.name)
    return table
