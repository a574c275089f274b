"""Labels: the long tail of types and products (section 6.3), and how far two annotators agree."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from datamodules.auditing.agreement import (
    MaskAgreement,
    common_records,
    compare_masks,
    kappa_of_labels,
    type_of,
)
from datamodules.manifest import Manifest
from datamodules.sample import GOOD, UNLABELLED
from experiments.audits.findings import Finding, Section
from experiments.tables import Cell, Table

TOP_TYPES = 10
FEW_IMAGES = 10
PAPER_KAPPA_TYPES = 0.87
PAPER_KAPPA_MASKS = 0.81


def audit_tail(manifest: Manifest) -> Section:
    """Shares of the ten most frequent types, rare types, tables per type and per domain.

    A domain is the product of the caption. An image counts for each type that it shows.
    """
    shown = [names or [GOOD] for names in manifest.column("defects")]
    splits = manifest.column("split")
    domains = manifest.caption_column("product")
    counts = Counter(name for names in shown for name in names if name != GOOD)
    top = sum(count for _, count in counts.most_common(TOP_TYPES))
    rare = sorted(name for name, count in counts.items() if count < FEW_IMAGES)
    by_type = Counter(
        (name, split) for names, split in zip(shown, splits, strict=True) for name in names
    )
    by_domain = Counter(
        (domain, UNLABELLED if split == UNLABELLED else GOOD if names == [GOOD] else "defective")
        for domain, names, split in zip(domains, shown, splits, strict=True)
    )
    tested = sorted(name for name, split in by_type if split == "test")
    untrained = [name for name in tested if not by_type[name, "train"]]
    trained = sorted(counts) if tested else []
    untested = [one for one in trained if by_type[one, "train"] and not by_type[one, "test"]]
    figures = {
        "types": float(len(counts)),
        "domains": float(len(set(domains))),
        "defective_images": float(sum(names != [GOOD] for names in shown)),
        "generated_images": float(manifest.generated_count),
        "share_of_top_10_types": top / counts.total() if counts else math.nan,
        "types_below_10_images": float(len(rare)),
        "gini_of_types": gini(list(counts.values())),
    }
    findings = [Finding("rare_type", name, f"{counts[name]} images") for name in rare]
    findings += [Finding("untrained_type", one, "in test but not in train") for one in untrained]
    findings += [Finding("untested_type", one, "in train but not in test") for one in untested]
    tables = [
        cross_table("Images per type", "type", by_type, ("train", "val", "test", UNLABELLED)),
        cross_table("Images per domain", "domain", by_domain, ("defective", "good", UNLABELLED)),
    ]
    return Section("Long tail", figures, tables, findings)


def gini(counts: list[int]) -> float:
    """How unevenly counts are spread: 0 all equal, near 1 one has all; NaN without any."""
    if not counts:
        return math.nan
    size, ordered = len(counts), np.sort(np.asarray(counts, dtype=float))
    weighted = 2 * (np.arange(1, size + 1) * ordered).sum() / (size * ordered.sum())
    return float(weighted) - (size + 1) / size


def cross_table(
    title: str, label: str, counts: Counter[tuple[str, str]], columns: tuple[str, ...]
) -> Table:
    """Counts by row and column, the largest rows first, columns without any left out."""
    used = [column for column in columns if any(key[1] == column for key in counts)]
    totals: Counter[str] = Counter()
    for (name, _), count in counts.items():
        totals[name] += count
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, *(counts[name, column] for column in used), total)
        for name, total in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    )
    return Table(title, (label, *used, "all"), rows)


def audit_agreement(first: Manifest, second: Manifest) -> Section:
    """Cohen's kappa of two annotators' manifests on the images that both hold (section 5.1).

    Raises ValueError where the manifests have no image in common, or masks of two sizes.
    """
    pairs = common_records(first, second)
    types = [(type_of(one), type_of(other)) for one, other in pairs]
    images = [record.image for record, _ in pairs]
    return agreement_section(images, types, compare_masks(first, second))


def agreement_section(
    images: Sequence[str], types: Sequence[tuple[str, str]], masks: MaskAgreement | None
) -> Section:
    """Kappa of what two people said of the images, in order, and of their masks if they drew any.

    types: the dominant type of each image by either, one image at least.
    """
    findings = [
        Finding("types_disagree", image, f"{one} against {other}")
        for image, (one, other) in zip(images, types, strict=True)
        if one != other
    ]
    kappa = kappa_of_labels(*zip(*types, strict=True))
    figures = {
        "images": float(len(types)),
        "types_observed": (len(types) - len(findings)) / len(types),
        "types_kappa": kappa,
        "types_kappa_paper": PAPER_KAPPA_TYPES,
    }
    if masks is not None:
        figures |= {
            "masks_compared": float(masks.count),
            "masks_kappa": masks.kappa,
            "masks_kappa_paper": PAPER_KAPPA_MASKS,
            "masks_mean_iou": masks.mean_iou,
            "masks_below_iou": float(masks.below_iou),
            "masks_by_one_only": float(masks.by_one_only),
        }
    note = f"both said {types[0][0]!r} throughout: no kappa" if math.isnan(kappa) else ""
    return Section("Two annotators", figures, [], findings, note)
