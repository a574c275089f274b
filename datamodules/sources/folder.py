"""A user's own images: `images/`, an optional `masks/` beside it, types by subfolder or by CSV.

root/images/<type>/.../<name>.<png|jpg|bmp|tif|...>   the first subfolder names the type
root/masks/<type>/.../<name>.<png|jpg|bmp|tif|...>    the same path, any suffix; optional
root/labels.csv                                       optional, see `formats/tables.py`
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

from datamodules.annotation import open_mask
from datamodules.captions import Caption
from datamodules.decode import open_image
from datamodules.formats.layout import scan_tree
from datamodules.formats.records import (
    HIGHEST_GREY,
    UNNAMED_DEFECT,
    defect_name,
    grey_values,
    make_record,
)
from datamodules.formats.tables import read_table
from datamodules.manifest import Source
from datamodules.sample import MaskValues, Record
from datamodules.vocabulary import Vocabulary

LAYOUT = "expected images in images/<type>/"
LABEL_COLUMNS = ("image", "type", "caption", "group")
# Which grey values occur: the highest band met in all masks together sets the threshold.
_BAND_VALUES = (
    MaskValues(1, 1, "one"),
    MaskValues(2, 127, "few"),
    MaskValues(128, 255, "byte"),
    MaskValues(256, 32767, "dim"),
    MaskValues(32768, HIGHEST_GREY, "wide"),
)
_BANDS = Vocabulary.from_names([band.name for band in _BAND_VALUES])
_BLANK, _ONE, _FEW, _BYTE, _DIM, _WIDE = range(6)
_LARGEST_GOOD_GREY = {_BLANK: 127, _ONE: 0, _BYTE: 127, _DIM: 32767, _WIDE: 32767}


class Label(NamedTuple):
    """What a user says of one image: `defect` is "" for good, the rest "" where not given."""

    defect: str
    caption: str = ""
    group: str = ""


class Folder(Source):
    """Images in a user's folder, with or without masks.

    The type of an image is its row in labels.csv, else its first subfolder of images/ ("good",
    "ok", "normal" and "no defect" mean good), else, with a mask, "defect" or good by that mask.
    Masks are two-valued: 0 is good, the rest is the image's type. If 1 is the highest value in
    all masks, 1 is defect; with values up to 255 (soft edges too) everything above 127 is; with
    16-bit values everything above 32767. Masks are opened here for that, images are not.
    """

    name: ClassVar[str] = "folder"

    def __init__(self, product: str = "part", material: str = "", *, licence: str = "") -> None:
        self.product = product
        self.material = material
        self.licence = licence

    def records(self, root: Path) -> list[Record]:
        """One Record per image, sorted by path; one that contradicts its mask has a flaw.

        Raises FileNotFoundError for a missing root or no images, ValueError for a bad CSV, for
        masks that fit no image, and where all masks hold class ids.
        """
        root = Path(root)
        found = sorted(scan_tree(root, remedy=LAYOUT).images, key=lambda path: path.split("/"))
        images = [path for path in found if path.startswith("images/")]
        if not images:
            raise FileNotFoundError(f"{root / 'images'} is missing or holds no images: {LAYOUT}")
        labels = _read_labels(root / "labels.csv", images)
        masks = _match_masks(images, [path for path in found if path.startswith("masks/")])
        graded = {image: _highest_band(root / mask) for image, mask in masks.items()}
        threshold = max((band for band, _ in graded.values()), default=_BLANK)
        if threshold == _FEW:
            image = next(image for image, (band, _) in graded.items() if band == _FEW)
            raise ValueError(
                f"mask {root / masks[image]} holds class ids, no mask a value above 127: expected "
                "masks of 0 and 1, or of 0 and 255; write one type per image, 255 where it is"
            )
        records = []
        for image in images:
            mask = masks.get(image, "")
            band, flaw = graded.get(image, (_BLANK, ""))
            label = labels.get(image) or _label_by_place(image, mask, band=band)
            flaw = flaw or _contradiction(image, label, mask, band=band, threshold=threshold)
            records.append(
                self._record(
                    image,
                    label or Label(""),
                    mask=mask,
                    largest_good=_LARGEST_GOOD_GREY[threshold],
                    flaw=flaw,
                )
            )
        return records

    def _record(
        self, image: str, label: Label, *, mask: str, largest_good: int, flaw: str
    ) -> Record:
        record = make_record(
            self,
            image,
            product=self.product,
            material=self.material,
            defects=(label.defect,) if label.defect else (),
            mask=mask,
            mask_values=grey_values(label.defect, largest_good=largest_good, highest=HIGHEST_GREY),
            flaw=flaw,
        )
        return replace(
            record,
            caption=_caption_of(label, record.caption),
            released_caption=label.caption,
            group=label.group or image,
            licence=self.licence,
        )


def _caption_of(label: Label, built: Caption) -> Caption:
    """The caption of the CSV if it follows the template; other words become the shape field."""
    if not label.caption:
        return built
    try:
        return Caption.parse(label.caption)
    except ValueError:
        words = label.caption.rstrip(". ")
        return replace(built, morphology=words) if label.defect else built


def _read_labels(path: Path, images: Sequence[str]) -> dict[str, Label]:
    """The labels of a table by image, {} where there is none; the column is below images/."""
    labels: dict[str, Label] = {}
    known = set(images)
    for row in read_table(path, LABEL_COLUMNS) if path.is_file() else ():
        image = f"images/{row.image}"
        if row.flaw:
            raise ValueError(row.flaw)
        if image not in known or len(row.types) != 1:
            problem = "has no or several types" if image in known else "is not there"
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
                f"mask {_shown(mask)} belongs to no image: expected the same path and name under "
                "images/; rename or remove it"
            )
        if len(owner) > 1 or owner[0] in matched:
            raise ValueError(
                f"mask {_shown(mask)}: its name stands for {_shown(owner[0])} and for a second "
                "image or mask; expected one image and one mask of a name; rename one"
            )
        matched[owner[0]] = mask
    return matched


def _stem_below(path: str) -> str:
    """The path without its first folder and its suffix."""
    return PurePosixPath(path.partition("/")[2]).with_suffix("").as_posix()


def _shown(path: str) -> str:
    """The path as a message may hold it: on one line, whatever its name."""
    return path if path.isprintable() else repr(path)


def _highest_band(mask: Path) -> tuple[int, str]:
    """The highest band of grey values in a mask, and why it cannot be opened, "" where it can."""
    try:
        # Its own size: whether it is the image's is found where images are opened.
        size_px = open_image(mask).shape[:2]
        bands = open_mask(mask, _BAND_VALUES, vocabulary=_BANDS, size_px=size_px)
    except (ValueError, OSError) as error:
        return _BLANK, str(error).split("\n", maxsplit=1)[0]
    return int(bands.max(initial=_BLANK)), ""


def _label_by_place(image: str, mask: str, *, band: int) -> Label | None:
    folders = image.split("/")[1:-1]
    if folders:
        return Label(defect_name(folders[0]))
    return Label(UNNAMED_DEFECT if band > _BLANK else "") if mask else None


def _contradiction(image: str, label: Label | None, mask: str, *, band: int, threshold: int) -> str:
    """What is wrong between an image's type and the highest band of its mask, "" for nothing."""
    if label is None:
        return (
            f"image {image} has no type: expected it in images/<type>/, in labels.csv, "
            "or with a mask"
        )
    is_marked = band == threshold and band in (_ONE, _BYTE, _WIDE)
    if is_marked and not label.defect:
        return (
            f"image {image} is good, but its mask {mask} marks defects: give the image a type or "
            "clear the mask"
        )
    # Grey noise on a good part is harmless; on a defective one it may be a mask of 0 and 1.
    if label.defect and band > _BLANK and not is_marked:
        return (
            f"mask {mask} holds only dark grey, expected its defect to be as bright as "
            "that of other masks: write 0 and 255 in all masks"
        )
    return ""
