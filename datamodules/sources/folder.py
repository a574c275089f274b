"""A user's own pictures: `images/`, an optional `masks/` beside it, types by subfolder or by CSV.

root/images/<type>/.../<name>.<png|jpg|bmp|tif|...>   the first subfolder names the type
root/masks/<type>/.../<name>.<png|jpg|bmp|tif|...>    the same path, any suffix; optional
root/labels.csv                                       optional, see `label_table.py`
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from datamodules.about import About
from datamodules.annotation import open_mask
from datamodules.captions import Caption
from datamodules.decode import IMAGE_SUFFIXES, open_image
from datamodules.formats.label_table import Label, defect_name, read_labels
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import Vocabulary

UNNAMED_DEFECT = "defect"
HIGHEST_GREY = 65535

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


class Folder(Source):
    """Pictures in a user's folder, with or without masks.

    The type of a picture is its row in labels.csv, else its first subfolder of images/ ("good",
    "ok", "normal" and "no defect" mean good), else, with a mask, "defect" or good by that mask.
    Masks are two-valued: 0 is good, the rest is the picture's type. If 1 is the highest value in
    all masks, 1 is defect; with values up to 255 (soft edges too) everything above 127 is; with
    16-bit values everything above 32767. Masks are opened here for that, pictures are not.
    """

    name: ClassVar[str] = "folder"
    about: ClassVar[About] = About(
        title="Your own pictures",
        licence="your own",
        licence_url="",
        citation="",
        homepage="",
        instructions=(
            "nothing to fetch: place pictures in RAW/images/<type>/, good ones in "
            "RAW/images/good/, and masks of 0 and 255 under the same names in "
            "RAW/masks/<type>/; or tell the types in RAW/labels.csv with the columns image,type "
            "and optionally caption,group"
        ),
    )

    def __init__(self, product: str = "part", material: str = "", *, licence: str = "") -> None:
        self.product = product
        self.material = material
        self.licence = licence

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, sorted by path; one that contradicts its mask has a flaw.

        Raises FileNotFoundError for a missing root or no pictures, ValueError for a bad CSV, for
        masks that fit no picture, and where all masks hold class ids.
        """
        root = Path(root)
        images = _find_images(root)
        labels = read_labels(root, images)
        masks = _match_masks(root, images)
        graded = {image: _highest_band(mask) for image, mask in masks.items()}
        threshold = max((band for band, _ in graded.values()), default=_BLANK)
        if threshold == _FEW:
            image = next(image for image, (band, _) in graded.items() if band == _FEW)
            raise ValueError(
                f"mask {masks[image]} holds class ids, no mask a value above 127: expected masks "
                "of 0 and 1, or of 0 and 255; write one type per picture, 255 where it is"
            )
        records = []
        for image in images:
            band, flaw = graded.get(image, (_BLANK, ""))
            label = labels.get(image) or _label_by_place(root, image, masks, band=band)
            flaw = flaw or _contradiction(image, label, masks, band=band, threshold=threshold)
            records.append(
                self._record(
                    root,
                    image,
                    label or Label(""),
                    mask=masks.get(image),
                    largest_good=_LARGEST_GOOD_GREY[threshold],
                    flaw=flaw,
                )
            )
        return records

    def _record(
        self,
        root: Path,
        image: Path,
        label: Label,
        *,
        mask: Path | None,
        largest_good: int,
        flaw: str,
    ) -> Record:
        values: tuple[MaskValues, ...] = (MaskValues(0, largest_good, GOOD),)
        if label.defect:
            values = (*values, MaskValues(largest_good + 1, HIGHEST_GREY, label.defect))
        path = image.relative_to(root).as_posix()
        return Record(
            image=path,
            mask=mask.relative_to(root).as_posix() if mask is not None else "",
            mask_values=values if mask is not None else (),
            defects=(label.defect,) if label.defect else (),
            caption=self._caption(label),
            group=label.group or path,
            source=self.name,
            released_caption=label.caption,
            licence=self.licence,
            flaw=flaw,
        )

    def _caption(self, label: Label) -> Caption:
        """The caption of the CSV if it follows the template; other words become the shape field."""
        caption = Caption(product=self.product, material=self.material, defect=label.defect)
        if not label.caption:
            return caption
        try:
            return Caption.parse(label.caption)
        except ValueError:
            words = label.caption.rstrip(". ")
            return replace(caption, morphology=words) if label.defect else caption


def _find_images(root: Path) -> list[Path]:
    if not (root / "images").is_dir():
        what = "the folder images in it" if root.is_dir() else "that folder"
        raise FileNotFoundError(
            f"data root {root}: {what} is missing; expected pictures in images/<type>/"
        )
    images = _pictures_under(root / "images")
    if not images:
        raise FileNotFoundError(
            f"{root / 'images'} holds no pictures ({', '.join(IMAGE_SUFFIXES)}): "
            "put them in images/<type>/"
        )
    return images


def _pictures_under(folder: Path) -> list[Path]:
    # Dot files are what desktops leave behind ("._a.png"), never pictures.
    return sorted(
        Path(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    )


def _match_masks(root: Path, images: list[Path]) -> dict[Path, Path]:
    """The mask of every image that has one: the same path under masks/ but for the suffix."""
    owners: dict[Path, list[Path]] = {}
    for image in images:
        owners.setdefault(image.relative_to(root / "images").with_suffix(""), []).append(image)
    matched: dict[Path, Path] = {}
    for mask in _pictures_under(root / "masks"):
        owner = owners.get(mask.relative_to(root / "masks").with_suffix(""))
        if owner is None:
            raise ValueError(
                f"mask {_shown(mask)} belongs to no picture: expected the same path and name under "
                f"{root / 'images'}; rename or remove it"
            )
        if len(owner) > 1 or owner[0] in matched:
            raise ValueError(
                f"mask {_shown(mask)}: its name stands for {_shown(owner[0])} and for a second "
                "picture or mask; expected one picture and one mask of a name; rename one"
            )
        matched[owner[0]] = mask
    return matched


def _shown(path: Path) -> str:
    """The path as a message may hold it: on one line, whatever its name."""
    return str(path) if str(path).isprintable() else repr(str(path))


def _highest_band(mask: Path) -> tuple[int, str]:
    """The highest band of grey values in a mask, and why it cannot be opened, "" where it can."""
    try:
        # Its own size: whether it is the picture's is found where pictures are opened.
        size_px = open_image(mask).shape[:2]
        bands = open_mask(mask, _BAND_VALUES, vocabulary=_BANDS, size_px=size_px)
    except (ValueError, OSError) as error:
        return _BLANK, str(error).split("\n", maxsplit=1)[0]
    return int(bands.max(initial=_BLANK)), ""


def _label_by_place(root: Path, image: Path, masks: dict[Path, Path], *, band: int) -> Label | None:
    folders = image.relative_to(root / "images").parts[:-1]
    if folders:
        return Label(defect_name(folders[0]))
    if image not in masks:
        return None
    return Label(UNNAMED_DEFECT if band > _BLANK else "")


def _contradiction(
    image: Path, label: Label | None, masks: dict[Path, Path], *, band: int, threshold: int
) -> str:
    """What is wrong between a picture's type and the highest band of its mask, "" for nothing."""
    if label is None:
        return (
            f"picture {image} has no type: expected it in images/<type>/, in labels.csv, "
            "or with a mask"
        )
    is_marked = band == threshold and band in (_ONE, _BYTE, _WIDE)
    if is_marked and not label.defect:
        return (
            f"picture {image} is good, but its mask {masks[image]} marks defects: "
            "give the picture a type or clear the mask"
        )
    # Grey noise on a good part is harmless; on a defective one it may be a mask of 0 and 1.
    if label.defect and band > _BLANK and not is_marked:
        return (
            f"mask {masks[image]} holds only dark grey, expected its defect to be as bright as "
            "that of other masks: write 0 and 255 in all masks"
        )
    return ""
