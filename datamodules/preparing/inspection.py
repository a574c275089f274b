"""One Record is opened and completed by what its pixels tell, or refused with a reason.

All sources are completed here alike: size and hash of the file, the defects that the mask shows,
the caption's words of place and shape. Who inspects many records at once is `preparation.py`.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from datamodules.annotation import open_pair
from datamodules.formats.image_header import read_header
from datamodules.formats.synthetic_mark import SYNTHETIC_KEY, YES, read_text
from datamodules.language.descriptors import location_of, morphology_of
from datamodules.preparing.fingerprints import Fingerprint, fingerprint
from datamodules.sample import GOOD, GOOD_ID, Record
from datamodules.vocabulary import Vocabulary

BLANK_MASK = "blank mask in a defective image: kept without a mask"
TURNED = "turned by EXIF: the stored pixels are used, --upright turns image and annotation"
REFUSALS = (FileNotFoundError, ValueError, OSError, cv2.error)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What came of looking at one record.

    record: completed, or as it was where `problem` says why it is refused; notes: what was
    found and settled; fingerprint: None for a refused one.
    """

    record: Record
    problem: str = ""
    notes: tuple[str, ...] = ()
    fingerprint: Fingerprint | None = None


def inspect(record: Record, root: Path) -> Inspection:
    """The record with everything that its files tell; no error for a bad file, but a problem."""
    if record.flaw:
        return Inspection(record, problem=record.flaw)
    try:
        path = root / record.image
        refuse_odd_paths(root, record)
        vocabulary = local_vocabulary(record)
        image, ids = open_pair(record, root, vocabulary=vocabulary)
        refuse_other_size(record, image)
        refuse_hidden_mark(record, path)
        record = replace(
            record,
            width_px=image.shape[1],
            height_px=image.shape[0],
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        record, notes = describe(record, ids, vocabulary=vocabulary)
        if read_header(path).orientation != 1:
            notes = (*notes, TURNED)
        seen = fingerprint(image)
    except REFUSALS as error:
        return Inspection(record, problem=reason_of(error))
    return Inspection(record, notes=notes, fingerprint=seen)


def reason_of(error: Exception) -> str:
    """Why a image is refused, in one line; of an error of the system without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename} cannot be opened ({error.strerror}): check the file and its name"
    return str(error).split("\n", maxsplit=1)[0]


def refuse_odd_paths(root: Path, record: Record) -> None:
    """Nothing for plain files and words; ValueError for unprintable ones, links, ways out."""
    for name in (record.image, record.mask):
        if not name.isprintable():
            raise ValueError(f"{name!r} is a name with unprintable characters: rename the file")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"path {name!r} leads out of the data root: expected one below it")
        if name and (root / name).is_symlink():
            raise ValueError(f"{root / name} is a symbolic link: copy the file that it leads to")
    for word in record.defects:
        if not word.isprintable():
            raise ValueError(f"type {word!r} has unprintable characters: write it in letters")


def refuse_hidden_mark(record: Record, path: Path) -> None:
    """Nothing for what is told to be generated; ValueError for a marked PNG that passes as real."""
    if record.is_generated or path.suffix.lower() != ".png":
        return
    if read_text(path).get(SYNTHETIC_KEY) == YES:
        raise ValueError(
            f"image {record.image} carries the mark of a generated one, but is listed as real: "
            "prepare its folder with --source generated"
        )


def refuse_other_size(record: Record, image: np.ndarray) -> None:
    """Nothing, where the image has the size that the annotation tells of, if it tells any."""
    told = record.width_px, record.height_px
    stored = image.shape[1], image.shape[0]
    if told != (0, 0) and told != stored:
        raise ValueError(
            f"image {record.image} is {stored[0]} x {stored[1]} px, but was annotated at "
            f"{told[0]} x {told[1]} px, expected one size: annotate the image that is there"
        )


def describe(
    record: Record, ids: np.ndarray | None, *, vocabulary: Vocabulary
) -> tuple[Record, tuple[str, ...]]:
    """The record with defects and caption by its mask (H, W) of ids, and notes on what was odd.

    Types that only the mask tells are named too, the largest first.
    """
    if ids is None or not (record.mask or record.regions):
        return record, ()
    shown = shown_types(ids, vocabulary)
    if not shown and record.defects:
        return replace(record, mask="", mask_values=(), regions=()), (BLANK_MASK,)
    named = tuple(name for name in record.defects if name in shown)
    hidden = tuple(name for name in record.defects if name not in shown)
    defects = named + tuple(name for name in shown if name not in named) + hidden
    notes = tuple(f"{name} is named but not drawn" for name in hidden)
    caption = record.caption
    is_boxed = record.mask_kind == "box"
    if defects:
        caption = replace(
            caption,
            defect=caption.defect or " and ".join(defects),
            location=caption.location or location_of(ids),
            # The outline of a box says nothing of the defect's own shape.
            morphology=caption.morphology or ("" if is_boxed else morphology_of(ids)),
        )
    return replace(record, defects=defects, caption=caption), notes


def shown_types(ids: np.ndarray, vocabulary: Vocabulary) -> list[str]:
    """The names of the defect ids in a mask, the largest area first."""
    areas_px = np.bincount(ids.ravel(), minlength=len(vocabulary))
    largest_first = np.argsort(-areas_px, kind="stable")
    return [vocabulary.names[k] for k in largest_first if areas_px[k] and k != GOOD_ID]


def local_vocabulary(record: Record) -> Vocabulary:
    """The names that the record's own annotation uses."""
    used = {value.name for value in record.mask_values} | {item.name for item in record.regions}
    return Vocabulary.from_names(sorted(used - {GOOD}) or ["defect"])
