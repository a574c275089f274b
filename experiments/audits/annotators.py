"""Two annotators of the same pictures: agreement on types and on masks (section 5.1)."""

from pathlib import Path

import numpy as np

from datamodules.annotation import open_annotation
from datamodules.auditing.agreement import cohens_kappa, mask_agreement
from datamodules.manifest import Manifest
from datamodules.sample import GOOD, Record
from datamodules.vocabulary import Vocabulary
from experiments.audits.findings import Finding, Section

PAPER_KAPPA_TYPES = 0.87
PAPER_KAPPA_MASKS = 0.81


def audit_agreement(first: Manifest, second: Manifest) -> Section:
    """Cohen's kappa of two manifests on the pictures that both hold, matched by path.

    Masks are compared where both have one, at IoU >= 0.75. Raises ValueError where the manifests
    have no picture in common.
    """
    rows = {image: row for row, image in enumerate(second.column("image"))}
    pairs = [
        (first[row], second[rows[image]])
        for row, image in enumerate(first.column("image"))
        if image in rows
    ]
    if not pairs:
        raise ValueError(
            f"manifests {first.path} and {second.path} have no picture in common: expected two "
            "annotations of the same pictures, with the same paths below their roots"
        )
    types = [tuple(type_of(record) for record in pair) for pair in pairs]
    on_types = cohens_kappa([one for one, _ in types], [other for _, other in types])
    figures = {
        "pictures": float(len(pairs)),
        "types_observed": on_types.observed,
        "types_kappa": on_types.kappa,
        "types_kappa_paper": PAPER_KAPPA_TYPES,
    }
    findings = [
        Finding("types_disagree", record.image, f"{one} against {other}")
        for (record, _), (one, other) in zip(pairs, types, strict=True)
        if one != other
    ]
    figures |= mask_figures(pairs, first.root, second.root)
    return Section("Two annotators", figures, [], findings, on_types.note)


def mask_figures(
    pairs: list[tuple[Record, Record]], root: Path, other_root: Path
) -> dict[str, float]:
    """Kappa of masks and the counts behind it; empty where no picture has two masks."""
    drawn = [pair for pair in pairs if all(r.mask_kind != "none" for r in pair)]
    names = sorted({name for pair in drawn for record in pair for name in record.defects})
    if not drawn or not names:
        return {}
    vocabulary = Vocabulary.from_names(names)
    masks = [
        (mask_of(one, root, vocabulary), mask_of(other, other_root, vocabulary))
        for one, other in drawn
    ]
    ids = range(1, len(vocabulary))
    found = mask_agreement([a for a, _ in masks], [b for _, b in masks], class_ids=list(ids))
    return {
        "masks_compared": float(len(drawn)),
        "masks_kappa": found.agreement.kappa,
        "masks_kappa_paper": PAPER_KAPPA_MASKS,
        "masks_mean_iou": found.mean_iou,
        "masks_below_iou": float(found.below_iou),
        "masks_by_one_only": float(found.only_first + found.only_second),
    }


def mask_of(record: Record, root: Path, vocabulary: Vocabulary) -> np.ndarray:
    """The class ids of a record's annotation, which it must have."""
    size_px = (record.height_px, record.width_px)
    ids = open_annotation(record, root, vocabulary=vocabulary, image_size_px=size_px)
    assert ids is not None  # only records with an annotation are compared
    return ids


def type_of(record: Record) -> str:
    """The dominant type of a record, its split where it is unlabelled."""
    return record.defects[0] if record.defects else GOOD
