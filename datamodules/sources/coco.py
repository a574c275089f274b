"""Anyone's own images with COCO annotations, as CVAT, Label Studio and Roboflow export them.

root/annotations/<anything>.json                 or other files, by the setting `annotations`
root/images/.../<name>, root/<split>/<name>, or beside the JSON: images are found by file_name
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar

from datamodules.captions import Caption
from datamodules.formats.layout import (
    FileTree,
    any_case,
    folder_of,
    join_below,
    scan_tree,
    split_of_name,
    split_of_path,
)
from datamodules.formats.records import RecordMaker
from datamodules.formats.text_files import numbers_of, objects_of, read_json, whole_number
from datamodules.formats.tool_paths import find_named
from datamodules.manifest import Source
from datamodules.sample import Record, Region
from datamodules.vocabulary import normalise_name

LAYOUT = "expected images and annotations/*.json in COCO's format"
EXPECTED = "expected COCO instances with images, annotations and categories"


@dataclass(slots=True)
class CocoImage:
    """What one file says of one image; file_name is "" where the entry names none.

    types: of annotations without any outline; annotation_count: 0 where nothing was annotated;
    size_px: (width, height), 0 where not given; flaw: why it is unusable; caption: the six fields,
    where `serve` wrote them as `caption_fields`.
    """

    file_name: str
    place: str
    size_px: tuple[int, int] = (0, 0)
    regions: list[Region] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    annotation_count: int = 0
    flaw: str = ""
    caption: Caption | None = None


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The images of one file; is_annotated: it has a list of annotations, be it empty."""

    images: list[CocoImage]
    is_annotated: bool
    names: Sequence[str] = ()


class Coco(Source):
    """Polygons (in several parts too) and run lengths become masks, boxes stay boxes.

    annotations: which files below the root; one named after a split (instances_train2017), or in
    a folder that is, gives its images that split. images: the folder where file_name starts, ""
    for the usual places. group_pattern, frame: see `formats/records.py`.
    unannotated: what a listed image without annotation is. "good" is COCO's meaning, and a trap:
    tools also list images at which nobody has looked yet; for such a set say "unlabelled". A
    file without any list of annotations leaves its images unlabelled.
    """

    name: ClassVar[str] = "coco"

    def __init__(
        self,
        annotations: str = "annotations/*.json",
        images: str = "",
        unannotated: str = "good",
        product: str = "part",
        material: str = "",
        licence: str = "",
        group_pattern: str = "",
        frame: str = "",
    ) -> None:
        self.annotations = annotations
        self.images = images
        self.maker = RecordMaker(
            self, product, material, licence, group_pattern, unannotated, frame
        )

    def records(self, root: Path) -> list[Record]:
        """One Record per listed image, files in the order of their names.

        Raises FileNotFoundError for no images or no annotation files, ValueError for a file that
        is no COCO instances file.
        """
        tree = scan_tree(root, documents=(".json",), remedy=LAYOUT)
        records: dict[str, Record] = {}
        places: dict[str, str] = {}
        for file in _find_files(root, self.annotations, tree):
            content = read_coco(root / file, file)
            self.maker.names.compare(content.names)
            for entry in content.images:
                record = self._record(entry, content, file=file, tree=tree)
                earlier = records.get(record.image)
                if earlier is not None:
                    flaw = earlier.flaw or (
                        f"{record.image} is listed as {places[record.image]} and as "
                        f"{entry.place}: expected one entry per image"
                    )
                    record = self.maker.make_flawed(record.image, flaw)
                records[record.image] = record
                places[record.image] = entry.place
        return list(records.values())

    def _record(self, entry: CocoImage, content: CocoFile, *, file: str, tree: FileTree) -> Record:
        split = split_of_name(Path(file).stem) or split_of_name(Path(file).parent.name)
        if not entry.file_name:
            return self.maker.make_flawed(entry.place, entry.flaw)
        try:
            image = find_named(entry.file_name, self._folders(file), tree)
            _check_split(image, split, entry.file_name)
        except ValueError as error:
            return self.maker.make_flawed(entry.place, entry.flaw or str(error))
        has_annotation = entry.annotation_count > 0
        record = self.maker.make(
            image,
            regions=entry.regions,
            types=entry.types,
            split=split,
            is_labelled=content.is_annotated and (has_annotation or self.maker.counts_as_good),
            size_px=entry.size_px,
            flaw=entry.flaw,
        )
        return replace(record, caption=entry.caption) if entry.caption else record

    def _folders(self, file: str) -> list[str]:
        """Where the images of a file may lie, the likeliest place first."""
        if self.images:
            return [join_below("", self.images)]
        # instances_train2017.json speaks of train2017/ or images/train2017/.
        subset = Path(file).stem.partition("_")[2]
        named = [f"images/{subset}", subset] if subset else []
        return [*named, folder_of(file), "images", ""]


def _check_split(image: str, split: str, name: str) -> None:
    """ValueError where `name`, without a folder, found an image in the folder of another split."""
    # "images/val2017/a.png" is of val.
    of_folder = split_of_path(re.sub(r"\d+/", "/", image))
    if split and of_folder not in ("", split) and "/" not in name.replace("\\", "/"):
        raise ValueError(
            f"image {name!r} of {split} is missing, {image} is of {of_folder}: add or drop it"
        )


def _find_files(root: Path, pattern: str, tree: FileTree) -> list[str]:
    """The annotation files that the pattern means, sorted."""
    if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(f"annotations is {pattern!r}: expected a pattern below the root, {LAYOUT}")
    # Dot files are what desktops leave behind ("._instances.json").
    found_paths = [path for path in root.glob(any_case(pattern)) if not path.name.startswith(".")]
    files = sorted(path.relative_to(root).as_posix() for path in found_paths)
    if literal := tree.find(pattern):
        files = [literal]
    if not files:
        found = ", ".join(tree.documents[:3]) or "no JSON file at all"
        raise FileNotFoundError(
            f"{root} holds no {pattern} but {found}: {LAYOUT}; name other files by "
            "--source.annotations"
        )
    return files


def read_coco(path: Path, place: str) -> CocoFile:
    """The images of a COCO file in its order; `place` is what flaws call the file.

    What is wrong with one image or annotation becomes that image's flaw, an annotation of an
    unknown image an entry of its own. Raises ValueError for a file of another kind.
    """
    content = read_json(path)
    if "images" not in content or "categories" not in content:
        found = ", ".join(list(content)[:6]) or "nothing"
        raise ValueError(f"{place} holds {found}: {EXPECTED}; choose the files by annotations")
    names = _category_names(objects_of(content["categories"], f"categories of {place}"), place)
    images: dict[str, CocoImage] = {}
    unusable: list[CocoImage] = []
    for number, entry in enumerate(objects_of(content["images"], f"images of {place}")):
        key, name = _key(entry.get("id")), entry.get("file_name")
        where = f"{place} image {key or f'number {number}'}"
        if not isinstance(name, str) or not name or not key:
            flaw = f"{where} has no id or file_name: {EXPECTED}"
            unusable.append(CocoImage("", where, flaw=flaw))
            continue
        size_px = (whole_number(entry.get("width")), whole_number(entry.get("height")))
        image = CocoImage(name, where, size_px)
        if "caption_fields" in entry:
            image.caption = _caption_of(entry["caption_fields"])
            if image.caption is None:
                image.flaw = f"{where} has caption_fields that are not the six of the template"
        if images.setdefault(key, image) is not image:
            image.flaw = f"{place} has two images with id {key}: expected each id once"
            images[key].flaw = image.flaw
            unusable.append(image)
    annotations = objects_of(content.get("annotations", []), f"annotations of {place}")
    if any("segments_info" in annotation for annotation in annotations):
        raise ValueError(
            f"{place} is panoptic, its outlines are colours of PNG files: {EXPECTED}; convert it "
            "by panopticapi's panoptic2detection_coco_format.py"
        )
    ids: set[str] = set()
    for number, annotation in enumerate(annotations):
        key, image_key = _key(annotation.get("id")), _key(annotation.get("image_id"))
        where = f"{place} annotation {key or f'number {number}'}"
        if image_key not in images:
            flaw = f"{where} is of image {image_key or 'none'}, which is not in images"
            unusable.append(CocoImage("", f"{where} (number {number})", flaw=f"{flaw}: drop it"))
            continue
        _add(annotation, images[image_key], where=where, names=names, is_repeated=key in ids)
        ids |= {key} - {""}
    return CocoFile([*images.values(), *unusable], "annotations" in content, [*names.values()])


def _caption_of(said: object) -> Caption | None:
    """The caption of six texts by their names, None for anything else."""
    texts = dict(said) if isinstance(said, Mapping) else {}
    is_whole = texts.keys() == {one.name for one in fields(Caption)}
    is_text = all(isinstance(text, str) for text in texts.values())
    return Caption(**texts) if is_whole and is_text else None


def _category_names(entries: list[dict[str, object]], place: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for entry in entries:
        key, name = _key(entry.get("id")), entry.get("name")
        name = str(name) if type(name) is int else name
        if not key or not isinstance(name, str) or not normalise_name(name):
            raise ValueError(
                f"{place} has a category without id or name: got {entry.get('id')!r} and "
                f"{name!r}; {EXPECTED}, a name in quotes"
            )
        if names.setdefault(key, name) != name:
            raise ValueError(
                f"{place} calls category {key} {names[key]!r} and {name!r}: expected one name per "
                "id; correct the categories"
            )
    return names


def _add(
    annotation: Mapping[str, object],
    image: CocoImage,
    *,
    where: str,
    names: Mapping[str, str],
    is_repeated: bool,
) -> None:
    """Hand the annotation to its image; what is wrong with it becomes the image's flaw."""
    image.annotation_count += 1
    name = names.get(_key(annotation.get("category_id")))
    outline = annotation.get("segmentation")
    try:
        if is_repeated:
            raise ValueError("has the id of another one, expected each id once")
        if name is None:
            known = ", ".join(f"{k}={v}" for k, v in list(names.items())[:8])
            raise ValueError(f"is of category {annotation.get('category_id')!r}, expected {known}")
        if isinstance(outline, dict) and not any(image.size_px):
            image.size_px = _size_of(outline)
        regions = _regions_of(annotation, name, image.size_px)
        image.regions += regions
        image.types += [] if regions else [name]
    except ValueError as error:
        image.flaw = image.flaw or f"{where}: {error}"


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


def _runs_of(outline: Mapping[str, object], size_px: tuple[int, int]) -> tuple[int, ...]:
    """The runs (start, length, ...) of an RLE; ValueError for what is not COCO's.

    pycocotools takes a broken string for a mask of rubbish, so that the counts are checked here.
    """
    (width_px, height_px), counts = _size_of(outline), outline.get("counts")
    if all(size_px) and (width_px, height_px) != size_px:
        raise ValueError(
            f"run lengths are of an image of {width_px} x {height_px} px, expected its "
            f"{size_px[0]} x {size_px[1]} px"
        )
    lengths = decode_counts(counts) if isinstance(counts, str) else numbers_of(counts)
    return runs_of_counts(lengths, width_px=width_px, height_px=height_px)


def _size_of(outline: Mapping[str, object]) -> tuple[int, int]:
    """The (width, height) in pixels that an RLE tells; ValueError for none."""
    size = numbers_of(outline.get("size"))
    if len(size) != 2 or not all(0 < number < 1e6 for number in size):
        raise ValueError(f"run lengths have the size {list(size)[:4]}, expected [height, width]")
    return int(size[1]), int(size[0])


def decode_counts(text: str) -> list[int]:
    """The counts in COCO's compressed string; ValueError where it is none.

    Each letter holds five bits, the lowest first, and whether more follow; from the fourth on,
    counts are written as differences from the last but one.
    """
    if not re.fullmatch("(?:[P-o]{0,12}[0-O])*", text):
        raise ValueError(f"run lengths are {text[:20]!r}, expected COCO's compressed string")
    counts: list[int] = []
    for letters in re.findall("[P-o]*[0-O]", text):
        codes = [ord(letter) - 48 for letter in letters]
        value = sum((code & 31) << (5 * place) for place, code in enumerate(codes))
        if codes[-1] & 16:  # the sign is that of the last five bits
            value -= 1 << (5 * len(codes))
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def runs_of_counts(counts: Sequence[float], *, width_px: int, height_px: int) -> tuple[int, ...]:
    """The runs (start, length, ...) of the defect, empty where there is none.

    COCO counts background and defect in turns, down the columns. Raises ValueError for a count
    that is negative or not whole, and where they do not sum to the image's pixels.
    """
    runs: list[int] = []
    end = 0
    for position, count in enumerate(counts):
        if not (0 <= count < float("inf")) or count != int(count):
            raise ValueError(f"run lengths hold {count:g}, expected whole numbers from 0 on")
        if position % 2 and count:
            runs += (end, int(count))
        end += int(count)
    if end != width_px * height_px:
        raise ValueError(
            f"run lengths sum to {end}, expected {width_px} x {height_px} = {width_px * height_px} "
            "px of the image: the RLE of CVAT or Label Studio is not COCO's; export polygons"
        )
    return tuple(runs)


def _key(value: object) -> str:
    """An id as text, "" for none: files write 7 and "7" for the same image."""
    return str(value).strip() if type(value) in (int, str) else ""
