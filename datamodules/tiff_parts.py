"""A part of a TIFF that is too large to be decoded whole: the strips or tiles around a window.

Each of them is compressed by itself: a few, one below the other, make a small TIFF of strips, which
`decode.py` reads like any other file.
"""

from dataclasses import dataclass
from itertools import accumulate, product
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

WIDTH, HEIGHT, BITS, COMPRESSION, ORIENTATION, PLANAR = 256, 257, 258, 259, 274, 284
LONG = 4  # the type of a tag's numbers
# Where the blocks begin, their lengths in bytes, their sides in pixels.
BEGINS, LENGTHS, ROWS = 273, 279, 278
STRIPS, TILES = (BEGINS, LENGTHS, WIDTH, ROWS), (324, 325, 322, 323)
# How a block is stored: compression, colours, order of bits, samples, palette, tables of JPEG.
STORAGE = (BITS, COMPRESSION, 262, 266, 277, PLANAR, 317, 320, 338, 339, 347, 530, 532)


@dataclass(frozen=True, slots=True)
class TiffPart:
    """A TIFF of the blocks around a window, one below the other.

    grid: how many blocks lie below and beside each other; inside: where in them the window is.
    """

    data: bytes
    grid: tuple[int, int]
    inside: tuple[slice, slice]

    def window_of(self, stack: np.ndarray) -> np.ndarray:
        """The window (h, w, ...) of the decoded blocks (H, W, ...)."""
        rows, columns = self.grid
        if columns > 1:
            high, wide = len(stack) // (rows * columns), stack.shape[1]
            blocks = stack.reshape(rows, columns, high, wide, *stack.shape[2:]).swapaxes(1, 2)
            stack = blocks.reshape(rows * high, columns * wide, *stack.shape[2:])
        return stack[self.inside]


def part_of(path: Path, window_xywh_px: tuple[int, ...]) -> TiffPart:
    """The blocks of a large TIFF in which a window lies.

    Raises DecompressionBombError for a file of which no part can be read alone: one that is no
    TIFF, that is turned, or whose contrast only all its pixels tell (more than 8 bits).
    """
    left, top, width, height = window_xywh_px
    with path.open("rb") as file:
        try:
            tags = TiffImageFile(file).tag_v2
        except SyntaxError as error:
            raise Image.DecompressionBombError from error
        is_deep = max(tags.get(BITS, (1,))) > 8
        if is_deep or tags.get(PLANAR, 1) != 1 or tags.get(ORIENTATION, 1) != 1:
            raise Image.DecompressionBombError
        begin_tag, length_tag, wide_tag, high_tag = TILES if TILES[0] in tags else STRIPS
        begins, lengths = tags[begin_tag], tags.get(length_tag, ())
        wide, high = tags[wide_tag], tags.get(high_tag, tags[HEIGHT])
        per_block, row_bytes = 1, 0
        if high_tag == ROWS:
            high = min(high, tags[HEIGHT])
        if high_tag == ROWS and tags.get(COMPRESSION, 1) == 1:
            # Often all is one strip, in which each row lies by itself.
            per_block, row_bytes, high = high, lengths[0] // high, 1
        rows = range(top // high, -(-(top + height) // high))
        columns = range(left // wide, -(-(left + width) // wide))
        across, file_bytes = -(-tags[WIDTH] // wide), path.stat().st_size
        blocks = []
        for row, column in product(rows, columns):
            number, line = divmod(row * across + column, per_block)
            file.seek(begins[number] + line * row_bytes)
            blocks.append(file.read(min(row_bytes or lengths[number], file_bytes)))
    # Only the last of the strips may be lower than the others.
    end_px = high * rows.stop if wide_tag in TILES else min(high * rows.stop, tags[HEIGHT])
    part = ImageFileDirectory_v2()
    part.tagtype |= dict.fromkeys((BEGINS, LENGTHS), LONG)
    for tag in STORAGE:
        if tag in tags:
            part.tagtype[tag], part[tag] = tags.tagtype[tag], tags[tag]
    part[WIDTH], part[ROWS] = wide, high
    part[HEIGHT] = (end_px - high * rows.start) * len(columns)
    part[LENGTHS] = tuple(map(len, blocks))
    part[BEGINS] = tuple(accumulate(part[LENGTHS][:-1], initial=0))  # the head's length is added
    left, top = left - wide * columns.start, top - high * rows.start
    inside = slice(top, top + height), slice(left, left + width)
    head = b"II*\0\x08\0\0\0"
    data = head + part.tobytes(len(head)) + b"".join(blocks)
    return TiffPart(data, (len(rows), len(columns)), inside)
