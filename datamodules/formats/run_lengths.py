"""COCO's run lengths -> the runs of a Region.

COCO counts background and defect in turns, down the columns, beginning with background. What CVAT
and Label Studio call RLE is another format: its sum differs, and it is refused.
"""

from collections.abc import Sequence

_FIRST_LETTER = 48
_LETTERS = 64


def decode_counts(text: str) -> list[int]:
    """The counts in COCO's compressed string; ValueError where it is none.

    Each letter holds five bits, the lowest first, and whether more follow; from the fourth on,
    counts are written as differences from the last but one.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        code = ord(letter) - _FIRST_LETTER
        if not 0 <= code < _LETTERS or shift > 60:
            raise ValueError(f"run lengths hold {letter!r}, expected COCO's compressed string")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:  # the sign is that of the last five bits
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("run lengths break off in the middle of a number: write them anew")
    return counts


def runs_of_counts(counts: Sequence[float], *, width_px: int, height_px: int) -> tuple[int, ...]:
    """The runs (start, length, ...) of the defect, empty where there is none.

    Raises ValueError for a count that is negative or not whole, and where they do not sum to the
    picture's pixels.
    """
    runs: list[int] = []
    end = 0
    for position, count in enumerate(counts):
        if not (0 <= count < float("inf")) or count != int(count):
            raise ValueError(f"run lengths hold {count:g}, expected whole numbers from 0 on")
        if position % 2 and count:
            runs += (end, int(count))
        end += int(count)
    if end != width_px * height_px:
        raise ValueError(
            f"run lengths sum to {end}, expected {width_px} x {height_px} = {width_px * height_px} "
            "px of the picture: the RLE of CVAT or Label Studio is not COCO's; export polygons"
        )
    return tuple(runs)
