"""Anyone's own images with YOLO labels: boxes or polygons in one text file per image.

root/data.yaml                      names; train, val, test as folders or lists of images
root/images/<split>/.../<name>      images, also <split>/images/<name> as Roboflow writes it
root/labels/<split>/.../<name>.txt  <class> <x> <y> <width> <height>, or <class> <x1> <y1> <x2> ...
"""

import math
import os
import re
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from datamodules.decode import read_header
from datamodules.formats.layout import FileTree, folder_of, join_below, scan_tree, split_of_path
from datamodules.formats.records import RecordMaker
from datamodules.formats.text_files import NOTHING, parse_yaml, read_text
from datamodules.formats.tool_paths import spellings
from datamodules.manifest import Source
from datamodules.sample import SHOWN, Record, Region
from datamodules.vocabulary import normalise_name

LAYOUT = "expected data.yaml, images/<split>/ and labels/<split>/"
SPLIT_KEYS = ("train", "val", "test")
# Rounding leaves 1.000001; anything far beyond 1 is written in pixels.
LARGEST_RELATIVE = 1.5


@dataclass(frozen=True, slots=True)
class YoloData:
    """What data.yaml says: class number -> name, and split -> its folders or lists of images."""

    names: Mapping[int, str]
    base: str
    places: Mapping[str, tuple[str, ...]]


class Yolo(Source):
    """Detection labels become boxes, segmentation and oriented boxes become masks.

    An empty text file says that the image is good. unannotated: what an image without text file
    is, "unlabelled" or "good" (as YOLO itself counts it). data: the YAML file below the root.
    Labels are relative to the image, so that its header is read for the size. frame: see
    `formats/records.py`; without it a labelled image that EXIF turns is refused.
    """

    name: ClassVar[str] = "yolo"
    label_suffixes = (".txt",)
    unclaimed = "image outside the splits of data.yaml"

    def __init__(
        self,
        data: str = "data.yaml",
        unannotated: str = "unlabelled",
        product: str = "part",
        material: str = "",
        licence: str = "",
        group_pattern: str = "",
        frame: str = "",
    ) -> None:
        self.data = data
        self.maker = RecordMaker(
            self, product, material, licence, group_pattern, unannotated, frame
        )

    def records(self, root: Path) -> list[Record]:
        """One Record per image of the splits in data.yaml, of images/ where it names none.

        Raises FileNotFoundError for no images or no data.yaml, ValueError for one that is none
        or whose folders are not there.
        """
        tree = scan_tree(root, documents=(".txt", ".yaml", ".yml"), remedy=LAYOUT)
        file = tree.find(join_below("", self.data))
        if not file:
            raise FileNotFoundError(
                f"{root} holds no {self.data}: {LAYOUT}; a line 'names: [crack, hole]' in it will "
                "do, in the order of the tool's classes.txt or obj.names; see --source.data"
            )
        data = read_data(root / file)
        self.maker.names.compare(data.names.values())
        records: dict[str, Record] = {}
        splits: dict[str, str] = {}
        owners: dict[str, str] = {}
        for split, image in _listed(root, data, tree):
            if not tree.find(image):
                flaw = f"a list of split {split} names {image!r}: expected an image below the root"
                records[f"{split}: {image}"] = self.maker.make_flawed(f"{split}: {image}", flaw)
            elif splits.setdefault(image, split) != split:
                flaw = f"{image} is in the splits {splits[image]} and {split}: expected one"
                records[image] = self.maker.make_flawed(image, flaw)
            elif image not in records:
                label = next(filter(None, map(tree.find, label_paths(image))), "")
                records[image] = self._record(root, image, split=split, data=data, label=label)
                twin = owners.setdefault(label, image) if label else image
                if twin != image:
                    flaw = f"{label} is of {twin} and of {image}: expected one image of a name"
                    records |= {one: self.maker.make_flawed(one, flaw) for one in (twin, image)}
        return list(records.values())

    def _record(self, root: Path, image: str, *, split: str, data: YoloData, label: str) -> Record:
        if not label:
            return self.maker.make(image, split=split, is_labelled=self.maker.counts_as_good)
        try:
            is_shown = self.maker.frame == SHOWN
            regions = read_labels(root / label, data.names, image=root / image, is_shown=is_shown)
        except (ValueError, OSError) as error:
            return self.maker.make(image, split=split, flaw=str(error))
        return self.maker.make(image, regions=regions, split=split)


def label_paths(image: str) -> tuple[str, ...]:
    """Where the text file of an image may lie, the likeliest place first.

    The last folder "images" in its path becomes "labels"; else beside the image.
    """
    stem = os.path.splitext(image)[0]
    folders = re.fullmatch("(.*/)images(/.*)", f"/{stem}", flags=re.IGNORECASE)
    named = [f"{folders[1]}labels{folders[2]}.txt".lstrip("/")] if folders else []
    return (*named, f"{stem}.txt")


def _listed(root: Path, data: YoloData, tree: FileTree) -> Iterator[tuple[str, str]]:
    """The (split, image) pairs of all splits; a listed path that is no image as it stands."""
    if not data.places:
        yield from ((split_of_path(image), image) for image in tree.images)
    for split in SPLIT_KEYS:
        for place in data.places.get(split, ()):
            found = _place_below(root, place, data.base, tree)
            if not tree.find(found):
                yield from ((split, path) for path in tree.images_below(found))
            elif found.lower().endswith(".txt"):
                lines = [line.strip() for line in read_text(root / found).splitlines()]
                listed = [line for line in lines if line]
                yield from ((split, _listed_path(root, line, found, tree)) for line in listed)
            else:
                yield split, found


def _place_below(root: Path, place: str, base: str, tree: FileTree) -> str:
    """The folder or list below the root that an entry of data.yaml means.

    `path` names a folder of the machine where the set was made, and Roboflow writes "../train":
    both are tried as they stand and without what leads out. Raises ValueError for no such place.
    """
    entry = place.replace("\\", "/")
    if entry in (".", "./"):
        return ""
    loose = "" if entry.startswith("/") else entry.lstrip("./")
    for name in (f"{_below(root, base)}/{_below(root, entry)}", _below(root, entry), loose):
        path = name.strip("/")
        if path and (tree.find(path) or tree.images_below(path)):
            return tree.find(path) or path
    raise ValueError(
        f"{place!r} in data.yaml is no folder of images and no list below {root}: expected "
        "paths below it, such as images/train; correct the file"
    )


def _below(root: Path, path: str) -> str:
    """A path of data.yaml relative to the root, "" where it leads out."""
    if path.startswith("/"):
        whole = root.resolve().as_posix()
        return path.removeprefix(whole).strip("/") if f"{path}/".startswith(f"{whole}/") else ""
    try:
        return join_below("", path) if path else ""
    except ValueError:
        return ""


def _listed_path(root: Path, line: str, file: str, tree: FileTree) -> str:
    """The image that a line of a list means: seen from the list where it begins with "./".

    Of a line from another machine, and of CVAT's "data/images/...", the end that one image has.
    """
    line = line.replace("\\", "/")
    with suppress(ValueError):
        seen = (join_below(folder, _below(root, line) or line) for folder in (folder_of(file), ""))
        if found := next(filter(None, map(tree.find, seen)), ""):
            return found
    ends = [*spellings(line), line[len("data/") :] if line.startswith("data/") else ""]
    fitting = (tree.find_ends(end) for end in ends if "/" in end)
    return next((images[0] for images in fitting if len(images) == 1), line)


def read_data(path: Path) -> YoloData:
    """The content of a data.yaml; ValueError where it is no YAML or lacks the names."""
    try:
        content = parse_yaml(read_text(path))
    except ValueError as error:
        raise ValueError(f"{path} is no readable YAML ({error}): correct it") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no keys, expected names, train, val, test")
    if "kpt_shape" in content:
        raise ValueError(
            f"{path} has kpt_shape, so that its labels are poses: expected boxes or polygons"
        )
    said = {key: value for key, value in content.items() if value not in NOTHING}
    base = said.get("path", "")
    return YoloData(
        names=_names_of(content.get("names"), path),
        base=base if isinstance(base, str) else "",
        places={
            key: _places_of(said[key], f"{key} of {path}") for key in SPLIT_KEYS if said.get(key)
        },
    )


def read_labels(
    path: Path, names: Mapping[int, str], *, image: Path, is_shown: bool = False
) -> tuple[Region, ...]:
    """The regions of one text file in its order, in pixels of `image`; empty for a good part.

    is_shown: in its pixels as a viewer shows them, else as they are stored. Raises ValueError,
    with the number of the line, for anything but a class number followed by four (box) or by six
    or more paired (polygon) relative numbers, and for an image without readable header.
    """
    lines = list(enumerate(read_text(path).splitlines(), start=1))
    filled = [(number, line) for number, line in lines if line.strip()]
    if not filled:
        return ()
    header = read_header(image)
    size_px = header.shown_px if is_shown else header.stored_px
    regions = []
    for number, line in filled:
        try:
            regions.append(_region_of(line.split(), names, size_px))
        except ValueError as error:
            raise ValueError(f"{path} line {number}: {error}") from error
    return tuple(regions)


def _region_of(words: list[str], names: Mapping[int, str], size_px: tuple[int, int]) -> Region:
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
    width_px, height_px = size_px
    if len(numbers) == 4:
        across, down, wide, high = numbers
        left, top = (across - wide / 2) * width_px, (down - high / 2) * height_px
        return Region(name, "box", (left, top, wide * width_px, high * height_px))
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(
            f"got {len(numbers)} numbers behind the class, expected 4 of a box, or x and y of "
            "three or more corners: confidences and key points are no labels"
        )
    sides_px = size_px * (len(numbers) // 2)
    corners = tuple(number * side for number, side in zip(numbers, sides_px, strict=True))
    return Region(name, "polygon", corners)


def _names_of(value: object, path: Path) -> dict[int, str]:
    pairs = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(pairs, dict) or not pairs:
        raise ValueError(f"{path} has no names: expected names: [crack, hole] or {{0: crack}}")
    for key, name in pairs.items():
        is_name = isinstance(name, str) and normalise_name(name)
        if not re.fullmatch(r"\d+", str(key)) or not is_name:
            raise ValueError(
                f"{path} names class {key!r} {reprlib.repr(name)[:80]}: expected class numbers "
                "from 0 with names"
            )
    return {int(key): name for key, name in pairs.items()}


def _places_of(value: object, what: str) -> tuple[str, ...]:
    places = value if isinstance(value, list) else [value]
    if not all(isinstance(place, str) and place for place in places):
        raise ValueError(
            f"{what} is {str(value)[:60]!r}: expected a folder, a .txt list, or several"
        )
    return tuple(places)
