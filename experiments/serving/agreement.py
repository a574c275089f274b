"""How far two people agree, and how often people overrode the machine (section 5.1).

What is compared is in `corrections.py`; kappas are `datamodules/auditing/agreement.py`.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

from datamodules.auditing.agreement import compare_maps, kappa_of_labels
from datamodules.sample import GOOD
from datamodules.whole_files import write_whole
from experiments.audits.findings import Finding, Section, to_text
from experiments.audits.labels import agreement_section
from experiments.serving.corrections import Correction, Corrections, Review
from experiments.serving.regions import MarkedRegion, differ, label_map, names_of, type_of
from experiments.tables import Table

REPORT = "agreement.md"
COLUMNS = ("day", "reviews", "overridden", "share_overridden", "types_kappa")


def write_agreement(corrections: Corrections) -> str:
    """Both sections in Markdown, which lies in agreement.md of the folder too."""
    found = corrections.read_all()
    text = to_text("what people said", [people_and_people(found), people_and_machine(found)])
    write_whole(corrections.folder / REPORT, text)
    return text


def people_and_people(corrections: Sequence[Correction]) -> Section:
    """Kappa of types, and of masks at IoU 0.75, over images that two people reviewed blind.

    Those that differ are listed, with their share and how many have a consensus.
    """
    doubles = [(one, pair) for one in corrections if (pair := one.pair)]
    title = "Two people"
    if not doubles:
        return Section(title, {"images": 0.0}, note="no image has a second review yet")
    regions = [[person.regions for person in pair] for _, pair in doubles]
    types = [
        (type_of(first, one.size_px), type_of(second, one.size_px))
        for (one, _), (first, second) in zip(doubles, regions, strict=True)
    ]
    names = names_in([part for pair in regions for part in pair])
    maps = (
        (label_map(first, names, one.size_px), label_map(second, names, one.size_px))
        for (one, _), (first, second) in zip(doubles, regions, strict=True)
    )
    masks = compare_maps(maps, len(names)) if len(names) > 1 else None
    section = agreement_section([one.name for one, _ in doubles], types, masks)
    states = [one.state for one, _ in doubles]
    differing = [
        Finding("differs", one.name, f"{pair[0].reviewer} and {pair[1].reviewer}")
        for one, pair in doubles
        if differ(pair[0].regions, pair[1].regions, one.size_px)
    ]
    figures = section.figures | {
        "differ": float(len(differing)),
        "differ_share": len(differing) / len(doubles),
        "consensus": float(states.count("consensus")),
    }
    return Section(title, figures, [], [*section.findings, *differing], section.note)


def people_and_machine(corrections: Sequence[Correction]) -> Section:
    """How often people changed what the machine had answered, all in all and day by day.

    A consensus is no answer to the machine's and does not count.
    """
    days: dict[str, list[tuple[Correction, Review]]] = defaultdict(list)
    for one in corrections:
        for review in one.history:
            if review.kind != "consensus":
                days[review.at[:10]].append((one, review))
    everything = [pair for pairs in days.values() for pair in pairs]
    title = "People and machine"
    if not everything:
        return Section(title, {"reviews": 0.0}, note="nothing is reviewed yet")
    rows = tuple((day, *_row_of(pairs)) for day, pairs in sorted(days.items()))
    reviews, overridden, share, kappa = _row_of(everything)
    figures = {
        "reviews": float(reviews),
        "overridden": float(overridden),
        "share_overridden": share,
        "types_kappa": kappa,
    }
    return Section(title, figures, [Table("Day by day", COLUMNS, rows)])


def _row_of(pairs: Sequence[tuple[Correction, Review]]) -> tuple[int, int, float, float]:
    """Reviews, how many changed anything, their share, and kappa of the images' types."""
    overridden = sum(review.overrode for _, review in pairs)
    types = [
        (type_of(review.regions, one.size_px), type_of(review.machine.regions, one.size_px))
        for one, review in pairs
    ]
    kappa = kappa_of_labels(*zip(*types, strict=True)) if types else math.nan
    return len(pairs), overridden, overridden / len(pairs), kappa


def names_in(regions: Sequence[Sequence[MarkedRegion]]) -> list[str]:
    """All names, sorted, behind "good"."""
    return [GOOD, *sorted({name for one in regions for name in names_of(one)})]
