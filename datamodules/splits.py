"""Records -> the same Records with a split: by group, stratified by type, stable by hash.

Groups (capture runs, boards, wafers) never part; `check_groups` holds that for any manifest, and
alike pictures are the matter of `leakage.py`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from datamodules.sample import GOOD, UNLABELLED, Record

SPLITS = ("train", "val", "test")
FIRST_SERVED = ("train", "test", "val")


def assign_splits(
    records: Sequence[Record],
    *,
    train: float = 0.6,
    val: float = 0.15,
    test: float = 0.25,
    seed: int = 0,
) -> list[Record]:
    """The records in their order, each with a split; whoever has one keeps it.

    train, val, test: shares of the images, summing to one. A record without split follows its
    group; unlabelled ones stay so. Where a source gives splits to all records but none is "val",
    whole groups of its "train" become "val". A type with three groups or more is in every split.
    Generated pictures train, and so does all that shares a group with them.
    """
    shares = _checked_shares(train=train, val=val, test=test)
    records = [replace(r, split="train") if r.is_generated and not r.split else r for r in records]
    labelled = [record for record in records if record.split != UNLABELLED]
    given = {record.group: record.split for record in labelled if record.split}
    loose = [record for record in labelled if record.group not in given]
    chosen = given | _split_groups(loose, shares, seed)
    if not loose and val > 0 and "val" not in given.values():
        bound = {record.group for record in labelled if record.is_generated}
        trained = [r for r in labelled if chosen[r.group] == "train" and r.group not in bound]
        carved = {"train": train / (train + val), "val": val / (train + val)}
        chosen |= _split_groups(trained, carved, seed)
        return [
            replace(record, split=chosen[record.group]) if record.split == "train" else record
            for record in records
        ]
    return [
        record if record.split else replace(record, split=chosen[record.group])
        for record in records
    ]


def check_groups(records: Sequence[Record]) -> None:
    """Nothing, where no group is in two splits; else ValueError. Unlabelled ones do not count."""
    split_of: dict[str, str] = {}
    for record in records:
        if record.split == UNLABELLED:
            continue
        if split_of.setdefault(record.group, record.split) != record.split:
            raise ValueError(
                f"group {record.group!r} is in the splits {split_of[record.group]!r} and "
                f"{record.split!r} (image {record.image}), expected one: "
                "split by group or name the groups apart"
            )


def spread_over_types(rows: np.ndarray, types: Sequence[str], count: int) -> np.ndarray:
    """At most `count` of the rows, evenly spaced over their types, ascending."""
    if count >= len(rows):
        return rows
    ordered = rows[np.argsort(np.array(types), kind="stable")]
    places = ((np.arange(count) + 0.5) * len(ordered) / count).astype(np.int64)
    return np.sort(ordered[places])


def supervised_thirds(records: Sequence[Record]) -> list[Record]:
    """The records under the supervised protocol (NOTES 18), in their order.

    Of each product's every defect type, sorted by name, the first third trains and the rest is
    tested, whole groups at a time. Good pictures keep a published split; without one they are cut
    the same way. Unlabelled and generated pictures stay where they are.
    """
    splits: dict[str, str] = {}
    kept = {r.group: r.split for r in records if not r.defects and r.split in ("train", "test")}
    by_type: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.split != UNLABELLED and not record.is_generated:
            by_type[record.caption.product, type_of(record)].append(record)
    for _, members in sorted(by_type.items()):
        groups = list(dict.fromkeys(r.group for r in sorted(members, key=lambda r: r.image)))
        first_third = max(1, len(groups) // 3)
        for place, group in enumerate(groups):
            chosen = kept.get(group, "train" if place < first_third else "test")
            splits.setdefault(group, chosen)
    return [replace(record, split=splits.get(record.group, record.split)) for record in records]


def type_of(record: Record) -> str:
    """The dominant defect type of a record, "good" without any."""
    return record.defects[0] if record.defects else GOOD


def _checked_shares(**shares: float) -> dict[str, float]:
    if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6 or shares["train"] == 0:
        got = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise ValueError(f"split shares are {got}, expected train > 0 and a sum of 1: correct them")
    return shares


def _split_groups(
    records: Sequence[Record], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Group -> split; inside each type the groups are cut in hash order."""
    sizes = Counter(record.group for record in records)
    frequency = Counter(type_of(record) for record in records)
    stratum: dict[str, tuple[bool, int, str]] = {}
    for record in records:
        name = type_of(record)
        # A run of many good tiles with one crack is a crack run: rare types must reach each split.
        rarity = (name == GOOD, frequency[name], name)
        stratum[record.group] = min(stratum.get(record.group, rarity), rarity)
    members: dict[str, list[str]] = defaultdict(list)
    for group in sorted(sizes, key=lambda name: hash_rank(name, seed)):
        members[stratum[group][2]].append(group)
    return {
        group: split
        for groups in members.values()
        for group, split in _cut(groups, sizes, shares).items()
    }


def _cut(
    groups: Sequence[str], sizes: Mapping[str, int], shares: Mapping[str, float]
) -> dict[str, str]:
    """Consecutive groups to each split up to its share of images, none of them left empty."""
    wanted = [split for split in SPLITS if shares.get(split, 0) > 0]
    if len(groups) < len(wanted):
        served = [split for split in FIRST_SERVED if split in wanted]
        return dict(zip(groups, served, strict=False))
    total = sum(sizes[group] for group in groups)
    chosen: dict[str, str] = {}
    taken, border, start = 0, 0.0, 0
    for position, split in enumerate(wanted):
        border += shares[split] * total
        last = len(groups) - (len(wanted) - position - 1)
        end = start
        while end < last and (
            end == start or split == wanted[-1] or taken + sizes[groups[end]] / 2 <= border
        ):
            chosen[groups[end]] = split
            taken += sizes[groups[end]]
            end += 1
        start = end
    return chosen


def hash_rank(name: str, seed: int) -> str:
    """Where a name comes in an order that the seed shuffles."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
