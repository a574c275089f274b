"""The leakage guard: no image of the test split, not even turned or recompressed, is trained on.

Alike images are found by `duplicates.py`; here it is settled what becomes of them, and whether a
split leaks.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from datamodules.preparing.duplicates import Pair, duplicate_groups
from datamodules.preparing.quarantine import Refused
from datamodules.sample import UNLABELLED, Record

# Of two alike images in different splits the one of the earlier split stays.
PRECEDENCE = ("test", "val", "train", UNLABELLED)
# More alike images than this mean, as a rule, that the set's parts are all photographed alike.
MAX_ALIKE_FRACTION = 0.5
ALL_ALIKE = (
    "parts are photographed alike, or the data is full of copies; allow it with "
    "--max_alike_fraction 1, count only exact copies with --copies exact, or keep all with "
    "--copies keep"
)


@dataclass(frozen=True, slots=True)
class Leak:
    """Two alike images in different splits; `kind` is the pair's (exact, turned, near)."""

    first: str
    second: str
    splits: tuple[str, str]
    kind: str
    similarity: float


def find_leaks(records: Sequence[Record], pairs: Sequence[Pair]) -> list[Leak]:
    """The pairs whose records are in different splits, val and train apart too."""
    return [
        Leak(
            records[pair.first].image,
            records[pair.second].image,
            (records[pair.first].split, records[pair.second].split),
            pair.kind,
            pair.similarity,
        )
        for pair in pairs
        if _part(records[pair.first].split, records[pair.second].split)
    ]


def settle_copies(
    records: Sequence[Record],
    pairs: Sequence[Pair],
    *,
    keep: bool,
    max_alike_fraction: float = MAX_ALIKE_FRACTION,
) -> tuple[list[Record], Sequence[Pair], list[Refused]]:
    """The records that stay, the pairs among them, and those that go because they would leak."""
    dropped = [] if keep else copies_to_drop(records, pairs, max_alike_fraction)
    twin: dict[int, tuple[int, str]] = {}
    # The reason names a image of another split before one of the same.
    splits = [record.split for record in records]
    for pair in sorted(pairs, key=lambda pair: splits[pair.first] == splits[pair.second]):
        twin.setdefault(pair.first, (pair.second, pair.kind))
        twin.setdefault(pair.second, (pair.first, pair.kind))
    left_out = []
    for row in dropped:
        other, kind = records[twin[row][0]], twin[row][1]
        reason = f"{kind} copy of {other.image} ({other.split})"
        left_out.append(Refused(records[row].image, records[row].source, reason))
    stay = sorted(set(range(len(records))) - set(dropped))
    new_row = {row: place for place, row in enumerate(stay)}
    kept_pairs = [
        replace(pair, first=new_row[pair.first], second=new_row[pair.second])
        for pair in pairs
        if pair.first in new_row and pair.second in new_row
    ]
    return [records[row] for row in stay], kept_pairs, left_out


def copies_to_drop(
    records: Sequence[Record],
    pairs: Sequence[Pair],
    max_alike_fraction: float = MAX_ALIKE_FRACTION,
) -> list[int]:
    """The rows that must go so that given splits do not leak, ascending.

    Of images that a chain of likeness links across given splits, those of test stay, before val,
    train and unlabelled ones. Raises ValueError where more than the allowed share of a
    split would go.
    """
    labels = duplicate_groups(pairs, len(records))
    alike: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        if records[row].split in PRECEDENCE:
            alike[int(label)].append(row)
    dropped = []
    for rows in alike.values():
        kept = min((records[row].split for row in rows), key=PRECEDENCE.index)
        dropped += [row for row in rows if _part(records[row].split, kept)]
    sizes = Counter(record.split for record in records)
    for split, count in Counter(records[row].split for row in dropped).items():
        if split != UNLABELLED and count > max_alike_fraction * sizes[split]:
            raise ValueError(
                f"{count} of {sizes[split]} {split} images look like images of another split: "
                f"{ALL_ALIKE}"
            )
    return sorted(dropped)


def link_groups(
    records: Sequence[Record],
    pairs: Sequence[Pair],
    max_alike_fraction: float = MAX_ALIKE_FRACTION,
) -> list[Record]:
    """The records with one group for all that are alike: no split can part them.

    Only pairs within one split, or without any, are linked: given splits stay as they are.
    Raises ValueError where more than half of all images are linked into one.
    """
    group_of: dict[tuple[str, str], int] = {}
    own = [group_of.setdefault((r.split, r.group), len(group_of)) for r in records]
    links = [
        replace(pair, first=own[pair.first], second=own[pair.second])
        for pair in pairs
        if records[pair.first].split == records[pair.second].split
    ]
    label_of_group = duplicate_groups(links, len(group_of))
    labels = label_of_group[own]
    largest_before = int(np.bincount(own).max())
    largest = int(np.bincount(labels).max())
    if largest > max(largest_before, max_alike_fraction * len(records), 3):
        raise ValueError(
            f"{largest} of {len(records)} images are linked by likeness and could not be split: "
            f"{ALL_ALIKE}"
        )
    name_of_label: dict[int, str] = {}
    return [
        replace(record, group=name_of_label.setdefault(int(label), record.group))
        for record, label in zip(records, labels, strict=True)
    ]


def _part(first: str, second: str) -> bool:
    """Whether two splits are both given and differ; unlabelled images can only be trained on."""
    sides = {"train" if split == UNLABELLED else split for split in (first, second)}
    return len(sides) == 2 and "" not in sides
