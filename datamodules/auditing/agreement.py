"""How far two annotators agree: on types by Cohen's kappa, on masks by overlap (section 5.1).

Both take what the two said of the same images; where the answers lie is the caller's matter.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_IOU = 0.75


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two annotators have in common.

    count: of what both judged; observed: the share on which they agree; expected: the share on
    which they would by chance; kappa: NaN where `note` says why it is undefined.
    """

    count: int
    observed: float
    expected: float
    kappa: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class MaskAgreement:
    """Two annotators' masks, counted per image and type: `agreement` and its disagreements.

    both_absent and overlapping agree; below_iou, only_first and only_second do not. mean_iou is
    over what both drew, NaN where nothing was.
    """

    agreement: Agreement
    both_absent: int
    overlapping: int
    below_iou: int
    only_first: int
    only_second: int
    mean_iou: float


def cohens_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> Agreement:
    """Cohen's kappa of two annotators' labels of the same things, in order (section 5.1).

    It is 1 for full agreement and 0 for that of chance. Undefined, and said so, where both used
    one and the same label throughout. ValueError for no labels or lists of two lengths.
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            f"two annotators gave {len(first)} and {len(second)} labels: expected one label each "
            "for the same things, at least one"
        )
    count = len(first)
    first_counts, second_counts = Counter(first), Counter(second)
    agreed = sum(a == b for a, b in zip(first, second, strict=True))
    by_chance = sum(first_counts[label] * second_counts[label] for label in first_counts)
    observed, expected = agreed / count, by_chance / count**2
    if by_chance == count**2:
        return Agreement(
            count, observed, expected, math.nan, f"both said {first[0]!r} throughout: no kappa"
        )
    return Agreement(count, observed, expected, (observed - expected) / (1 - expected))


def mask_agreement(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    *,
    class_ids: Sequence[int],
    least_iou: float = LEAST_IOU,
) -> MaskAgreement:
    """The agreement of two annotators' masks (H, W) of class ids at IoU >= 0.75 (section 5.1).

    Each image and each type of `class_ids` is one thing to judge: both leave it blank or overlap
    enough (agreed), or one draws what the other does not, or they overlap too little. Kappa takes
    "drawn" and "blank" as labels; a pair that overlaps too little counts as drawn by one only,
    half to each, because section 5.1 gives a kappa and no rule. ValueError for two sizes.
    """
    counts: Counter[str] = Counter()
    overlaps: list[float] = []
    if len(first) != len(second) or not first or not class_ids:
        raise ValueError(
            f"two annotators gave {len(first)} and {len(second)} masks of {len(class_ids)} types: "
            "expected one mask each for the same images, and at least one type"
        )
    for index, (mask, other) in enumerate(zip(first, second, strict=True)):
        if mask.shape != other.shape:
            raise ValueError(
                f"masks {index} have the sizes {mask.shape} and {other.shape}: expected both "
                "annotators' masks at the size of the image"
            )
        for class_id in class_ids:
            verdict, overlap = _compare(mask == class_id, other == class_id, least_iou)
            counts[verdict] += 1
            if overlap is not None:
                overlaps.append(overlap)
    return MaskAgreement(
        agreement=_kappa_of_presence(counts),
        both_absent=counts["both_absent"],
        overlapping=counts["overlapping"],
        below_iou=counts["below_iou"],
        only_first=counts["only_first"],
        only_second=counts["only_second"],
        mean_iou=float(np.mean(overlaps)) if overlaps else math.nan,
    )


def _compare(mask: np.ndarray, other: np.ndarray, least_iou: float) -> tuple[str, float | None]:
    """The verdict on one type in one image, and the IoU where both drew something."""
    area, other_area = int(mask.sum()), int(other.sum())
    if not area and not other_area:
        return "both_absent", None
    if not area or not other_area:
        return ("only_first" if area else "only_second"), None
    shared = int((mask & other).sum())
    overlap = shared / (area + other_area - shared)
    return ("overlapping" if overlap >= least_iou else "below_iou"), overlap


def _kappa_of_presence(counts: Counter[str]) -> Agreement:
    count = sum(counts.values())
    drawn_by_one = counts["below_iou"] / 2
    first_drawn = counts["overlapping"] + counts["only_first"] + drawn_by_one
    second_drawn = counts["overlapping"] + counts["only_second"] + drawn_by_one
    observed = (counts["overlapping"] + counts["both_absent"]) / count
    expected = (
        first_drawn * second_drawn + (count - first_drawn) * (count - second_drawn)
    ) / count**2
    if expected == 1:
        return Agreement(count, observed, expected, math.nan, "nothing differs: no kappa")
    return Agreement(count, observed, expected, (observed - expected) / (1 - expected))
