"""How far two annotators agree: on types by Cohen's kappa, on masks by overlap (section 5.1)."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.annotation import open_annotation
from datamodules.decode import read_header
from datamodules.manifest import Manifest
from datamodules.sample import GOOD, Record
from datamodules.vocabulary import Vocabulary

LEAST_IOU = 0.75


@dataclass(frozen=True, slots=True)
class MaskAgreement:
    """Two annotators' masks, compared type by type in each image.

    count: images of which both have an annotation; mean_iou: over what both drew. NaN where
    nothing was drawn, or nothing differs (kappa).
    """

    count: int
    kappa: float
    mean_iou: float
    below_iou: int
    by_one_only: int


def common_records(first: Manifest, second: Manifest) -> list[tuple[Record, Record]]:
    """What two manifests say of the same images or tiles, by path and window; else ValueError."""
    rows = {place: row for row, place in enumerate(_places_of(second))}
    pairs = [
        (first[row], second[rows[place]])
        for row, place in enumerate(_places_of(first))
        if place in rows
    ]
    if not pairs:
        raise ValueError(
            f"manifests {first.path} and {second.path} have no image in common: expected two "
            "annotations of the same images, with the same paths below their roots"
        )
    return pairs


def type_of(record: Record) -> str:
    """The dominant type of a record."""
    return record.defects[0] if record.defects else GOOD


def cohens_kappa(counts: np.ndarray) -> float:
    """Cohen's kappa of two annotators, 1 for full agreement, 0 for that of chance (section 5.1).

    counts: (K, K) how often one said the row's label and the other the column's; NaN where both
    used one and the same label throughout.
    """
    total = counts.sum()
    observed = np.trace(counts) / total
    expected = counts.sum(axis=0) @ counts.sum(axis=1) / total**2
    return float((observed - expected) / (1 - expected)) if expected < 1 else math.nan


def kappa_of_labels(first: Sequence[str], second: Sequence[str]) -> float:
    """Cohen's kappa of two annotators' labels of the same things, in order."""
    labels = sorted({*first, *second})
    counts = np.zeros((len(labels), len(labels)))
    for one, other in zip(first, second, strict=True):
        counts[labels.index(one), labels.index(other)] += 1
    return cohens_kappa(counts)


def compare_masks(first: Manifest, second: Manifest) -> MaskAgreement | None:
    """The agreement of two manifests' masks, as `compare_maps`; None where no image has two.

    ValueError for masks of two sizes.
    """
    pairs = [
        pair
        for pair in common_records(first, second)
        if all(record.mask_kind != "none" for record in pair)
    ]
    names = sorted({name for pair in pairs for record in pair for name in record.defects})
    if not names:
        return None
    # A mask can name types that no image shows; they are nothing to agree on.
    unseen = {value.name for pair in pairs for record in pair for value in record.mask_values}
    vocabulary = Vocabulary.from_names([*names, *sorted(unseen - {GOOD, *names})])

    def opened() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for one, other in pairs:
            masks = _mask_of(one, first, vocabulary), _mask_of(other, second, vocabulary)
            if masks[0].shape != masks[1].shape:
                raise ValueError(
                    f"masks of {one.image} have the sizes {masks[0].shape} and {masks[1].shape}: "
                    "expected both annotators' masks at the size of the image"
                )
            yield masks

    return compare_maps(opened(), 1 + len(names))


def compare_maps(pairs: Iterable[tuple[np.ndarray, np.ndarray]], class_count: int) -> MaskAgreement:
    """The agreement of two annotators' class ids (H, W) of the same images at IoU >= 0.75.

    Each type in each image is one thing to judge: both leave it blank or overlap enough (agreed),
    or one draws what the other does not, or they overlap too little. Kappa takes "drawn" and
    "blank" as labels; a pair that overlaps too little counts as drawn by one only, half to each,
    because section 5.1 gives a kappa and no rule.
    """
    verdicts: Counter[str] = Counter()
    overlaps: list[float] = []
    count = 0
    for one, other in pairs:
        count += 1
        for class_id in range(1, class_count):
            drawn, redrawn = one == class_id, other == class_id
            shared, either = int((drawn & redrawn).sum()), int((drawn | redrawn).sum())
            if not either:
                verdicts["blank"] += 1
            elif not drawn.any() or not redrawn.any():
                verdicts["second" if redrawn.any() else "first"] += 1
            else:
                overlaps.append(shared / either)
                verdicts["overlap" if overlaps[-1] >= LEAST_IOU else "below"] += 1
    half = verdicts["below"] / 2
    counts = np.array(
        [
            [verdicts["overlap"], verdicts["first"] + half],
            [verdicts["second"] + half, verdicts["blank"]],
        ]
    )
    return MaskAgreement(
        count,
        cohens_kappa(counts),
        float(np.mean(overlaps)) if overlaps else math.nan,
        verdicts["below"],
        verdicts["first"] + verdicts["second"],
    )


def _places_of(manifest: Manifest) -> list[tuple[str, str]]:
    """The image and the window of each row."""
    windows = map(str, manifest.column("window_xywh_px"))
    return list(zip(manifest.column("image"), windows, strict=True))


def _mask_of(record: Record, manifest: Manifest, vocabulary: Vocabulary) -> np.ndarray:
    size_px = (record.height_px, record.width_px)
    if record.window_xywh_px:
        size_px = read_header(manifest.root / record.image).shown_px[::-1]
    ids = open_annotation(record, manifest.root, vocabulary=vocabulary, image_size_px=size_px)
    assert ids is not None  # only records with an annotation are compared
    return ids
