"""Pascal VOC: one XML file per image with named boxes, in a folder beside the images.

Sources say which names may occur; whether a box fits its image is `regions.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from datamodules.formats.layout import glob_images
from datamodules.formats.text_files import read_text
from datamodules.sample import Region

CORNERS = ("xmin", "ymin", "xmax", "ymax")
# Both can make a small file unfold without end; no annotation needs them.
FORBIDDEN = ("<!DOCTYPE", "<!ENTITY")


@dataclass(frozen=True, slots=True)
class VocImage:
    """An image and what its XML says: path is relative to the root of the data.

    flaw: why the XML is unusable, with no boxes then.
    """

    path: str
    boxes: tuple[Region, ...] = ()
    flaw: str = ""


def read_folders(
    root: Path, images: str, annotations: str, *, names: Mapping[str, str]
) -> list[VocImage]:
    """Every JPEG of root/`images` with the boxes of its XML in root/`annotations`, by name.

    The pair has one stem; <filename> in the XML is often wrong. An XML without an image is
    listed too: its missing image shall be noticed. names: as in `read_boxes`.
    Raises FileNotFoundError for a missing folder or one without images.
    """
    paths = {PurePosixPath(path).stem: path for path in glob_images(root, f"{images}/*.[jJ]*")}
    files = {path.stem: path for path in sorted((root / annotations).glob("[!.]*.[xX][mM][lL]"))}
    if not paths or not files:
        empty = root / (annotations if paths else images)
        raise FileNotFoundError(f"{empty} is missing or empty: expected the set's own layout")
    found = []
    for stem in sorted({*paths, *files}):
        boxes: tuple[Region, ...] = ()
        flaw = ""
        try:
            boxes = read_boxes(files[stem], names=names) if stem in files else ()
        except (ValueError, OSError) as error:
            flaw = str(error)
        found.append(VocImage(paths.get(stem, f"{images}/{stem}.jpg"), boxes, flaw))
    return found


def read_boxes(path: Path, *, names: Mapping[str, str]) -> tuple[Region, ...]:
    """The boxes of one XML file in its order, 0-based; empty where it holds no object.

    names: what an object's <name> stands for. Raises ValueError with one line for a file that
    is no plain XML in UTF-8, a name outside `names`, and a corner that is missing or no number.
    """
    return tuple(
        _box_of(item, path, names=names, number=number)
        for number, item in enumerate(_parse(path).iter("object"), start=1)
    )


def _box_of(
    item: ElementTree.Element, path: Path, *, names: Mapping[str, str], number: int
) -> Region:
    place = f"object {number} of {path}"
    name = (item.findtext("name") or "").strip()
    if name not in names:
        raise ValueError(f"{place} is a {name!r}, expected one of {', '.join(names)}: rename it")
    texts = [item.findtext(f"bndbox/{corner}") or "" for corner in CORNERS]
    try:
        left, top, right, bottom = (float(text) for text in texts)
    except ValueError as error:
        raise ValueError(
            f"{place} has the corners {texts}, expected four numbers in <bndbox>: correct it"
        ) from error
    # VOC counts pixels from 1 and both corners lie inside the box.
    return Region(names[name], "box", (left - 1, top - 1, right - left + 1, bottom - top + 1))


def _parse(path: Path) -> ElementTree.Element:
    text = read_text(path)
    if any(word in text for word in FORBIDDEN):
        raise ValueError(f"{path} holds a DOCTYPE or ENTITY, expected plain XML: remove it")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is no readable XML ({error}): write it anew") from error
    if root.tag != "annotation":
        raise ValueError(f"{path} is <{root.tag[:40]}>, expected <annotation>: write it anew")
    return root
