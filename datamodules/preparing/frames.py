"""One frame for image and annotation: the pixels as a viewer shows them.

`decode.py` reads every image so. Cameras store an image lying and say in EXIF how to turn it; some
tools draw on it as shown, others as stored, and the file seldom says which.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from datamodules.annotation import draw_region, open_annotation, runs_of
from datamodules.decode import ImageHeader, read_header, upright
from datamodules.sample import GOOD_ID, SHOWN, STORED, Record, Region
from datamodules.vocabulary import Vocabulary


def in_shown_frame(
    record: Record, root: Path, *, header: ImageHeader, vocabulary: Vocabulary
) -> Record:
    """The record with its annotation in the pixels that a viewer shows of its image.

    header: of the image; vocabulary: the names of the annotation. What was drawn on stored pixels
    is turned, and a mask file becomes runs by that. Raises ValueError where nobody can tell.
    """
    # Windows are cut of records that have been here.
    if header.orientation == 1 or record.window_xywh_px:
        return record
    told_px = record.width_px, record.height_px
    width_px, height_px = header.shown_px if told_px == header.stored_px else told_px
    as_shown = replace(record, width_px=width_px, height_px=height_px)
    if not (record.mask or record.regions):
        return as_shown
    mask = root / record.mask if record.mask else None
    if frame_of(root / record.image, header, told_px, mask=mask, said=record.frame) == SHOWN:
        return as_shown
    size_px = header.stored_px[::-1]

    def turned(pixels: np.ndarray) -> np.ndarray:
        return upright(pixels, header.orientation)

    if mask is None:
        regions = moved_regions(record.regions, turned, size_px)
    else:
        ids = open_annotation(record, root, vocabulary=vocabulary, image_size_px=size_px)
        assert ids is not None  # a record with a mask file has an annotation
        shown = [int(class_id) for class_id in np.unique(ids) if class_id != GOOD_ID]
        runs = [(vocabulary.names[k], runs_of(turned(ids == k))) for k in shown]
        regions = tuple(Region(name, "runs", numbers) for name, numbers in runs)
    return replace(as_shown, mask="", mask_values=(), regions=regions)


def frame_of(
    image: Path,
    header: ImageHeader,
    annotated_px: tuple[int, int],
    *,
    mask: Path | None = None,
    said: str = "",
) -> str:
    """Whether an annotation was drawn on an image as SHOWN or as STORED.

    annotated_px: the (width, height) that the annotation tells, of a mask its file does; said:
    what the user says. An annotation of neither size counts as shown: who opens it refuses it.
    Raises ValueError where neither tells, or where they contradict each other.
    """
    sizes = {SHOWN: header.shown_px, STORED: header.stored_px}
    if mask is not None:
        mask_header = read_header(mask)
        annotated_px = mask_header.shown_px
    if header.orientation == 1 or (
        mask is not None and mask_header.orientation == header.orientation
    ):
        return SHOWN
    fitting = [frame for frame, size_px in sizes.items() if size_px == annotated_px]
    if any(annotated_px) and not fitting:
        return SHOWN
    # Told in words, the stored size proves nothing: Label Studio tells it of what it shows turned.
    is_proof = len(fitting) == 1 and (mask is not None or fitting == [SHOWN])
    frame = said or (fitting[0] if is_proof else "")
    turned = f"{image} is turned by EXIF orientation {header.orientation}"
    if not frame:
        raise ValueError(
            f"{turned} and its annotation may be drawn on it as shown or as stored: say which "
            "(prepare: --source.frame shown or --source.frame stored, also for --upright true), "
            "or annotate it saved upright, without that tag"
        )
    if fitting and frame not in fitting:
        raise ValueError(
            f"{turned} and was annotated at {annotated_px[0]} x {annotated_px[1]} px, its size as "
            f"{fitting[0]}, expected its size as {frame}: correct --source.frame, or save it "
            "upright, without that tag, before it is annotated"
        )
    return frame


def moved_regions(
    regions: Iterable[Region],
    moved: Callable[[np.ndarray], np.ndarray],
    size_px: tuple[int, int],
) -> tuple[Region, ...]:
    """The regions of the moved image, without those of no pixel: boxes stay boxes, others are runs.

    moved: what becomes of a mask of class ids; size_px: (height, width) before.
    """
    found = []
    for region in regions:
        inside = moved(draw_region(region, size_px=size_px).astype(np.uint8))
        if region.kind == "box":
            numbers: Sequence[float] = cv2.boundingRect(inside)
        else:
            numbers, region = runs_of(inside), replace(region, kind="runs")
        if inside.any():
            found.append(replace(region, numbers=tuple(map(float, numbers))))
    return tuple(found)


def shrunk_ids(ids: np.ndarray, small_px: Sequence[int]) -> np.ndarray:
    """Class ids (H, W) on a smaller grid of (width, height) pixels, on which nothing thin vanishes.

    A piece of a class takes the pixels of which it fills half as much as of any, or more. Where
    several would have one, it is the smallest one's, so that none is hidden.
    """
    width_px, height_px = small_px
    row_of, column_of = (
        np.arange(length) * small // length
        for length, small in zip(ids.shape, (height_px, width_px), strict=True)
    )
    room = np.outer(np.bincount(row_of), np.bincount(column_of)).ravel()
    small_ids = np.full(len(room), GOOD_ID, dtype=ids.dtype)
    pieces: list[tuple[int, int, np.ndarray]] = []
    for class_id in np.unique(ids[ids != GOOD_ID]).tolist():
        count, labels = cv2.connectedComponents((ids == class_id).astype(np.uint8))
        y, x = np.nonzero(labels)
        places = labels[y, x].astype(np.int64) * len(room) + row_of[y] * width_px + column_of[x]
        found, filled = np.unique(places, return_counts=True)
        piece, cell = found // len(room), found % len(room)
        share, most = filled / room[cell], np.zeros(count)
        np.maximum.at(most, piece, share)
        is_taken = share >= most[piece] / 2
        piece, cell = piece[is_taken], cell[is_taken]
        borders = np.flatnonzero(np.diff(piece)) + 1
        pieces += [(len(one), class_id, one) for one in np.split(cell, borders)]
    for _, class_id, own in sorted(pieces, key=lambda one: -one[0]):
        small_ids[own] = class_id
    return small_ids.reshape(height_px, width_px)
