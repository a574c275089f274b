"""Mask files -> greys that a person sees, or ids; where in a user's masks the defect begins.

A mask of one class is read by what a person sees, dark is good and bright is the defect:

- a palette by its colours, in whatever order; TIFF's white-is-zero as it is shown;
- one colour on black by its strength, of two colours and more nobody can tell which is which;
- transparent: what is drawn is the defect, whatever its colour, if it has but one.

A mask of ids (`mask_ids`, sets whose layout says so) is read by its numbers, of a palette by the
indices, unless its colours contradict them. What nobody can tell is refused with what was found.
"""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.decode import StoredPixels, open_stored
from datamodules.sample import MaskValues

REMEDY = "save it in black and white, white where the defect is"
# How far a colour may be from its own shades; compression blurs colours more than it does greys.
COLOUR_TOLERANCE, LOSSY_TOLERANCE = 24, 96
SHOWN_VALUES = 5
# Greys so near to the darkest or brightest, as a share of what lies between, are noise of these
# two: more where compression left many greys. Two that are nearer than the last drown in it.
NOISE_SHARE, MOST_CLASSES, LEAST_LOSSY_SPAN = 0.2, 8, 32
LEAST_CLASS_SHARE = 0.25


def open_mask_values(path: Path, values: Sequence[MaskValues]) -> np.ndarray:
    """The (H, W) integers of a mask file that `values` speaks of: greys as seen, or ids.

    Raises FileNotFoundError, or ValueError for an unreadable file and one that is ambiguous.
    """
    stored = open_stored(path)
    # Single numbers are ids; one class and the good part are ranges.
    if any(value.low == value.high > 0 for value in values):
        return _ids_of(stored, path, values)
    return _seen_greys(stored, path)


def _ids_of(stored: StoredPixels, path: Path, values: Sequence[MaskValues]) -> np.ndarray:
    """The numbers of a mask of ids; those of a grey palette's greys where only they are known."""
    numbers, palette = stored.pixels, stored.palette
    if numbers.ndim == 3:
        if (numbers != numbers[:, :, :1]).any():
            raise ValueError(
                f"mask {path} is coloured ({_listed(numbers)}), expected grey values or palette "
                "indices: save it as an 8-bit grey PNG with one value per class"
            )
        numbers = np.ascontiguousarray(numbers[:, :, 0])
    if stored.alpha is not None and numbers[stored.alpha == 0].any():
        raise ValueError(
            f"mask {path} holds ids where it is transparent: expected them to be seen; save it "
            "without transparency"
        )
    if palette is None:
        return numbers
    used = values_in(numbers)
    colours = palette[used]
    greys = colours[:, 0]
    is_grey = (colours == greys[:, None]).all()
    by_grey = is_grey and _are_known(greys, values)
    if by_grey and not _are_known(used, values):
        return palette[:, 0][numbers]
    is_black = (colours == 0).all(axis=1)
    is_turned = used[0] == 0 and not is_black[0] and is_black.any()
    if is_turned or (by_grey and (greys != used).any()):
        raise ValueError(
            f"mask {path} has a palette in which ids and colours contradict each other "
            f"({_listed(colours[None], used)}): expected 0 to be black; save it as an 8-bit grey "
            "PNG with one value per class"
        )
    return numbers


def _are_known(numbers: np.ndarray, values: Sequence[MaskValues]) -> bool:
    return all(n == 0 or any(v.low <= n <= v.high for v in values) for n in numbers.tolist())


def _seen_greys(stored: StoredPixels, path: Path) -> np.ndarray:
    """What a person sees of a mask of one class as (H, W) greys, bright where the defect is."""
    pixels, palette, alpha, is_lossy = stored
    if palette is not None:
        pixels = palette[pixels]
    if alpha is not None and (not alpha.any() or alpha.min() < alpha.max()):
        return _drawn(pixels, alpha, path)
    if pixels.ndim == 2:
        return pixels
    strengths = pixels.max(axis=2)
    if (strengths == pixels.min(axis=2)).all():
        return strengths
    # Shades of one colour lie on a line from black.
    colour = np.median(pixels[strengths > strengths.max() // 2], axis=0)
    shades = strengths[:, :, None] * (colour / colour.max())
    tolerance = LOSSY_TOLERANCE if is_lossy else COLOUR_TOLERANCE
    scale = np.iinfo(pixels.dtype).max / 255
    if np.abs(pixels - shades).max() > tolerance * scale or strengths.min() > strengths.max() // 4:
        raise ValueError(
            f"mask {path} is coloured ({_listed(pixels)}), expected black and one colour at most: "
            f"{REMEDY}, or give its classes as grey values"
        )
    return strengths


def _drawn(pixels: np.ndarray, alpha: np.ndarray, path: Path) -> np.ndarray:
    """How opaque the strokes of a mask are, as (H, W) greys; ValueError for two colours of them."""
    # Nothing is drawn: whatever the file hides then must not be taken for nothing.
    strokes = pixels[alpha >= alpha.max() / 2]
    scale = np.iinfo(pixels.dtype).max / 255
    if np.ptp(strokes.astype(float), axis=0).max() > COLOUR_TOLERANCE * scale:
        raise ValueError(
            f"mask {path} is partly transparent and drawn in several colours "
            f"({_listed(strokes[None])}), expected one: {REMEDY}"
        )
    return np.rint(alpha * (255 / max(alpha.max(), 1))).astype(np.uint8)


def _listed(pixels: np.ndarray, names: np.ndarray | None = None) -> str:
    """The most frequent colours of (H, W) or (H, W, 3) pixels, as a person may look for them."""
    flat = pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.reshape(-1, 1)
    colours, counts = np.unique(flat, axis=0, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:SHOWN_VALUES]
    shown = [" ".join(map(str, colours[row])) for row in most]
    if names is not None:
        shown = [f"{n}: {' '.join(map(str, c))}" for n, c in zip(names, flat, strict=True)]
    rest = len(colours) - SHOWN_VALUES
    return "; ".join(shown[:SHOWN_VALUES]) + (f" and {rest} more" if rest > 0 else "")


@dataclass(frozen=True)
class MaskSurvey:
    """What a user's masks of one class hold together.

    darkest: up to where nothing is drawn; largest_good: up to which grey they mean good; highest:
    the highest grey of each readable mask; flaws: why some are no masks of one class.
    """

    darkest: int
    largest_good: int
    highest: dict[str, int]
    flaws: dict[str, str]

    def marks(self, mask: str) -> bool:
        """Whether a mask shows anything but good, be it too dark; False for an unreadable one."""
        return self.highest.get(mask, self.darkest) > self.darkest

    def problem_of(self, mask: str, defect: str) -> str:
        """What is wrong with the mask of an image of that type, "" for good; "" for nothing.

        Unreadable masks are refused by `inspection.py`.
        """
        if mask in self.flaws:
            return self.flaws[mask]
        is_bright = self.highest.get(mask, 0) > self.largest_good
        if is_bright and not defect:
            return (
                f"the image is good, but its mask {mask} marks defects: give the image a type or "
                "clear the mask"
            )
        # Grey noise on a good part is harmless; on a defective one it may be a mask of 0 and 1.
        if defect and self.marks(mask) and not is_bright:
            return (
                f"mask {mask} holds only dark grey, expected its defect to be as bright as "
                "that of other masks: write 0 and 255 in all masks"
            )
        return ""


class _Look(NamedTuple):
    """The greys in a mask, ascending; whether they are exact; why it is no mask of one class."""

    greys: list[int]
    is_exact: bool
    flaw: str


def survey_masks(
    root: Path, masks: Collection[str], *, largest_good: int | None = None
) -> MaskSurvey:
    """Where the defect begins in masks of one class: half way between their darkest and brightest.

    largest_good: the answer, where a user knows it. Raises ValueError where all masks together
    hold class ids: several values, or one that is neither 0 nor 1, and none above 127.
    """
    names = sorted(set(masks))
    with ThreadPoolExecutor() as pool:
        found = pool.map(_look, (root / name for name in names))
        looks = {name: look for name, look in zip(names, found, strict=True) if look}
    highest = {name: look.greys[-1] for name, look in looks.items()}
    if largest_good is not None:
        return MaskSurvey(largest_good, largest_good, highest, {})
    dark = min((look.greys[0] for look in looks.values()), default=0)
    bright = max(highest.values(), default=0)
    exact = {grey for look in looks.values() if look.is_exact for grey in look.greys}
    if bright <= 127 and (len(exact) > 2 or dark == bright > 1):
        name = max(highest, key=highest.__getitem__)
        raise ValueError(
            f"mask {root / name} holds class ids, no mask a value above 127 (all together "
            f"{', '.join(map(str, sorted(exact)[:SHOWN_VALUES]))}): expected masks of two values; "
            "write one type per image, white where it is, or use --source csv with mask_ids"
        )
    dark = 0 if dark == bright else dark
    noise = 0 if all(look.is_exact for look in looks.values()) else NOISE_SHARE * (bright - dark)
    flaws = {name: look.flaw for name, look in looks.items() if look.flaw}
    return MaskSurvey(dark + int(noise), (dark + bright) // 2 if bright else 127, highest, flaws)


def _look(path: Path) -> _Look | None:
    """What a mask of one class holds; None where it cannot be read."""
    try:
        stored = open_stored(path)
        seen = _seen_greys(stored, path)
    except (ValueError, OSError):
        return None
    greys = values_in(seen).tolist()
    low, high, is_exact = greys[0], greys[-1], not stored.is_lossy
    shown = ", ".join(map(str, greys[:SHOWN_VALUES]))
    if not is_exact and 0 < high - low < LEAST_LOSSY_SPAN:
        flaw = f"mask {path} is a compressed file with greys from {low} to {high} only: {REMEDY}"
        return _Look(greys, is_exact, flaw)
    # Classes fill areas, or lines that touch nothing brighter; soft edges do neither.
    wide = seen.astype(np.float32)
    inner = np.minimum(wide - low, high - wide)
    is_few = is_exact and len(greys) <= MOST_CLASSES
    is_between = inner > (0 if is_few else NOISE_SHARE * (high - low))
    square = np.ones((3, 3), np.uint8)
    brightest = cv2.dilate(wide, square)
    is_class = cv2.erode(wide, square) == brightest
    if is_few:
        is_class |= (wide == brightest) & (inner > NOISE_SHARE * (high - low))
    share = np.count_nonzero(is_class & is_between) / max(np.count_nonzero(is_between), 1)
    if share > LEAST_CLASS_SHARE or (is_exact and len(greys) == 3):
        flaw = f"mask {path} holds {len(greys)} greys ({shown}), expected two: {REMEDY}"
        return _Look(greys, is_exact, flaw)
    return _Look(greys, is_exact, "")


def values_in(numbers: np.ndarray) -> np.ndarray:
    """The different values of an array, ascending."""
    if numbers.dtype != np.uint8:
        return np.unique(numbers)
    return np.flatnonzero(cv2.calcHist([numbers], [0], None, [256], [0, 256]))
