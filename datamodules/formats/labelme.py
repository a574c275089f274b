"""The shapes of labelme as regions.

The embedded copy of the image (imageData) is never looked at.
"""

import base64
import binascii
import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.annotation import runs_of
from datamodules.decode import DECODE_ERRORS, MAX_PIXELS
from datamodules.formats.text_files import numbers_of, objects_of
from datamodules.sample import Region

CIRCLE_CORNERS = 64
AREAS = "polygon, rectangle, circle or mask"


def read_shapes(shapes: object, file: Path, size_px: tuple[int, int]) -> list[Region]:
    """The "shapes" of a labelme JSON as regions; size_px: (width, height), 0 where not given.

    Raises ValueError for shapes without area and whatever else is none.
    """
    regions: list[Region] = []
    for number, shape in enumerate(objects_of(shapes, f"shapes of {file}"), start=1):
        try:
            regions += _regions_of(shape, size_px)
        except ValueError as error:
            raise ValueError(f"{file} shape {number}: {error}") from error
    return regions


def _regions_of(shape: Mapping[str, object], size_px: tuple[int, int]) -> list[Region]:
    name, kind = shape.get("label"), shape.get("shape_type") or "polygon"
    points = shape.get("points")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"the label is {name!r}, expected the type of the defect")
    if not isinstance(points, list):
        raise ValueError("it has no points, expected a list of [x, y]")
    corners = [numbers_of(point) for point in points]
    if any(len(corner) != 2 for corner in corners):
        raise ValueError("a point has not two numbers, expected [x, y]")
    if kind == "polygon":
        return [Region(name, "polygon", tuple(number for xy in corners for number in xy))]
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(f"it is a {kind}, which has no area, expected {AREAS}: draw it so")
    if len(corners) != 2:
        raise ValueError(f"a {kind} has {len(corners)} points, expected 2")
    if kind == "mask":
        return _masked(name, corners, shape.get("mask"), size_px)
    return [_box(name, corners) if kind == "rectangle" else _circle(name, corners)]


def _box(name: str, corners: list[tuple[float, ...]]) -> Region:
    (x0, y0), (x1, y1) = corners
    return Region(name, "box", (min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)))


def _circle(name: str, corners: list[tuple[float, ...]]) -> Region:
    """The circle around the first point through the second, as a polygon of equal area."""
    (x, y), (edge_x, edge_y) = corners
    step = 2 * math.pi / CIRCLE_CORNERS
    radius = math.hypot(edge_x - x, edge_y - y) * math.sqrt(step / math.sin(step))
    if not 0 < radius < math.inf:
        raise ValueError(f"the circle has the radius {radius:g}, expected one above 0")
    turns = [number * step for number in range(CIRCLE_CORNERS)]
    around = [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]
    return Region(name, "polygon", tuple(number for xy in around for number in xy))


def _masked(
    name: str, corners: list[tuple[float, ...]], content: object, size_px: tuple[int, int]
) -> list[Region]:
    """The runs of a mask shape: a small PNG whose corner pixels are the two points."""
    box = _box(name, corners).numbers
    if not all(math.isfinite(number) for number in box):
        raise ValueError("a corner of the mask is not finite, expected pixels")
    left, top = int(box[0]), int(box[1])
    width_px, height_px = size_px
    if not 0 < width_px * height_px <= MAX_PIXELS:
        raise ValueError(f"imageWidth x imageHeight is {width_px} x {height_px} px, expected both")
    try:
        with Image.open(io.BytesIO(base64.b64decode(str(content), validate=True))) as image:
            small_px = image.size
            inside = np.asarray(image.convert("L")) > 0
    except (binascii.Error, *DECODE_ERRORS, Image.DecompressionBombError) as error:
        raise ValueError("the mask is unusable: expected a PNG of its box in base64") from error
    if min(left, top) < 0 or left + small_px[0] > width_px or top + small_px[1] > height_px:
        raise ValueError(f"the mask of {small_px} px at {left}, {top} leaves the image")
    whole = np.zeros((height_px, width_px), dtype=bool)
    whole[top : top + small_px[1], left : left + small_px[0]] = inside
    return [Region(name, "runs", runs)] if (runs := runs_of(whole)) else []
