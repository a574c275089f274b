"""Anyone's own images with a labelme JSON beside each, or in a folder of their own.

root/.../<name>.<png|jpg|...>   images; the first folder called train, val or test is the split
root/.../<name>.json            imagePath leads to the image, seen from the JSON
"""

import base64
import binascii
import io
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from datamodules.annotation import runs_of
from datamodules.decode import DECODE_ERRORS, MAX_PIXELS, stored_of
from datamodules.formats.layout import (
    FileTree,
    fold,
    folder_of,
    join_below,
    scan_tree,
    split_of_path,
)
from datamodules.formats.records import RecordMaker
from datamodules.formats.text_files import numbers_of, objects_of, read_json, whole_number
from datamodules.formats.tool_paths import find_named, leads_elsewhere
from datamodules.manifest import Source
from datamodules.masks import seen_greys
from datamodules.sample import Record, Region
from datamodules.vocabulary import normalise_name

LAYOUT = "expected images, each with its labelme .json"
CIRCLE_CORNERS = 64
# X-AnyLabeling's turned rectangle has its four corners.
POLYGONS = ("polygon", "rotation")
AREAS = "polygon, rectangle, circle or mask"


class Labelme(Source):
    """Polygons, circles and masks become masks, rectangles boxes; lines and points are refused.

    A JSON without shapes says that the image is good, unless one of its flags is set: then that
    is its type. unannotated: what an image without JSON is, "unlabelled" or "good".
    frame: see `formats/records.py`; labelme itself draws on an image as shown, older versions as
    stored, and only a size that was turned with it tells.
    """

    name: ClassVar[str] = "labelme"
    label_suffixes = (".json",)

    def __init__(
        self,
        unannotated: str = "unlabelled",
        product: str = "part",
        material: str = "",
        licence: str = "",
        group_pattern: str = "",
        frame: str = "",
    ) -> None:
        self.maker = RecordMaker(
            self, product, material, licence, group_pattern, unannotated, frame
        )

    def records(self, root: Path) -> list[Record]:
        """One Record per image, those with a JSON first, each part sorted by path.

        Raises FileNotFoundError for no images, ValueError where no JSON is labelme's.
        """
        tree = scan_tree(root, documents=(".json",), remedy=LAYOUT)
        # What a broken JSON belongs to only its own name says.
        stems = {fold(path.rpartition(".")[0]): path for path in tree.images}
        records: dict[str, Record] = {}
        for file in tree.documents:
            beside = stems.get(fold(file[: -len(".json")]))
            record = self._annotated(root, file, tree=tree, beside=beside)
            if record is not None and record.image in records:
                flaw = f"{record.image} has a second JSON {file}: expected one; remove the other"
                record = self.maker.make_flawed(record.image, flaw)
            if record is not None:
                records[record.image] = record
        if not records:
            raise ValueError(f"{root} holds no JSON with shapes: {LAYOUT}")
        for image in tree.images:
            if image not in records:
                records[image] = self.maker.make(
                    image, split=split_of_path(image), is_labelled=self.maker.counts_as_good
                )
        return list(records.values())

    def _annotated(
        self, root: Path, file: str, *, tree: FileTree, beside: str | None
    ) -> Record | None:
        """The Record of a JSON's image; None for another JSON that lies beside no image."""
        try:
            content = read_json(root / file)
        except (ValueError, OSError) as error:
            return self.maker.make_flawed(beside or file, str(error))
        if "shapes" not in content:
            flaw = f"{root / file} has no shapes: expected labelme's JSON beside an image"
            return self.maker.make_flawed(beside, flaw) if beside else None
        try:
            image = find_image(file, str(content.get("imagePath") or ""), tree, beside=beside)
        except ValueError as error:
            return self.maker.make_flawed(file, f"{root / file}: {error}")
        width_px, height_px = (whole_number(content.get(f"image{s}")) for s in ("Width", "Height"))
        flags = content.get("flags")
        regions, flaw = [], ""
        try:
            regions = read_shapes(content["shapes"], root / file, (width_px, height_px))
        except (ValueError, OSError) as error:
            flaw = str(error)
        return self.maker.make(
            image,
            regions=regions,
            types=[k for k, v in flags.items() if v is True] if isinstance(flags, dict) else (),
            split=split_of_path(image),
            size_px=(width_px, height_px),
            flaw=flaw,
        )


def find_image(file: str, image_path: str, tree: FileTree, *, beside: str | None) -> str:
    """The image that imagePath means, seen from the JSON; else the image `beside` it, of its name.

    Else, as images are moved, the one that `find_named` finds anywhere. Raises ValueError for none
    or several, and where a path that leads out of the root may mean another than the one beside.
    """
    folder, written = folder_of(file), image_path.replace("\\", "/")
    with suppress(ValueError):
        if found := tree.find(join_below(folder, written)):
            return found
    if beside and not leads_elsewhere(written):
        return beside
    named = find_named(written, [folder], tree)
    if beside not in (None, named):
        raise ValueError(f"imagePath {image_path!r} may be {beside} or {named}: expected one")
    return named


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
    if not isinstance(name, str) or not normalise_name(name):
        raise ValueError(f"the label is {name!r}, expected the type of the defect")
    if not isinstance(points, list):
        raise ValueError("it has no points, expected a list of [x, y]")
    corners = [numbers_of(point) for point in points]
    if any(len(corner) != 2 for corner in corners):
        raise ValueError("a point has not two numbers, expected [x, y]")
    if kind in POLYGONS:
        return [Region(name, "polygon", tuple(number for xy in corners for number in xy))]
    if kind == "rectangle" and len(corners) == 4:
        corners = _opposite_corners(corners)
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(f"it is a {kind}, which has no area, expected {AREAS}: draw it so")
    if len(corners) != 2:
        raise ValueError(f"a {kind} has {len(corners)} points, expected 2")
    if kind == "mask":
        return _masked(name, corners, shape.get("mask"), size_px)
    return [_box(name, corners) if kind == "rectangle" else _circle(name, corners)]


def _opposite_corners(corners: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Two corners of an upright rectangle that has all four, as X-AnyLabeling writes it."""
    across, down = (sorted(side) for side in zip(*corners, strict=True))
    ends = [(x, y) for x in (across[0], across[-1]) for y in (down[0], down[-1])]
    rounded = [{(round(x, 2), round(y, 2)) for x, y in four} for four in (corners, ends)]
    if rounded[0] != rounded[1]:
        raise ValueError(
            f"a rectangle has the points {corners}, expected 2 or the 4 corners of an upright one: "
            "make it a polygon"
        )
    return [ends[0], ends[-1]]


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
        data = base64.b64decode(str(content), validate=True)
        with Image.open(io.BytesIO(data)) as image:
            small_px, stored = image.size, stored_of(image, data)
    except (binascii.Error, *DECODE_ERRORS, Image.DecompressionBombError) as error:
        raise ValueError("the mask is unusable: expected a PNG of its box in base64") from error
    if min(left, top) < 0 or left + small_px[0] > width_px or top + small_px[1] > height_px:
        raise ValueError(f"the mask of {small_px} px at {left}, {top} leaves the image")
    inside = stored is not None and seen_greys(stored, "of the shape") > 0
    whole = np.zeros((height_px, width_px), dtype=bool)
    whole[top : top + small_px[1], left : left + small_px[0]] = inside
    if not whole.any():
        raise ValueError(f"the mask of {name!r} marks nothing: draw or remove the shape")
    return [Region(name, "runs", runs_of(whole))]
