"""A COCO instances file: pictures, categories, and annotations as polygons, run lengths or boxes.

Where the pictures lie is the matter of `sources/coco.py`; `licenses` and `info` are not needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.formats.run_lengths import decode_counts, runs_of_counts
from datamodules.formats.text_files import numbers_of, objects_of, read_json, whole_number
from datamodules.sample import Region

EXPECTED = "expected COCO instances with images, annotations and categories"


@dataclass(slots=True)
class CocoPicture:
    """What one file says of one picture; file_name is "" where the entry names none.

    types: of annotations without any outline; annotation_count: 0 where nothing was annotated;
    size_px: (width, height), 0 where not told; flaw: why it is unusable.
    """

    file_name: str
    place: str
    size_px: tuple[int, int]
    regions: list[Region] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    annotation_count: int = 0
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The pictures of one file; is_annotated: it has a list of annotations, be it empty."""

    pictures: list[CocoPicture]
    is_annotated: bool


def read_coco(path: Path, place: str) -> CocoFile:
    """The pictures of a COCO file in its order; `place` is what flaws call the file.

    What is wrong with one picture or annotation becomes that picture's flaw, an annotation of an
    unknown picture an entry of its own. Raises ValueError for a file of another kind.
    """
    content = read_json(path)
    if "images" not in content or "categories" not in content:
        found = ", ".join(list(content)[:6]) or "nothing"
        raise ValueError(f"{place} holds {found}: {EXPECTED}; choose the files by annotations")
    names = _category_names(objects_of(content["categories"], f"categories of {place}"), place)
    pictures: dict[str, CocoPicture] = {}
    nameless: list[CocoPicture] = []
    for number, entry in enumerate(objects_of(content["images"], f"images of {place}")):
        picture = _picture_of(entry, place, number)
        key = _key(entry.get("id"))
        if key in pictures:
            pictures[key].flaw = f"{place} has two pictures with id {key}: expected each id once"
            picture.flaw = pictures[key].flaw
            nameless.append(picture)
        elif picture.flaw:
            nameless.append(picture)
        else:
            pictures[key] = picture
    annotations = objects_of(content.get("annotations", []), f"annotations of {place}")
    ids: set[str] = set()
    for number, annotation in enumerate(annotations):
        nameless += _add(annotation, number, pictures=pictures, names=names, ids=ids, place=place)
    return CocoFile([*pictures.values(), *nameless], "annotations" in content)


def _category_names(entries: list[dict[str, object]], place: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for entry in entries:
        key, name = _key(entry.get("id")), entry.get("name")
        if not key or not isinstance(name, str) or not name.strip():
            raise ValueError(f"{place} has a category without id or name: {EXPECTED}")
        if names.setdefault(key, name) != name:
            raise ValueError(
                f"{place} calls category {key} {names[key]!r} and {name!r}: expected one name per "
                "id; correct the categories"
            )
    return names


def _picture_of(entry: Mapping[str, object], place: str, number: int) -> CocoPicture:
    key, name = _key(entry.get("id")), entry.get("file_name")
    where = f"{place} image {key or f'number {number}'}"
    size_px = (whole_number(entry.get("width")), whole_number(entry.get("height")))
    if not isinstance(name, str) or not name or not key:
        return CocoPicture("", where, (0, 0), flaw=f"{where} has no id or file_name: {EXPECTED}")
    return CocoPicture(name, where, size_px)


def _add(
    annotation: Mapping[str, object],
    number: int,
    *,
    pictures: Mapping[str, CocoPicture],
    names: Mapping[str, str],
    ids: set[str],
    place: str,
) -> list[CocoPicture]:
    """Hand the annotation to its picture, or return it as an entry of its own without picture."""
    key, image_key = _key(annotation.get("id")), _key(annotation.get("image_id"))
    where = f"{place} annotation {key or f'number {number}'}"
    picture = pictures.get(image_key)
    if picture is None:
        flaw = f"{where} is of image {image_key or 'none'}, which is not in images: drop or add it"
        return [CocoPicture("", f"{where} (number {number})", (0, 0), flaw=flaw)]
    picture.annotation_count += 1
    name = names.get(_key(annotation.get("category_id")))
    try:
        if key and key in ids:
            raise ValueError("has the id of another one, expected each id once")
        if name is None:
            known = ", ".join(f"{k}={v}" for k, v in list(names.items())[:8])
            raise ValueError(f"is of category {annotation.get('category_id')!r}, expected {known}")
        regions = _regions_of(annotation, name, picture.size_px)
        picture.regions += regions
        picture.types += [] if regions else [name]
    except ValueError as error:
        picture.flaw = picture.flaw or f"{where}: {error}"
    ids.add(key)
    return []


def _regions_of(
    annotation: Mapping[str, object], name: str, size_px: tuple[int, int]
) -> list[Region]:
    """The parts of one annotation's outline, else its box, else nothing."""
    outline, box = annotation.get("segmentation"), annotation.get("bbox")
    if isinstance(outline, dict):
        runs = _runs_of(outline, size_px)
        return [Region(name, "runs", runs)] if runs else []
    if isinstance(outline, list) and any(part != [] for part in outline):
        # One part without the list around it is a common slip.
        parts = outline if isinstance(outline[0], list) else [outline]
        return [Region(name, "polygon", numbers_of(part)) for part in parts if part != []]
    if outline not in (None, []) and outline != [[]]:
        raise ValueError(f"segmentation is a {type(outline).__name__}, expected polygons or RLE")
    return [Region(name, "box", numbers_of(box))] if box not in (None, []) else []


def _runs_of(outline: Mapping[str, object], size_px: tuple[int, int]) -> tuple[float, ...]:
    size, counts = outline.get("size"), outline.get("counts")
    height_px, width_px = (int(side) for side in _two(numbers_of(size)))
    if all(size_px) and (width_px, height_px) != size_px:
        raise ValueError(
            f"run lengths are of a picture of {width_px} x {height_px} px, expected its "
            f"{size_px[0]} x {size_px[1]} px"
        )
    lengths = decode_counts(counts) if isinstance(counts, str) else numbers_of(counts)
    return runs_of_counts(lengths, width_px=width_px, height_px=height_px)


def _two(numbers: tuple[float, ...]) -> tuple[float, float]:
    if len(numbers) != 2 or not all(0 < number < 1e6 for number in numbers):
        raise ValueError(f"run lengths have the size {list(numbers)[:4]}, expected [height, width]")
    return numbers[0], numbers[1]


def _key(value: object) -> str:
    """An id as text, "" for none: files write 7 and "7" for the same picture."""
    return str(value).strip() if type(value) in (int, str) else ""
