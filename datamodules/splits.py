"""Who trains and who is tested: splits by group, types held out, and a few shots of each type.

Records get their split by group, stratified by the rarest type in it, stable by hash. Groups
(capture runs, boards, wafers) never part; `check_groups` holds that for any manifest, alike images
are the matter of `preparing/leakage.py`. The class ids of both sides of `TypeDivision` are each
vocabulary's own; `dataset.py` translates the manifest's.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from datamodules.manifest import Manifest
from datamodules.sample import GOOD, UNLABELLED, Record
from datamodules.vocabulary import normalise_name

SPLITS = ("train", "val", "test")
FIRST_SERVED = ("train", "test", "val")
TEST_TYPES = ("all", "seen", "held_out")  # what a test shows and asks for


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
    whole groups of its "train" become "val". A type with three groups or more, none of which shows
    a rarer one, is in every split.
    Generated images train, and so does all that shares a group with them. ValueError where a
    group was given two splits.
    """
    shares = _checked_shares(train=train, val=val, test=test)
    check_groups([record for record in records if record.split])
    records = [replace(r, split="train") if r.is_generated and not r.split else r for r in records]
    labelled = [record for record in records if record.split != UNLABELLED]
    given = {record.group: record.split for record in labelled if record.split}
    loose = [record for record in labelled if record.group not in given]
    chosen = given | _split_groups(loose, shares, seed)
    if not loose and val > 0 and "val" not in given.values():
        bound = {record.group for record in labelled if record.is_generated}
        # By the dominant type alone: a published set's val stays what results were measured with.
        trained = [
            replace(record, defects=record.defects[:1])
            for record in labelled
            if chosen[record.group] == "train" and record.group not in bound
        ]
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
    """The records under the supervised protocol of the compared systems, in their order.

    Of each product's every defect type, sorted by name, the first third trains and the rest is
    tested, whole groups at a time. Good images keep a published split; without one they are cut
    the same way. Unlabelled and generated images stay where they are.
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
    is_whole = abs(sum(shares.values()) - 1) <= 1e-6  # which no NaN is
    if not is_whole or min(shares.values()) < 0 or shares["train"] == 0:
        got = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise ValueError(f"split shares are {got}, expected train > 0 and a sum of 1: correct them")
    return shares


def _split_groups(
    records: Sequence[Record], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Group -> split; of each type the groups that show none rarer are cut in hash order."""
    sizes = Counter(record.group for record in records)
    shown = [(record.group, name) for record in records for name in record.defects or (GOOD,)]
    frequency = Counter(name for _, name in shown)
    stratum: dict[str, tuple[bool, int, str]] = {}
    for group, name in shown:
        # A run of many good tiles with one crack is a crack run: rare types must reach each split.
        rarity = (name == GOOD, frequency[name], name)
        stratum[group] = min(stratum.get(group, rarity), rarity)
    members: dict[str, list[str]] = defaultdict(list)
    for group in sorted(sizes, key=lambda name: _hash_rank(name, seed)):
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


def _hash_rank(name: str, seed: int) -> str:
    """Where a name comes in an order that the seed shuffles."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


class TypeDivision:
    """Rows and names of training and of the test of a manifest, with `held_out` types kept out.

    training: the vocabulary of the seen types; a group of images of which one shows a held-out
    type neither trains nor validates. tested: the vocabulary of the test. `test_types` says which:
    `all` names, on all images; those `seen`, on images without a held-out type; those
    `held_out`, on images that show no other. labels: further words for the types, as they are
    typed. Raises ValueError for unknown names or words, and where no type is left to train on.
    """

    def __init__(
        self, index: Manifest, held_out: Sequence[str], test_types: str, labels: str = ""
    ) -> None:
        if test_types not in TEST_TYPES:
            expected = ", ".join(TEST_TYPES)
            raise ValueError(f"test_types is {test_types!r}: expected one of {expected}")
        if test_types != "all" and not held_out:
            raise ValueError(
                f"test_types is {test_types!r}, but held_out_types names none: name some"
            )
        vocabulary = index.vocabulary.with_words(labels) if labels else index.vocabulary
        self.training, unseen = vocabulary.division(held_out)
        if held_out and len(self.training) == 1:
            raise ValueError(
                f"held_out_types names all types of {index.path}: expected at least one to train on"
            )
        self.index, self.test_types = index, test_types
        tested = {"all": vocabulary, "seen": self.training, "held_out": unseen}
        self.tested = tested[test_types]
        self.held_out = unseen.names[1:]
        self._held_out_words = unseen.words - set(unseen.entries[0])

    def rows_of(self, split: str) -> np.ndarray:
        """The rows of a split that take part, ascending; ValueError where there are none."""
        given = self.index.rows_of(split)
        rows = given[self._taking_part(split)[given]] if self.held_out else given
        if not len(given):
            unlabelled = len(self.index.rows_of(UNLABELLED))
            told = f" ({unlabelled} are unlabelled: say what they show)" if unlabelled else ""
            raise ValueError(
                f"manifest {self.index.path} has no {split} images among {len(self.index)}{told}: "
                f"give {split}_fraction a share and the data more images, three groups of a type "
                "or more, or, where it brings its own splits, cut them anew by the protocol "
                "'groups'"
            )
        if not len(rows):
            raise ValueError(
                f"manifest {self.index.path} has no {split} images among {len(self.index)} but "
                f"those that held_out_types {', '.join(self.held_out)} leave out: hold out fewer"
            )
        return rows

    def check_types(self) -> None:
        """ValueError where training shows no defect, or never one that is tested unasked.

        Asked for are held_out_types, and a source that training has no image of (`leave_out`).
        """
        trained, tested = self.rows_of("train"), [*self.rows_of("val"), *self.rows_of("test")]
        defects, sources = self.index.column("defects"), self.index.column("source")
        seen = {normalise_name(name) for row in trained for name in defects[row]}
        asked, known = seen | self._held_out_words, {sources[row] for row in trained}
        unseen = Counter(
            name
            for row in tested
            for name in map(normalise_name, defects[row])
            if name not in asked and sources[row] in known
        )
        again = "cut the set anew by --protocol thirds (in a run --data.init_args.protocol)"
        if not seen:
            raise ValueError(
                f"{self.index.path}: none of {len(trained)} training images shows a defect, "
                f"expected some: add images, {again}, by which the first third of each type "
                "trains, or train a stage 1, which learns from good parts too"
            )
        if unseen:
            found = ", ".join(f"{name} ({count})" for name, count in unseen.most_common())
            raise ValueError(
                f"{self.index.path}: val and test show {found}, training never: {again}, or, to "
                f"test new types, give --data.init_args.held_out_types '[{', '.join(unseen)}]'"
            )

    def _taking_part(self, split: str) -> np.ndarray:
        """(rows of the manifest,) bool, whether the row may be in this split."""
        # Per row, whether each of its types is held out.
        shown = [
            [normalise_name(name) in self._held_out_words for name in names]
            for names in self.index.column("defects")
        ]
        if split != "test":
            groups = self.index.column("group")
            closed = {group for group, held in zip(groups, shown, strict=True) if any(held)}
            return np.array([group not in closed for group in groups])
        if self.test_types == "held_out":
            return np.array([any(held) and all(held) for held in shown])
        return np.array([self.test_types == "all" or not any(held) for held in shown])


@dataclass(frozen=True, slots=True)
class FewShots:
    """Which training images are used where few are wanted: some of each type, or a budget for all.

    per_type: images that show each type, good included, of which one may show several; budget:
    images in all, defect types in turn and good ones as they fill up; None for no limit. A smaller
    number is part of a larger one.
    Generated images are not counted and stay, so that K real ones can be compared with and without
    them. Raises ValueError for both, and for numbers below 1.
    """

    per_type: int | None = None
    budget: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        given = [limit for limit in (self.per_type, self.budget) if limit is not None]
        if len(given) > 1 or any(limit < 1 for limit in given):
            raise ValueError(
                f"shots_per_type is {self.per_type} and image_budget {self.budget}: expected one "
                "of them, 1 or more, or neither; leave the other out or raise it"
            )

    def choose(self, index: Manifest, rows: np.ndarray) -> np.ndarray:
        """The rows of `rows` that are used, ascending."""
        if self.per_type is None and self.budget is None:
            return rows
        is_generated = np.array(index.column("is_generated"), dtype=bool)[rows]
        images, defects = index.column("image"), index.column("defects")
        # Tiles of one image rank apart, or all shots could be of one.
        windows = index.column("window_xywh_px")
        names = [
            f"{image} {window}" if window else image
            for image, window in zip(images, windows, strict=True)
        ]
        real = rows[~is_generated].tolist()
        ranked: dict[str, list[int]] = defaultdict(list)
        for row in sorted(real, key=lambda row: _hash_rank(names[row], self.seed)):
            for name in defects[row] or (GOOD,):
                ranked[name].append(row)
        if self.per_type is not None:
            chosen = [row for members in ranked.values() for row in members[: self.per_type]]
        else:
            good = ranked.pop(GOOD, [])
            turns = [
                (turn, name, row)
                for name, members in ranked.items()
                for turn, row in enumerate(members)
            ]
            in_turn = dict.fromkeys(row for _, _, row in sorted(turns))
            chosen = [*in_turn, *good][: self.budget]
        return np.union1d(np.array(chosen, dtype=np.int64), rows[is_generated])
