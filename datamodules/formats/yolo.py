"""YOLO's text labels and data.yaml: relative boxes and polygons -> regions in pixels.

Which image belongs to which text file is the matter of `sources/yolo.py`.
"""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from datamodules.formats.image_header import ImageHeader, read_header
from datamodules.formats.text_files import read_text
from datamodules.sample import Region

SPLIT_KEYS = ("train", "val", "test")
# Rounding leaves 1.000001; anything far beyond 1 is written in pixels.
LARGEST_RELATIVE = 1.5


@dataclass(frozen=True, slots=True)
class YoloData:
    """What data.yaml says: class number -> name, and split -> its folders or lists of images."""

    names: Mapping[int, str]
    base: str
    places: Mapping[str, tuple[str, ...]]


def read_data(path: Path) -> YoloData:
    """The content of a data.yaml; ValueError where it is no YAML or lacks the names."""
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{path} is no readable YAML ({reason}): correct it") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no keys, expected names, train, val, test")
    if "kpt_shape" in content:
        raise ValueError(
            f"{path} has kpt_shape, so that its labels are poses: expected boxes or polygons"
        )
    base = content.get("path") or ""
    return YoloData(
        names=_names_of(content.get("names"), path),
        base=base if isinstance(base, str) else "",
        places={
            key: _places_of(content[key], f"{key} of {path}")
            for key in SPLIT_KEYS
            if content.get(key)
        },
    )


def read_labels(path: Path, names: Mapping[int, str], *, image: Path) -> tuple[Region, ...]:
    """The regions of one text file in its order, in pixels of `image`; empty for a good part.

    Raises ValueError, with the number of the line, for anything but a class number followed by
    four (box) or by six or more paired (polygon) relative numbers, and for an image without
    readable header or one that EXIF turns: nobody can tell which way up it was labelled.
    """
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link: copy the file that it leads to")
    lines = list(enumerate(read_text(path).splitlines(), start=1))
    filled = [(number, line) for number, line in lines if line.strip()]
    if not filled:
        return ()
    header = read_header(image)
    if header.orientation != 1:
        raise ValueError(
            f"{image} is turned by EXIF orientation {header.orientation}, expected 1: save its "
            "pixels the way it was labelled, without that tag"
        )
    regions = []
    for number, line in filled:
        try:
            regions.append(_region_of(line.split(), names, header))
        except ValueError as error:
            raise ValueError(f"{path} line {number}: {error}") from error
    return tuple(regions)


def _region_of(words: list[str], names: Mapping[int, str], header: ImageHeader) -> Region:
    try:
        class_number, *numbers = (float(word) for word in words)
    except ValueError as error:
        raise ValueError(f"got {' '.join(words)[:40]!r}, expected numbers") from error
    if class_number not in names:
        known = ", ".join(f"{key}={name}" for key, name in list(names.items())[:8])
        raise ValueError(f"class {words[0][:20]} is unknown, expected {known}: correct data.yaml")
    name = names[int(class_number)]
    if not all(abs(number) <= LARGEST_RELATIVE for number in numbers):
        worst = max(numbers, key=lambda number: math.inf if math.isnan(number) else abs(number))
        raise ValueError(f"got {worst:g}, expected numbers relative to the image, 0 to 1")
    width_px, height_px = header.width_px, header.height_px
    if len(numbers) == 4:
        across, down, wide, high = numbers
        left, top = (across - wide / 2) * width_px, (down - high / 2) * height_px
        return Region(name, "box", (left, top, wide * width_px, high * height_px))
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(
            f"got {len(numbers)} numbers behind the class, expected 4 of a box, or x and y of "
            "three or more corners: confidences and key points are no labels"
        )
    sides_px = (width_px, height_px) * (len(numbers) // 2)
    corners = tuple(number * side for number, side in zip(numbers, sides_px, strict=True))
    return Region(name, "polygon", corners)


def _names_of(value: object, path: Path) -> dict[int, str]:
    pairs = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(pairs, dict) or not pairs:
        raise ValueError(f"{path} has no names: expected names: [crack, hole] or {{0: crack}}")
    for key, name in pairs.items():
        is_name = type(name) in (str, int) and str(name).strip()
        if type(key) is not int or key < 0 or not is_name:
            raise ValueError(
                f"{path} names class {key!r} {reprlib.repr(name)[:80]}: expected class numbers "
                "from 0 with names"
            )
    return {key: str(name) for key, name in pairs.items()}


def _places_of(value: object, what: str) -> tuple[str, ...]:
    places = value if isinstance(value, list) else [value]
    if not all(isinstance(place, str) and place for place in places):
        raise ValueError(
            f"{what} is {str(value)[:60]!r}: expected a folder, a .txt list, or several"
        )
    return tuple(places)
