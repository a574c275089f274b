"""Changed copies of images and masks: upright, redacted, smaller, without metadata (section 5.1).

Originals are never touched: copies lie in a folder of their own, whose name follows from the
changes, and a copy that is there already is not made again.
"""

import csv
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from datamodules.annotation import draw_region, open_annotation, runs_of
from datamodules.decode import open_pixels, upright
from datamodules.formats.image_header import read_header
from datamodules.formats.synthetic_mark import read_text, with_mark
from datamodules.preparing.inspection import (
    REFUSALS,
    local_vocabulary,
    reason_of,
    refuse_odd_paths,
    refuse_other_size,
)
from datamodules.preparing.metadata_stripping import strip_metadata
from datamodules.sample import MaskValues, Record, Region
from datamodules.whole_files import whole

BoxXywh = tuple[int, int, int, int]
REDACTION_COLUMNS = ("image", "left", "top", "width", "height")


@dataclass(frozen=True)
class Changes:
    """What copies of the images differ in; with all off nothing is copied.

    longest_side_px: larger images are shrunk to it, 0 for none; make_upright: turned as EXIF
    asks, with their annotation; strip: metadata (EXIF, XMP, comments) is left out; redactions:
    boxes (left, top, width, height) in stored pixels that are painted over, by image path.
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
        words = repr((self.longest_side_px, self.make_upright, sorted(self.redactions.items())))
        return f"pictures-{hashlib.sha256(words.encode()).hexdigest()[:8]}"


def read_redactions(path: str) -> dict[str, tuple[BoxXywh, ...]]:
    """The boxes of a CSV with the columns image, left, top, width, height, by image; "" for none.

    Raises FileNotFoundError, or ValueError for a wrong header, a number that is none and a box
    without area.
    """
    boxes: dict[str, tuple[BoxXywh, ...]] = {}
    if not path:
        return boxes
    if not Path(path).is_file():
        raise FileNotFoundError(f"redactions {path} is missing: expected a CSV file")
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if list(rows.fieldnames or ()) != list(REDACTION_COLUMNS):
                raise ValueError(
                    f"{path} has the columns {rows.fieldnames}, expected "
                    f"{','.join(REDACTION_COLUMNS)}"
                )
            for row in rows:
                box = _box_of(row, f"{path} line {rows.line_num}")
                boxes[row["image"]] = (*boxes.get(row["image"], ()), box)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no readable CSV ({error}): save it as UTF-8 CSV") from error
    return boxes


def copy_all(
    records: Sequence[Record], root: Path, folder: Path, *, changes: Changes, workers: int = 0
) -> list[Record]:
    """The records of changed copies below `folder`, in the same order; bad ones have a flaw.

    Raises ValueError for a redaction of a image that is not there: a typing error must not
    publish what was to be hidden.
    """
    unknown = sorted(changes.redactions.keys() - {record.image for record in records})
    if unknown:
        raise ValueError(
            f"redactions name {unknown[0]!r}, which is no image of the data ({len(unknown)} such "
            "names): expected paths below the root as in the manifest"
        )
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        one = partial(materialise, root=root, folder=folder, changes=changes)
        return list(pool.map(one, records))


def materialise(record: Record, root: Path, folder: Path, *, changes: Changes) -> Record:
    """The record of a changed copy below `folder`; one with a flaw where it cannot be made."""
    if record.flaw:
        return record
    try:
        refuse_odd_paths(root, record)
        if not _needs_pixels(record, root, changes):
            return _copied(record, root, folder)
        return _repainted(record, root, folder, changes=changes)
    except REFUSALS as error:
        return replace(record, flaw=reason_of(error))


def _needs_pixels(record: Record, root: Path, changes: Changes) -> bool:
    header = read_header(root / record.image)
    is_large = 0 < changes.longest_side_px < max(header.width_px, header.height_px)
    is_turned = changes.make_upright and header.orientation != 1
    return is_large or is_turned or record.image in changes.redactions


def _copied(record: Record, root: Path, folder: Path) -> Record:
    """The record of copies with the same pixels, without metadata but that of generated ones."""
    source, target = root / record.image, folder / record.image
    if not _is_current(target, source):
        with _made(target, source) as temporary:
            content = source.read_bytes()
            bare = content if record.is_generated else strip_metadata(content, path=source)
            temporary.write_bytes(bare)
    if record.mask and not _is_current(folder / record.mask, root / record.mask):
        with _made(folder / record.mask, root / record.mask) as temporary:
            shutil.copyfile(root / record.mask, temporary)
    return record


def _repainted(record: Record, root: Path, folder: Path, *, changes: Changes) -> Record:
    """The record of PNG copies with other pixels; the mask's copy holds class ids."""
    source = root / record.image
    stored = open_pixels(source)
    refuse_other_size(record, stored)
    pixels = _redacted(stored.copy(), record.image, changes)
    size_px = pixels.shape[0], pixels.shape[1]
    orientation = read_header(source).orientation if changes.make_upright else 1

    def moved(pixels: np.ndarray, interpolation: int = cv2.INTER_NEAREST) -> np.ndarray:
        return _shrunk(upright(pixels, orientation), changes.longest_side_px, interpolation)

    image = f"{record.image}.png"
    text = read_text(source) if record.is_generated else {}
    _write_png(folder / image, moved(pixels, cv2.INTER_AREA), source, text)
    regions = tuple(_moved_region(region, moved, size_px) for region in record.regions)
    changed = replace(record, image=image, regions=regions, width_px=0, height_px=0)
    if not record.mask:
        return changed
    vocabulary = local_vocabulary(record)
    ids = open_annotation(record, root, vocabulary=vocabulary, image_size_px=size_px)
    assert ids is not None  # a record with a mask file has an annotation
    mask = f"{record.mask}.ids.png"
    _write_png(folder / mask, moved(ids), root / record.mask)
    values = tuple(MaskValues(k, k, name) for k, name in enumerate(vocabulary.names))
    return replace(changed, mask=mask, mask_values=values)


def _redacted(pixels: np.ndarray, image: str, changes: Changes) -> np.ndarray:
    flat = np.median(pixels, axis=(0, 1))
    for left, top, width, height in changes.redactions.get(image, ()):
        inside = pixels[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
        if not inside.size:
            raise ValueError(f"redaction {(left, top, width, height)} lies outside {image}")
        # Flat, not blurred: a blur of known letters can be undone.
        inside[...] = flat
    return pixels


def _shrunk(pixels: np.ndarray, longest_side_px: int, interpolation: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    if not 0 < longest_side_px < max(height, width):
        return pixels
    scale = longest_side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=interpolation)


def _moved_region(
    region: Region, moved: Callable[[np.ndarray, int], np.ndarray], size_px: tuple[int, int]
) -> Region:
    """The region of the moved image: a box stays a box, other outlines become runs."""
    coverage = moved(draw_region(region, size_px=size_px).astype(np.uint8) * 255, cv2.INTER_AREA)
    # Half covered counts, but what is thinner than that must not vanish.
    inside = (coverage >= min(128, int(coverage.max()))).astype(np.uint8)
    if region.kind == "box":
        return replace(region, numbers=tuple(float(edge) for edge in cv2.boundingRect(inside)))
    return replace(region, kind="runs", numbers=tuple(float(run) for run in runs_of(inside)))


def _write_png(
    target: Path, pixels: np.ndarray, source: Path, text: Mapping[str, str] | None = None
) -> None:
    if _is_current(target, source):
        return
    colours = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    is_coded, data = cv2.imencode(".png", np.ascontiguousarray(colours))
    if not is_coded:
        raise ValueError(f"{source} cannot be written as PNG: {pixels.dtype} {pixels.shape}")
    with _made(target, source) as temporary:
        temporary.write_bytes(with_mark(data.tobytes(), text) if text else data.tobytes())


def _is_current(target: Path, source: Path) -> bool:
    """Whether the copy was made from the source as it is now: a copy bears its original's time."""
    return target.is_file() and target.stat().st_mtime_ns == source.stat().st_mtime_ns


@contextmanager
def _made(target: Path, source: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    state = source.stat()
    with whole(target) as temporary:
        yield temporary
        os.utime(temporary, ns=(state.st_atime_ns, state.st_mtime_ns))


def _box_of(row: Mapping[str, str | None], place: str) -> BoxXywh:
    if None in row:
        raise ValueError(f"{place}: expected {len(REDACTION_COLUMNS)} cells; quote names with ','")
    try:
        left, top, width, height = (int(row[name] or "") for name in REDACTION_COLUMNS[1:])
    except ValueError as error:
        raise ValueError(f"{place}: expected whole numbers for left, top, width, height") from error
    if width < 1 or height < 1:
        raise ValueError(f"{place}: box of {width} x {height} px, expected a positive size")
    return left, top, width, height
