"""A user's own pictures: `images/`, an optional `masks/` beside it, types by subfolder or by CSV.

root/images/<type>/.../<name>.<png|jpg|bmp|tif|...>   the first subfolder names the type
root/masks/<type>/.../<name>.<png|jpg|bmp|tif|...>    the same path, any suffix; optional
root/labels.csv                                       optional, see `label_table.py`
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.captions import Caption, location_of, morphology_of
from datamodules.image_files import IMAGE_SUFFIXES, open_image, open_mask
from datamodules.label_table import Label, defect_name, read_labels
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import Vocabulary

UNNAMED_DEFECT = "defect"
LOGGER = logging.getLogger(__name__)

# Grey values of all masks together fall in one of these bands; the highest band met decides.
_BANDS = Vocabulary.from_names(["one", "few", "byte", "wide"])
_BAND_VALUES = (
    MaskValues(0, 0, GOOD),
    MaskValues(1, 1, "one"),
    MaskValues(2, 127, "few"),
    MaskValues(128, 255, "byte"),
    MaskValues(256, 65535, "wide"),
)
_FAINT, _MARKED = 1, 2
_LARGEST_GOOD_GREY = {"one": 0, "byte": 127, "wide": 32767}


class Folder(Source):
    """Pictures in a user's folder, with or without masks.

    The type of a picture is its row in labels.csv, else its first subfolder of images/ ("good",
    "ok", "normal" and "no defect" mean good), else, with a mask, "defect" or good by that mask.
    Masks are two-valued: 0 is good, the rest is the picture's type. If 1 is the highest value in
    all masks, 1 is defect; with values up to 255 (soft edges too) everything above 127 is; with
    16-bit values everything above 32767. Other value ranges are class ids and are refused.
    A picture without a mask, or a defective one with an all-good mask, is a Record without mask.
    """

    name: ClassVar[str] = "folder"

    def __init__(self, product: str = "part", material: str = "") -> None:
        self.product = product
        self.material = material

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, sorted by path.

        Raises FileNotFoundError for a missing root or no pictures, ValueError for a bad CSV, a
        picture without type, and masks that fit no picture, have another size or class ids.
        """
        root = Path(root)
        images = _find_images(root)
        labels = read_labels(root, images)
        masks = _match_masks(root, images)
        sizes_px = {image: open_image(image).shape[:2] for image in masks}
        largest_good = _largest_good_grey(masks, sizes_px)
        records: list[Record] = []
        for image in images:
            grades = np.zeros((1, 1), np.uint8)
            if image in masks:
                grades = _open_graded(masks[image], largest_good, size_px=sizes_px[image])
            label = labels.get(image) or Label(_type_by_place(root, image, masks, grades))
            _check_marks(image, label, masks.get(image), grades)
            mask = masks.get(image) if label.defect == "" or (grades == _MARKED).any() else None
            records.append(
                self._record(
                    root,
                    image,
                    label,
                    mask=mask,
                    is_defect=grades == _MARKED,
                    largest_good=largest_good,
                )
            )
        _warn_of_blank_masks(root, records, masks)
        return records

    def _record(
        self,
        root: Path,
        image: Path,
        label: Label,
        *,
        mask: Path | None,
        is_defect: np.ndarray,
        largest_good: int,
    ) -> Record:
        values: tuple[MaskValues, ...] = (MaskValues(0, largest_good, GOOD),)
        if label.defect:
            values = (*values, MaskValues(largest_good + 1, 65535, label.defect))
        path = image.relative_to(root).as_posix()
        return Record(
            image=path,
            mask=mask.relative_to(root).as_posix() if mask is not None else "",
            mask_values=values if mask is not None else (),
            defects=(label.defect,) if label.defect else (),
            caption=self._caption(label, is_defect),
            group=label.group or path,
            source=self.name,
        )

    def _caption(self, label: Label, is_defect: np.ndarray) -> Caption:
        """The caption of the CSV if it follows the template; other words become the shape field."""
        caption = Caption(
            product=self.product,
            material=self.material,
            defect=label.defect,
            location=location_of(is_defect),
            morphology=morphology_of(is_defect),
        )
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
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
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
                f"mask {mask} belongs to no picture: expected the same path and name under "
                f"{root / 'images'}; rename or remove it"
            )
        if len(owner) > 1 or owner[0] in matched:
            raise ValueError(
                f"mask {mask}: its name stands for {owner[0]} and for a second picture or mask; "
                "expected one picture and one mask of a name; rename one"
            )
        matched[owner[0]] = mask
    return matched


def _largest_good_grey(masks: dict[Path, Path], sizes_px: dict[Path, tuple[int, int]]) -> int:
    """The threshold for all masks together, from the highest grey value in any of them."""
    highest, where = 0, Path()
    for image, mask in masks.items():
        bands = open_mask(mask, _BAND_VALUES, vocabulary=_BANDS, size_px=sizes_px[image])
        if bands.max(initial=0) > highest:
            highest, where = int(bands.max()), mask
    if _BANDS.names[highest] == "few":
        raise ValueError(
            f"mask {where} holds class ids, no mask a value above 127: expected masks of 0 and 1, "
            "or of 0 and 255; write one type per picture, 255 where it is"
        )
    return _LARGEST_GOOD_GREY.get(_BANDS.names[highest], 127)


def _open_graded(mask: Path, largest_good: int, *, size_px: tuple[int, int]) -> np.ndarray:
    """The mask as (H, W) grades: 0, _FAINT up to the threshold, _MARKED above it."""
    values = (
        MaskValues(0, 0, GOOD),
        MaskValues(1, largest_good, "faint"),
        MaskValues(largest_good + 1, 65535, "marked"),
    )
    grades = Vocabulary.from_names(["faint", "marked"])
    return open_mask(mask, values, vocabulary=grades, size_px=size_px)


def _check_marks(image: Path, label: Label, mask: Path | None, grades: np.ndarray) -> None:
    marked_px = int((grades == _MARKED).sum())
    if marked_px and not label.defect:
        raise ValueError(
            f"picture {image} is good, but its mask {mask} marks {marked_px} px: "
            "give the picture a type or clear the mask"
        )
    # Grey noise on a good part is harmless; on a defective one it may be a mask of 0 and 1.
    if label.defect and not marked_px and (grades == _FAINT).any():
        raise ValueError(
            f"mask {mask} holds only dark grey, while other masks reach 255: expected its defect "
            "to be as bright as theirs; write 0 and 255 in all masks"
        )


def _warn_of_blank_masks(root: Path, records: list[Record], masks: dict[Path, Path]) -> None:
    blank = [r.image for r in records if r.defects and not r.mask and root / r.image in masks]
    if blank:
        LOGGER.warning(
            "%d defective pictures have a blank mask and count as without mask, the first is %s",
            len(blank),
            blank[0],
        )


def _type_by_place(root: Path, image: Path, masks: dict[Path, Path], grades: np.ndarray) -> str:
    folders = image.relative_to(root / "images").parts[:-1]
    if folders:
        return defect_name(folders[0])
    if image not in masks:
        raise ValueError(
            f"picture {image} has no type: expected it in images/<type>/, in labels.csv, "
            "or with a mask"
        )
    return UNNAMED_DEFECT if grades.any() else ""
