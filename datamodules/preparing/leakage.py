"""The leakage guard: no image of the test split, not even turned or recompressed, is trained on.

Alike images are found by `duplicates.py`; here it is decided what becomes of them, and whether a
split leaks.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from datamodules.preparing.duplicates import Pair, duplicate_groups
from datamodules.sample import UNLABELLED, Record
from datamodules.splits import assign_splits, check_groups

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
class LeftOut:
    """An image that is left out of a manifest: which, from which source, and why."""

    image: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Leak:
    """Two alike images in different splits; `kind` is the pair's (exact, turned, near)."""

    first: str
    second: str
    splits: tuple[str, str]
    kind: str
    similarity: float


def resolve_leaks(
    records: Sequence[Record],
    pairs: Sequence[Pair],
    *,
    copies: str,
    max_alike_fraction: float = MAX_ALIKE_FRACTION,
    fractions: tuple[float, float, float],
    split_seed: int,
) -> tuple[list[Record], list[LeftOut], list[Leak]]:
    """The records with splits, the copies that were left out for that, the leaks that stay.

    copies: what becomes of alike images in different given splits, `drop`, `exact` (only those of
    identical pixels are dropped) or `keep`; fractions: of train, val and test. Raises ValueError
    where more than `max_alike_fraction` of a split would go.
    """
    left_out: list[LeftOut] = []
    if copies == "exact":
        pairs = [pair for pair in pairs if pair.kind == "exact"]
    if copies != "keep":
        records, pairs, left_out = drop_copies(records, pairs, max_alike_fraction)
    train, val, test = fractions
    try:
        # Where all train, there is nothing to part.
        records = link_groups(records, pairs, 1.0 if 1 in fractions else max_alike_fraction)
    except ValueError:
        if copies != "keep":
            raise  # else they are parted as they come, and the manifest counts the leaks
    records = assign_splits(records, train=train, val=val, test=test, seed=split_seed)
    if copies != "keep":
        # An unlabelled image has a split of its own from the start, so it was linked to no other.
        records, pairs, more = drop_copies(records, pairs, max_alike_fraction)
        left_out += more
    check_groups(records)
    return list(records), left_out, find_leaks(records, pairs)


def find_leaks(records: Sequence[Record], pairs: Sequence[Pair]) -> list[Leak]:
    """The pairs whose records are in different splits, val and train apart too."""
    leaks = []
    for pair in pairs:
        first, second = records[pair.first], records[pair.second]
        if _part(first.split, second.split):
            splits = first.split, second.split
            leaks.append(Leak(first.image, second.image, splits, pair.kind, pair.similarity))
    return leaks


def drop_copies(
    records: Sequence[Record], pairs: Sequence[Pair], max_alike_fraction: float = MAX_ALIKE_FRACTION
) -> tuple[list[Record], list[Pair], list[LeftOut]]:
    """The records that stay, the pairs among them, and those that go so that no split leaks.

    Of images that a chain of likeness links across given splits, those of test stay, before val,
    train and unlabelled ones.
    """
    alike: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(duplicate_groups(pairs, len(records))):
        if records[row].split in PRECEDENCE:
            alike[int(label)].append(row)
    dropped = set()
    for rows in alike.values():
        kept = min((records[row].split for row in rows), key=PRECEDENCE.index)
        dropped |= {row for row in rows if _part(records[row].split, kept)}
    _check_share(records, dropped, max_alike_fraction)
    like: dict[int, tuple[int, str]] = {}
    # The reason names an image of another split before one of the same.
    splits = [record.split for record in records]
    for pair in sorted(pairs, key=lambda pair: splits[pair.first] == splits[pair.second]):
        like.setdefault(pair.first, (pair.second, pair.kind))
        like.setdefault(pair.second, (pair.first, pair.kind))
    left_out = []
    for row in sorted(dropped):
        other, kind = records[like[row][0]], like[row][1]
        reason = f"{kind} copy of {other.image} ({other.split})"
        left_out.append(LeftOut(records[row].image, records[row].source, reason))
    stay = [row for row in range(len(records)) if row not in dropped]
    place = {row: place for place, row in enumerate(stay)}
    kept_pairs = [
        replace(pair, first=place[pair.first], second=place[pair.second])
        for pair in pairs
        if pair.first in place and pair.second in place
    ]
    return [records[row] for row in stay], kept_pairs, left_out


def link_groups(
    records: Sequence[Record], pairs: Sequence[Pair], max_alike_fraction: float = MAX_ALIKE_FRACTION
) -> list[Record]:
    """The records with one group for all that are alike: no split can part them.

    Only pairs within one split, or without any, are linked: given splits stay as they are, and so
    does a group of which some records have one. Raises ValueError where more than half of all
    images are linked into one.
    """
    group_of: dict[str, int] = {}
    own = [group_of.setdefault(record.group, len(group_of)) for record in records]
    given = {r.group: r.split for r in records if r.split not in ("", UNLABELLED)}
    splits = [given.get(record.group, record.split) for record in records]
    links = [
        replace(pair, first=own[pair.first], second=own[pair.second])
        for pair in pairs
        if splits[pair.first] == splits[pair.second]
    ]
    labels = duplicate_groups(links, len(group_of))[own]
    largest = int(np.bincount(labels).max())
    largest_before = int(np.bincount(own).max())
    if largest > max(largest_before, max_alike_fraction * len(records), 3):
        raise ValueError(
            f"{largest} of {len(records)} images are linked by likeness and could not be split: "
            f"{ALL_ALIKE}"
        )
    names: dict[int, str] = {}
    return [
        replace(record, group=names.setdefault(int(label), record.group))
        for record, label in zip(records, labels, strict=True)
    ]


def _check_share(records: Sequence[Record], dropped: set[int], max_alike_fraction: float) -> None:
    sizes = Counter(record.split for record in records)
    for split, count in Counter(records[row].split for row in sorted(dropped)).items():
        if split != UNLABELLED and count > max_alike_fraction * sizes[split]:
            raise ValueError(
                f"{count} of {sizes[split]} {split} images look like images of another split: "
                f"{ALL_ALIKE}"
            )


def _part(first: str, second: str) -> bool:
    """Whether two splits are both given and differ; unlabelled images can only be trained on."""
    sides = {"train" if split == UNLABELLED else split for split in (first, second)}
    return len(sides) == 2 and "" not in sides
