"""Changed copies of images and masks: upright, redacted, smaller, without metadata (section 5.1).

Originals are never touched: copies lie in a folder of their own, whose name follows from the
changes, and a copy that is there already is not made again. A copy is a PNG file of the very
pixels that training sees of an image, upright, and nothing else: no metadata survives.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil, floor
from pathlib import Path

import cv2
import numpy as np

from datamodules.annotation import open_annotation
from datamodules.decode import open_pixels, read_header
from datamodules.formats.synthetic_mark import read_text, with_mark
from datamodules.formats.tables import BOX_COLUMNS, read_table
from datamodules.preparing.frames import in_shown_frame, moved_regions, shrunk_ids
from datamodules.preparing.inspection import (
    FILE_ERRORS,
    check_names,
    check_size,
    local_vocabulary,
    reason_of,
)
from datamodules.sample import GOOD, SHOWN, MaskValues, Record
from datamodules.whole_files import whole

BoxXywh = tuple[int, int, int, int]


@dataclass(frozen=True)
class Changes:
    """What copies of the images differ in; with all off nothing is copied.

    longest_side_px: larger images are shrunk to it, 0 for none; make_upright: stored as a viewer
    shows them, with their annotation; strip: metadata (EXIF, XMP, comments) is left out;
    redactions: boxes (left, top, width, height) in the pixels that a viewer shows, painted over,
    by image path.
    """

    longest_side_px: int = 0
    make_upright: bool = False
    strip: bool = False
    redactions: Mapping[str, tuple[BoxXywh, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.longest_side_px or self.make_upright or self.strip or self.redactions)

    @property
    def folder_name(self) -> str:
        """The folder of copies: another one for other changes."""
        words = repr(("upright", self.longest_side_px, sorted(self.redactions.items())))
        return f"images-{hashlib.sha256(words.encode()).hexdigest()[:8]}"


def read_redactions(path: str) -> dict[str, tuple[BoxXywh, ...]]:
    """The boxes of a CSV with the columns image, left, top, width, height, by image; "" for none.

    Parts of pixels count whole. Raises FileNotFoundError, or ValueError for a wrong header, a
    number that is none and a box without area.
    """
    boxes: dict[str, tuple[BoxXywh, ...]] = {}
    if path and not Path(path).is_file():
        raise FileNotFoundError(f"redactions {path} is missing: expected a CSV file")
    for row in read_table(Path(path), ("image", *BOX_COLUMNS)) if path else ():
        if row.flaw or not row.boxes:
            raise ValueError(row.flaw or f"{path} line {row.line}: expected a box, got none")
        for left, top, width, height in (box.numbers for box in row.boxes):
            x, y = floor(left), floor(top)
            box = (x, y, ceil(left + width) - x, ceil(top + height) - y)
            boxes[row.image] = (*boxes.get(row.image, ()), box)
    return boxes


def copy_all(
    records: Sequence[Record], root: Path, folder: Path, *, changes: Changes
) -> list[Record]:
    """The records of changed copies below `folder`, in the same order; bad ones have a flaw.

    Raises ValueError for a folder below the root, and for a redaction of an image that is not
    there: a typing error must not publish what was to be hidden.
    """
    if root.resolve() in folder.resolve().parents:
        raise ValueError(
            f"copies would lie in {folder}, where the next run took them for images of {root}: "
            "choose an --out outside --root"
        )
    unknown = sorted(changes.redactions.keys() - {record.image for record in records})
    if unknown:
        raise ValueError(
            f"redactions name {unknown[0]!r}, which is no image of the data ({len(unknown)} such "
            "names): expected paths below the root as in the manifest"
        )
    work = partial(copy_one, root=root, folder=folder, changes=changes)
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        return list(pool.map(work, records))
    except KeyboardInterrupt as stop:
        words = f"whole copies are kept in {folder}, the same command goes on from there"
        raise KeyboardInterrupt(words) from stop
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C what has not begun is not begun


def copy_one(record: Record, root: Path, folder: Path, *, changes: Changes) -> Record:
    """The record of a changed copy below `folder`; one with a flaw where it cannot be made."""
    if record.flaw:
        return record
    try:
        return _copied(record, root, folder, changes=changes)
    except FILE_ERRORS as error:
        return replace(record, flaw=reason_of(error))


def _copied(record: Record, root: Path, folder: Path, *, changes: Changes) -> Record:
    check_names(root, record)
    source, vocabulary = root / record.image, local_vocabulary(record)
    header = read_header(source)
    record = in_shown_frame(record, root, header=header, vocabulary=vocabulary)
    size_px = header.shown_px[::-1]
    check_size(record, size_px)
    # A box of another frame would hide something else.
    if header.orientation != 1 and record.image in changes.redactions and record.frame != SHOWN:
        raise ValueError(
            f"{source} is turned by EXIF orientation {header.orientation}, expected its redactions "
            "in pixels as shown: say so by --source.frame shown, or save it upright"
        )

    scale = changes.longest_side_px / max(size_px)
    small_px = [max(1, round(length * scale)) for length in header.shown_px]
    is_shrunk = 0 < scale < 1

    def copy_image() -> np.ndarray:
        pixels = _redacted(open_pixels(source), record.image, changes)
        return cv2.resize(pixels, small_px, interpolation=cv2.INTER_AREA) if is_shrunk else pixels

    def copy_mask() -> np.ndarray:
        ids = open_annotation(record, root, vocabulary=vocabulary, image_size_px=size_px)
        assert ids is not None  # a record with a mask file has an annotation
        return shrunk_ids(ids, small_px) if is_shrunk else ids

    is_png = record.image.lower().endswith(".png")
    image = record.image if is_png else f"{record.image}.png"
    text = read_text(source) if record.is_generated else {}
    _write_png(folder / image, source, copy_image, text)
    copied = replace(record, image=image, width_px=0, height_px=0)
    if is_shrunk:
        shrunk = partial(shrunk_ids, small_px=small_px)
        copied = replace(copied, regions=moved_regions(record.regions, shrunk, size_px))
    if not record.mask:
        return copied
    # The ids follow from what grey values were said to mean, which may be corrected.
    said = hashlib.sha256(repr((record.mask_values, record.frame)).encode()).hexdigest()[:8]
    mask = f"{record.mask}.{said}.ids.png"
    _write_png(folder / mask, root / record.mask, copy_mask)
    used = {GOOD, *(value.name for value in record.mask_values)}
    names = [(k, name) for k, name in enumerate(vocabulary.names) if name in used]
    return replace(copied, mask=mask, mask_values=tuple(MaskValues(k, k, n) for k, n in names))


def _redacted(shown: np.ndarray, image: str, changes: Changes) -> np.ndarray:
    pixels = shown.copy()
    for left, top, width, height in changes.redactions.get(image, ()):
        inside = pixels[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
        if not inside.size:
            raise ValueError(f"redaction {(left, top, width, height)} lies outside {image}")
        # Flat, not blurred: a blur of known letters can be undone.
        inside[...] = np.median(shown, axis=(0, 1))
    return pixels


def _write_png(
    target: Path,
    source: Path,
    copy: Callable[[], np.ndarray],
    text: Mapping[str, str] | None = None,
) -> None:
    """The copy as PNG now at `target`, unless it was made from the source as it is now."""
    state = source.stat()
    # A copy bears its original's time.
    if target.is_file() and target.stat().st_mtime_ns == state.st_mtime_ns:
        return
    pixels = copy()
    colours = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    is_coded, data = cv2.imencode(".png", np.ascontiguousarray(colours))
    if not is_coded:
        raise ValueError(f"{source} cannot be written as PNG: {pixels.dtype} {pixels.shape}")
    with whole(target) as unfinished:
        unfinished.write_bytes(with_mark(data.tobytes(), text) if text else data.tobytes())
        os.utime(unfinished, ns=(state.st_atime_ns, state.st_mtime_ns))
