"""Record -> the picture and the mask of class ids that belong to it, cut to the record's window.

The one place where a mask file, boxes, polygons and runs become the same thing.
"""

from pathlib import Path

import numpy as np

from datamodules.pictures.image_files import open_mask, open_pixels
from datamodules.pictures.regions import draw_regions
from datamodules.sample import UNLABELLED, Record
from datamodules.vocabulary import Vocabulary


def open_pair(
    record: Record, root: Path, *, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray | None]:
    """The record's picture, (H, W, 3) or grey (H, W) uint8, and its class ids (H, W) if it has any.

    Raises FileNotFoundError or ValueError for a bad picture or annotation.
    """
    picture = open_pixels(root / record.image)
    size_px = (picture.shape[0], picture.shape[1])
    ids = open_annotation(record, root, vocabulary=vocabulary, picture_size_px=size_px)
    return cut_window(picture, record), ids


def open_annotation(
    record: Record, root: Path, *, vocabulary: Vocabulary, picture_size_px: tuple[int, int]
) -> np.ndarray | None:
    """The (H, W) class ids of the record's window, or None where nobody drew any.

    picture_size_px: (height, width) of the whole picture. A good part needs no mask file: all
    its pixels are known to be good. Raises FileNotFoundError or ValueError for a bad annotation.
    """
    if record.mask:
        ids = open_mask(
            root / record.mask,
            record.mask_values,
            vocabulary=vocabulary,
            size_px=picture_size_px,
        )
    elif record.regions:
        try:
            ids = draw_regions(record.regions, vocabulary=vocabulary, size_px=picture_size_px)
        except ValueError as error:
            raise ValueError(f"annotation of {root / record.image}: {error}") from error
    elif is_known_good(record):
        ids = np.zeros(picture_size_px, dtype=np.uint8)
    else:
        return None
    return cut_window(ids, record)


def is_known_good(record: Record) -> bool:
    """Whether somebody has said that the picture shows no defect."""
    return not record.defects and record.split != UNLABELLED


def cut_window(pixels: np.ndarray, record: Record) -> np.ndarray:
    """The record's window of pixels (H, W, ...), all of them where it has none.

    Raises ValueError for a window that sticks out of the picture.
    """
    if not record.window_xywh_px:
        return pixels
    window = record.window_xywh_px
    left, top, width, height = window if len(window) == 4 else (0, 0, 0, 0)
    is_empty = width < 1 or height < 1
    sticks_out = left + width > pixels.shape[1] or top + height > pixels.shape[0]
    if min(left, top) < 0 or is_empty or sticks_out:
        raise ValueError(
            f"the window {window} of {record.image} is empty or sticks out of its "
            f"{pixels.shape[1]} x {pixels.shape[0]} px: prepare the data again"
        )
    return pixels[top : top + height, left : left + width]
