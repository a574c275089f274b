"""Mask files -> greys that a person sees, or ids; where in a user's masks the defect begins.

A mask of one class is read by what a person sees, dark is good and bright is the defect:

- a palette by its colours, in whatever order; TIFF's white-is-zero as it is shown;
- one colour on black by its strength, of two colours and more nobody can tell which is which;
- transparent: what is drawn is the defect, whatever its colour, if it has but one.

A mask of ids (`mask_ids`, sets whose layout says so) is read by its numbers, of a palette by the
indices, unless its colours contradict them. What nobody can tell is refused with what was found.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.decode import HIGHEST_GREY, StoredPixels, grey_where_equal, open_stored
from datamodules.formats.records import grey_values
from datamodules.sample import MaskValues

REMEDY = "save it in black and white, white where the defect is"
ONE_CLASS_A_GREY = "save it as an 8-bit grey PNG with one value per class"
MARKED_GOOD = (
    "the image is good, but its mask {} marks defects: give the image a type, or draw what is "
    "good in black"
)
SHOWN_COUNT = 5
# How far a colour may be from its own shades, of 255; compression blurs colours more than greys.
COLOUR_TOLERANCE, LOSSY_TOLERANCE = 24, 96
# Within this share of the darkest or brightest a grey of many is noise; classes are few, and what
# lies between is theirs from this share on. Two greys this near drown in what compression adds.
NOISE_SHARE, MOST_CLASSES, LEAST_CLASS_SHARE, LEAST_LOSSY_SPAN = 0.2, 8, 0.25, 32
# Where more of a mask is neither dark nor bright, it is a photograph.
MOST_SOFT_SHARE = 0.25


def open_mask_values(path: Path, values: Sequence[MaskValues]) -> np.ndarray:
    """The (H, W) integers of a mask file that `values` speaks of: greys as seen, or ids.

    Raises FileNotFoundError, or ValueError for an unreadable file and one that is ambiguous.
    """
    stored = open_stored(path)
    # Single numbers are ids; one class and the good part are ranges.
    is_of_ids = any(value.low == value.high > 0 for value in values)
    return _ids_of(stored, path, values) if is_of_ids else seen_greys(stored, path)


def values_in(numbers: np.ndarray) -> np.ndarray:
    """The different values of an array, ascending."""
    if numbers.dtype != np.uint8:
        return np.unique(numbers)
    return np.flatnonzero(cv2.calcHist([numbers], [0], None, [256], [0, 256]))


def _ids_of(stored: StoredPixels, path: Path, values: Sequence[MaskValues]) -> np.ndarray:
    """The numbers of a mask of ids; those of a grey palette's greys where only they are known."""
    pixels, palette, alpha, _ = stored
    numbers = grey_where_equal(pixels)
    if numbers.ndim == 3:
        raise ValueError(
            f"mask {path} is coloured ({_listed(numbers)}), expected grey values or palette "
            f"indices: {ONE_CLASS_A_GREY}"
        )
    if alpha is not None and numbers[alpha == 0].any():
        raise ValueError(
            f"mask {path} holds ids where it is transparent, expected to see them: "
            f"{ONE_CLASS_A_GREY}"
        )
    if palette is None:
        return numbers

    def are_known(ids: np.ndarray) -> bool:
        return all(k == 0 or any(one.low <= k <= one.high for one in values) for k in ids.tolist())

    used = values_in(numbers)
    colours = palette[used]
    greys = colours.max(axis=1)
    by_grey = (colours == greys[:, None]).all() and are_known(greys)
    if by_grey and not (used.any() and are_known(used)):
        return palette[:, 0][numbers]
    is_turned = used[0] == 0 and greys[0] > 0 and not greys.all()
    if is_turned or (by_grey and (greys != used).any()):
        shown = zip(used[:SHOWN_COUNT], colours.tolist(), strict=False)
        raise ValueError(
            f"mask {path} has a palette whose colours contradict its ids ("
            f"{'; '.join(f'{k}: {r} {g} {b}' for k, (r, g, b) in shown)}), expected 0 to be black: "
            f"{ONE_CLASS_A_GREY}"
        )
    return numbers


def seen_greys(stored: StoredPixels, path: Path | str) -> np.ndarray:
    """What a person sees of a mask of one class as (H, W) greys, bright where the defect is.

    Raises ValueError, which calls the mask `path`, where its colours are ambiguous.
    """
    pixels, palette, alpha, is_lossy = stored
    if palette is not None:
        pixels = cv2.LUT(cv2.merge([pixels] * 3), palette[None])
    scale = np.iinfo(pixels.dtype).max / 255
    if alpha is not None and (not alpha.any() or alpha.min() < alpha.max()):
        # Where nothing is drawn, whatever the file hides must be one colour too.
        strokes = pixels[alpha >= alpha.max() / 2]
        is_one_colour = np.ptp(strokes.astype(float), axis=0).max() <= COLOUR_TOLERANCE * scale
        is_ground = strokes.max() < 64 * scale and alpha.mean() > 127
        if is_ground or not is_one_colour:
            raise ValueError(
                f"mask {path} is partly transparent, and the rest is {_listed(strokes[None])}, "
                f"expected strokes of one colour on nothing: {REMEDY}"
            )
        return np.rint(alpha * (255 / max(alpha.max(), 1))).astype(np.uint8)
    pixels = grey_where_equal(pixels)
    if pixels.ndim == 2:
        return pixels
    # Shades of one colour lie on a line from black.
    strengths = cv2.max(cv2.max(*cv2.split(pixels)[:2]), cv2.split(pixels)[2])
    colour = np.median(pixels[strengths > strengths.max() // 2], axis=0)
    shades = strengths[:, :, None] * np.float32(colour / colour.max())
    tolerance = (LOSSY_TOLERANCE if is_lossy else COLOUR_TOLERANCE) * scale
    if np.abs(pixels - shades).max() > tolerance or strengths.min() > strengths.max() // 4:
        raise ValueError(
            f"mask {path} is coloured ({_listed(pixels)}), expected black and at most one colour: "
            f"{REMEDY}"
        )
    return strengths


def _listed(pixels: np.ndarray) -> str:
    """The most frequent colours of (H, W) or (H, W, 3) pixels, as a person may look for them."""
    flat = pixels.reshape(-1, pixels.shape[2] if pixels.ndim == 3 else 1)
    colours, counts = np.unique(flat, axis=0, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:SHOWN_COUNT]
    rest = f" and {len(colours) - SHOWN_COUNT} more" if len(colours) > SHOWN_COUNT else ""
    return "; ".join(" ".join(map(str, colours[row])) for row in most) + rest


class _Look(NamedTuple):
    """The greys in a mask, ascending; whether they are exact; why it is no mask of one class.

    step: how many greys of the file are one of them.
    """

    greys: list[int]
    is_exact: bool
    flaw: str
    step: int = 1


@dataclass(frozen=True)
class MaskSurvey:
    """What a user's masks of one class hold together.

    darkest: up to where nothing is drawn; largest_good: up to which grey they mean good; looks:
    what each readable mask holds. Unreadable ones are refused by `inspection.py`.
    """

    darkest: int
    largest_good: int
    looks: dict[str, _Look]

    def marks(self, mask: str) -> bool:
        """Whether a mask shows anything, be it too dark for a defect."""
        return mask in self.looks and self.looks[mask].greys[-1] > self.darkest

    def values_of(self, mask: str, defect: str) -> tuple[MaskValues, ...]:
        """What the greys in the file of a mask of that type mean, of a good part for ""."""
        step = self.looks[mask].step if mask in self.looks else 1
        largest_good = self.largest_good * step + step // 2
        return grey_values(defect, largest_good=largest_good, highest=HIGHEST_GREY)

    def problem_of(self, mask: str, defect: str) -> str:
        """What is wrong with the mask of an image of that type, "" for good; "" for nothing."""
        look = self.looks.get(mask)
        if look is None or look.flaw:
            return look.flaw if look else ""
        is_bright = look.greys[-1] > self.largest_good
        if is_bright and not defect:
            return MARKED_GOOD.format(mask)
        # Grey noise on a good part is harmless; on a defective one it may be a mask of 0 and 1.
        is_too_dark = defect and self.marks(mask) and not is_bright
        if is_too_dark or (look.is_exact and self.largest_good < look.greys[0] < look.greys[-1]):
            return (
                f"mask {mask} holds only {'bright' if is_bright else 'dark'} grey, expected good "
                "and defect as in other masks: write 0 and 255 in all masks"
            )
        return ""


def survey_masks(
    root: Path, masks: Iterable[str], *, largest_good: int | None = None
) -> MaskSurvey:
    """Where the defect begins in masks of one class: half way between their darkest and brightest.

    largest_good: the answer, where a user knows it. Raises ValueError where all masks together
    hold class ids: several values, or one that is neither 0 nor 1, and none above 127.
    """
    names = sorted(set(masks))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = pool.map(_look, (root / name for name in names))
        looks = {name: look for name, look in zip(names, found, strict=True) if look}
    if largest_good is not None:
        looks = {name: look._replace(is_exact=False, flaw="") for name, look in looks.items()}
        return MaskSurvey(largest_good, largest_good, looks)
    if any(0 < look.greys[-1] <= 255 for look in looks.values()):
        looks = {name: _in_eight_bits(look) for name, look in looks.items()}
    dark = min((look.greys[0] for look in looks.values()), default=0)
    bright = max((look.greys[-1] for look in looks.values()), default=0)
    exact = sorted({grey for look in looks.values() if look.is_exact for grey in look.greys})
    if bright <= 127 and (len(exact) > 2 or dark == bright > 1):
        name = max(looks, key=lambda name: looks[name].greys[-1])
        raise ValueError(
            f"mask {root / name} holds class ids, no mask a value above 127 (all together "
            f"{', '.join(map(str, exact[:SHOWN_COUNT]))}): expected masks of two values; write "
            "one type per image, white where it is, or use --source csv with mask_ids"
        )
    dark = 0 if dark == bright else dark
    noise = 0 if all(look.is_exact for look in looks.values()) else NOISE_SHARE * (bright - dark)
    return MaskSurvey(dark + int(noise), (dark + bright) // 2 if bright else 127, looks)


def _in_eight_bits(look: _Look) -> _Look:
    """Greys of 16 bits as the 8 bits that a viewer shows; where none is above 255, as they are."""
    if look.greys[0] < 0 or not 255 < look.greys[-1] <= HIGHEST_GREY:
        return look
    return look._replace(greys=sorted({(grey + 128) // 257 for grey in look.greys}), step=257)


def _look(path: Path) -> _Look | None:
    """What a mask of one class holds; None where it cannot be read."""
    try:
        stored = open_stored(path)
        seen = seen_greys(stored, path)
    except (ValueError, OSError):
        return None
    greys, is_exact = values_in(seen).tolist(), not stored.is_lossy
    if is_exact and len(greys) < 3:
        return _Look(greys, is_exact, "")
    span, is_few = greys[-1] - greys[0], is_exact and len(greys) <= MOST_CLASSES
    # Classes fill areas, or lines that touch nothing brighter; soft edges do neither.
    seen = seen if seen.dtype == np.uint8 else seen.astype(np.float32)
    inner, square = np.minimum(seen - greys[0], greys[-1] - seen), np.ones((3, 3), np.uint8)
    brightest = cv2.dilate(seen, square)
    is_soft = inner > NOISE_SHARE * span
    is_class = cv2.erode(seen, square) == brightest
    is_class |= is_few & is_soft & (seen == brightest)
    between = is_class[inner > 0 if is_few else is_soft]
    class_share = between.mean() if between.size else 0.0
    is_drowned = not is_exact and 0 < span < LEAST_LOSSY_SPAN
    is_photo = span >= LEAST_LOSSY_SPAN and is_soft.mean() > MOST_SOFT_SHARE
    has_classes = class_share > LEAST_CLASS_SHARE or (is_exact and len(greys) == 3)
    if not (has_classes or is_photo or is_drowned):
        return _Look(greys, is_exact, "")
    shown = f"{len(greys)} greys ({', '.join(map(str, greys[:SHOWN_COUNT]))})"
    reason = "which compression has blurred" if is_drowned else "expected two and soft edges"
    return _Look(greys, is_exact, f"mask {path} holds {shown}, {reason}: {REMEDY}")
