"""A user's own images: `images/`, an optional `masks/` beside it, types by subfolder or by CSV.

root/images/<type>/.../<name>.<png|jpg|bmp|tif|...>   the first subfolder names the type, in
root/images/<split>/<type>/...                        folders called train, val, test the next one
root/masks/<type>/.../<name>.<png|jpg|bmp|tif|...>    the same path, any suffix; optional
root/labels.csv                                       optional: image,type[,caption][,group]
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

from datamodules.captions import Caption
from datamodules.formats.layout import SPLIT_WORDS, FileTree, fold, scan_tree
from datamodules.formats.records import UNNAMED_DEFECT, RecordMaker
from datamodules.formats.tables import read_table
from datamodules.manifest import Source
from datamodules.masks import survey_masks
from datamodules.sample import Record

LAYOUT = "expected images in images/<type>/"
NO_TYPE = "expected it in images/<type>/, in labels.csv, or with a mask"
NO_SPLIT = -1
LABEL_COLUMNS = ("image", "type", "caption", "group")


class Label(NamedTuple):
    """What a user says of one image, "" where not given; `defect` as it is typed."""

    defect: str
    caption: str = ""
    group: str = ""


class Folder(Source):
    """Images in a user's folder, with or without masks.

    The type of an image is its row in labels.csv, else its subfolder of images/ ("good",
    "ok", "defect free" and their like mean good), else, with a mask, "defect" or good by that.
    Masks are two-valued: dark is good, bright is the image's type, be it 255, 1 or another value
    than the rest in all masks (`masks.py`). Masks are opened here for that, images are not.
    frame: see `formats/records.py`.
    """

    name: ClassVar[str] = "folder"
    unclaimed = "image outside images/ and masks/"

    def __init__(
        self, product: str = "part", material: str = "", *, licence: str = "", frame: str = ""
    ) -> None:
        self.maker = RecordMaker(self, product, material, licence, frame=frame)

    def records(self, root: Path) -> list[Record]:
        """One Record per image, sorted by path; one that contradicts its mask has a flaw.

        Raises FileNotFoundError for a missing root or no images, ValueError for a bad CSV, for
        masks that fit no image, and where all masks hold class ids.
        """
        tree = scan_tree(root, documents=("labels.csv",), remedy=LAYOUT)
        images = sorted(tree.images_below("images"), key=lambda path: path.split("/"))
        if not images:
            raise FileNotFoundError(f"{root / 'images'} is missing or holds no images: {LAYOUT}")
        has_splits = _has_splits(root, images)
        labels = _read_labels(root, tree)
        masks = _match_masks(images, tree.images_below("masks"))
        survey = survey_masks(root, masks.values())
        records = []
        for image in images:
            mask, folders = masks.get(image, ""), image.split("/")[1:-1]
            split = SPLIT_WORDS[folders.pop(0).lower()] if has_splits else ""
            label, flaw = labels.get(image), ""
            if label is None and folders:
                label = Label(folders[0])
            elif label is None and mask:
                label = Label(UNNAMED_DEFECT if survey.marks(mask) else "")
            elif label is None:
                flaw = f"image {image} has no type: {NO_TYPE}"
            label = label or Label("")
            types = [label.defect] if label.defect else []
            record = self.maker.make(image, types=types, split=split, flaw=flaw)
            defect = "".join(record.defects)
            records.append(
                replace(
                    record,
                    mask=mask,
                    mask_values=survey.values_of(mask, defect) if mask else (),
                    caption=_caption_of(label, record.caption),
                    released_caption=label.caption,
                    group=label.group or image,
                    licence=self.maker.licence,
                    flaw=record.flaw or survey.problem_of(mask, defect),
                )
            )
        return records


def _caption_of(label: Label, built: Caption) -> Caption:
    """The caption of the CSV if it follows the template; other words become the shape field."""
    if not label.caption:
        return built
    try:
        return Caption.parse(label.caption)
    except ValueError:
        words = label.caption.rstrip(". ")
        return replace(built, morphology=words) if label.defect else built


def _read_labels(root: Path, tree: FileTree) -> dict[str, Label]:
    """The labels of a table by image, {} where there is none; the column is below images/."""
    labels: dict[str, Label] = {}
    path = root / (tree.find("labels.csv") or "labels.csv")
    for row in read_table(path, LABEL_COLUMNS) if path.is_file() else ():
        image = tree.find(f"images/{row.image}")
        if row.flaw:
            raise ValueError(row.flaw)
        if not image or len(row.types) != 1:
            problem = "has no or several types" if image else "is not there"
            raise ValueError(
                f"{path} line {row.line}: image {row.image!r} {problem}; expected one row per "
                "image with its path below images/ and its type or 'good'"
            )
        labels[image] = Label(row.types[0], row.cells["caption"], row.cells["group"])
    return labels


def _match_masks(images: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """The mask of every image that has one: the same path under masks/ but for the suffix."""
    owners: dict[str, list[str]] = {}
    for image in images:
        owners.setdefault(_stem_below(image), []).append(image)
    matched: dict[str, str] = {}
    for mask in masks:
        owner = owners.get(_stem_below(mask), [])
        if not owner:
            raise ValueError(
                f"mask {mask!r} belongs to no image: expected the same path and name under "
                "images/; rename or remove it"
            )
        if len(owner) > 1 or owner[0] in matched:
            raise ValueError(
                f"mask {mask!r}: its name stands for {owner[0]!r} and for a second image or mask; "
                "expected one image and one mask of a name; rename one"
            )
        matched[owner[0]] = mask
    return matched


def _stem_below(path: str) -> str:
    """The path without its first folder and its suffix, as names are compared."""
    return fold(PurePosixPath(path.partition("/")[2]).with_suffix("").as_posix())


def _has_splits(root: Path, images: Sequence[str]) -> bool:
    """Whether images/ holds a folder for each split; ValueError for such folders elsewhere."""
    depths: dict[int, str] = {}
    for image in images:
        is_split = [name in SPLIT_WORDS for name in image.lower().split("/")[1:-1]]
        depths[is_split.index(True) if any(is_split) else NO_SPLIT] = image
    if len(depths) > 1 or not depths.keys() <= {NO_SPLIT, 0}:
        named = ", ".join(depths[depth] for depth in sorted(depths)[-2:])
        raise ValueError(
            f"{root} has folders called train, val or test in some places only ({named}): expected "
            "images/<split>/<type>/ for all images, or images/<type>/"
        )
    return 0 in depths
