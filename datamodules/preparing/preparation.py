"""A source's records -> a verified, captioned, leak-free manifest, with what was left out and why.

Each step is its own file: `copies.py` changes, `inspection.py` opens, `duplicates.py` compares,
`leakage.py` resolves, `splits.py` assigns, `manifest.py` keeps.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from datamodules.file_walk import printable, walk
from datamodules.formats.layout import FileTree
from datamodules.formats.text_files import noting_documents
from datamodules.manifest import Manifest, Source, write_manifest
from datamodules.preparing.copies import Changes, copy_all
from datamodules.preparing.duplicates import Duplicates, find_duplicates
from datamodules.preparing.inspection import Inspection, Progress, inspect_all
from datamodules.preparing.leakage import MAX_ALIKE_FRACTION, LeftOut, resolve_leaks
from datamodules.preparing.leftovers import Leftovers, find_leftovers
from datamodules.preparing.tiles import inspect_tiles
from datamodules.sample import KEY_LETTERS, UNLABELLED, Record
from datamodules.sources.merged import Merged, keys_of
from datamodules.splits import SPLITS, supervised_thirds
from datamodules.vocabulary import Vocabulary, normalise_name
from datamodules.whole_files import write_rows

HASHED_SEARCH = "alike images were sought by hashes, which miss about one pair in twenty"
UNSAID = "unlabelled: nothing says what the image shows"
Protocol = Literal["published", "groups", "thirds"]
Copies = Literal["drop", "exact", "keep"]


@dataclass(frozen=True)
class Preparation:
    """What came of a preparation.

    unusable, copies: the images that were left out, since they are spoilt or would leak; notes:
    what was found and decided, with counts; leftovers: the files that no record names.
    """

    manifest: Manifest
    unusable: list[LeftOut]
    copies: list[LeftOut]
    notes: Counter[str]
    leftovers: Leftovers


def prepare(
    source: Source,
    root: Path,
    path: Path,
    *,
    fractions: tuple[float, float, float] = (0.6, 0.15, 0.25),
    split_seed: int = 0,
    protocol: Protocol = "published",
    copies: Copies = "drop",
    max_alike_fraction: float = MAX_ALIKE_FRACTION,
    max_bad_fraction: float = 0.05,
    max_leftover_fraction: float = 0.05,
    changes: Changes | None = None,
    tiling_px: tuple[int, int] = (0, 0),
    workers: int = 0,
    progress: Progress | None = None,
) -> Preparation:
    """The manifest of a source at `path`, and what was left out on the way.

    fractions: train, val, test; protocol: `published` keeps a set's own split, `groups` cuts
    anew, `thirds` trains on the first third of each type. copies: what becomes of alike images
    (`leakage.py`). max_*_fraction: at most so many. changes: index copies beside the manifest.
    tiling_px: larger images become tiles of that side and overlap. Raises ValueError or OSError.
    """
    records, leftovers = read_source(source, root, output=path.parent)
    # Why a record is unusable says more of its image than that no record names it.
    leftovers.keep(path, 1 if any(one.flaw for one in records) else max_leftover_fraction)
    if changes:
        folder = path.parent / changes.folder_name
        records, root = copy_all(records, root, folder, changes=changes), folder
    look = partial(inspect_all, root=root, kept_in=path.parent, workers=workers, progress=progress)
    inspections = inspect_tiles(records, root, *tiling_px, look=look)
    unusable = leave_out_bad(inspections, path, max_bad_fraction)
    leftovers.keep(path, max_leftover_fraction)
    usable = with_protocol(inspections, source, protocol)
    found = compare_images(usable)
    records, left_out, leaks = resolve_leaks(
        [one.record for one in usable],
        found.pairs,
        copies=copies,
        max_alike_fraction=max_alike_fraction,
        fractions=fractions,
        split_seed=split_seed,
    )
    vocabulary, notes = source.vocabulary(records), count_notes(source, usable, found, records)
    manifest = write_manifest(
        path, records, root=root, vocabulary=vocabulary, source=source.name, leaks=len(leaks)
    )
    write_quarantine(path, unusable, left_out)
    return Preparation(manifest, unusable, left_out, notes, leftovers)


def add_corrections(
    old: Manifest, corrected: Manifest, folder: Path, words: str = ""
) -> tuple[Manifest, list[LeftOut]]:
    """A manifest, in `folder`, of the old images and of the corrected ones, and what was left out.

    The old ones keep their splits and the corrected ones train: in place of old training images
    of the same file, and not where they are alike to an old image of val or test, which stays as it
    is. Old names stay as they are, before new ones; words: typed ones for them. The file's name is
    made of both hashes. Raises ValueError for an image that can't be read any more.
    """
    paths = [str(one.path.resolve()) for one in (old, corrected)]
    root = Path(os.path.commonpath([old.root.resolve(), corrected.root.resolve()]))
    source = Merged(paths, corrects=True)
    path = folder / f"corrected-{old.sha256[:8]}-{corrected.sha256[:8]}.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    records, tested = without_tested(source.records(root), old)
    inspections = inspect_all(records, root=root, kept_in=folder)
    leave_out_bad(inspections, path, 0)
    records, left_out, leaks = resolve_leaks(
        [one.record for one in inspections],
        compare_images(inspections).pairs,
        copies="drop",
        max_alike_fraction=1,
        fractions=(1, 0, 0),
        split_seed=0,
    )
    left_out = [*tested, *left_out]
    write_quarantine(path, [], left_out)
    known = old.vocabulary
    for entry in Vocabulary.parse(words).entries[1:] if words else ():
        if not known.words.isdisjoint(entry):
            known = known.with_words(", ".join(entry))
    vocabulary = with_words_of(corrected, records, known)
    made = write_manifest(
        path, records, root=root, vocabulary=vocabulary, source=source.name, leaks=len(leaks)
    )
    return made, left_out


def without_tested(records: Sequence[Record], old: Manifest) -> tuple[list[Record], list[LeftOut]]:
    """The records without corrections of files that the old manifest validates or tests on.

    Of tiles of them too, which no comparison of whole images would find.
    """
    held = {
        old[row].sha256[:KEY_LETTERS]: split
        for split in ("val", "test")
        for row in old.rows_of(split).tolist()
    }
    trained = {old[row].sha256 for row in old.rows_of("train").tolist()}
    kept, left_out = [], []
    for one in records:
        known = keys_of(one) & held.keys() if one.split == "train" else set()
        if known and one.sha256 not in trained:
            reason = f"is of the same file as an image of {held[min(known)]}"
            left_out.append(LeftOut(one.image, one.source, reason))
        else:
            kept.append(one)
    return kept, left_out


def with_words_of(corrected: Manifest, records: Sequence[Record], old: Vocabulary) -> Vocabulary:
    """The old names, with words for them that the records have, and then names that are new."""
    used = {normalise_name(name) for record in records for name in names_of(record)}
    entries = list(old.entries)
    for words in corrected.vocabulary.entries[1:]:
        new = tuple(word for word in words if word in used - old.words)
        known = [place for place, entry in enumerate(entries) if set(entry) & set(words)]
        if known:
            entries[known[0]] += new
        elif new:
            entries.append(new)
    return Vocabulary(tuple(entries))


def names_of(record: Record) -> set[str]:
    """Every name of a type in a record."""
    marked = {one.name for one in record.regions} | {one.name for one in record.mask_values}
    return {*record.defects, *marked}


def read_source(source: Source, root: Path, *, output: Path) -> tuple[list[Record], Leftovers]:
    """The records of a source, files as the disk spells them, and what they leave of its files.

    Raises ValueError for no records, an image listed twice, a split that is none, or a
    group_pattern that is in no path.
    """
    with noting_documents() as read:
        records = source.records(root)
    found = walk(root)
    find = FileTree(found.files).find
    files = [(find(one.image) or one.image, find(one.mask) or one.mask) for one in records]
    # Of a file that two names lead to, the name that is no link stays.
    images = {image for image, _ in files}
    records = [
        replace(record, image=image, mask=mask)
        for record, (image, mask) in zip(records, files, strict=True)
        if found.own_places.get(image) not in images
    ]
    if not records:
        raise ValueError(
            f"{root} holds no images of source {source.name}: expected its original layout; "
            "check the path"
        )
    windows = Counter((record.image, record.window_xywh_px) for record in records)
    (image, _), count = windows.most_common(1)[0]
    if count > 1:
        raise ValueError(f"image {image} is listed {count} times, expected once: drop the copies")
    if not any(re.search(source.group_pattern, record.image) for record in records):
        raise ValueError(
            f"group_pattern {source.group_pattern!r} is in none of {len(records)} paths, the first "
            f"is {printable(records[0].image)}: expected it in paths below the root; correct it"
        )
    for record in records:
        if record.split not in ("", *SPLITS, UNLABELLED):
            raise ValueError(
                f"image {record.image} is in the split {record.split!r}, expected train, val, "
                "test or unlabelled: correct it"
            )
    return records, find_leftovers(source, root, found, records, read=read, output=output)


def leave_out_bad(inspections: Sequence[Inspection], path: Path, limit: float) -> list[LeftOut]:
    """The unusable images, named in the quarantine file.

    Raises ValueError where they are more than `limit` of all, and where none is left.
    """
    unusable = [
        LeftOut(printable(one.record.image), one.record.source, printable(one.problem))
        for one in inspections
        if one.problem
    ]
    # Written before anything can end the work: whoever must mend images needs all of them named.
    quarantine = write_quarantine(path, unusable, [])
    if len(unusable) > limit * len(inspections) or len(unusable) == len(inspections):
        remedy = "allow more with --max_bad_fraction" if limit else "allow some with --on_bad"
        raise ValueError(
            f"{len(unusable)} of {len(inspections)} images are unusable, expected at most "
            f"{limit:.1%} and some to index; the first is {unusable[0].image} "
            f"({unusable[0].reason}): correct them, all are named in {quarantine}, or {remedy}"
        )
    return unusable


def write_quarantine(
    manifest: Path, unusable: Sequence[LeftOut], copies: Sequence[LeftOut]
) -> Path:
    """The file beside the manifest that names all left-out images, one a row, with reasons."""
    rows = [
        (one.image, one.source, kind, one.reason)
        for kind, left_out in (("refused", unusable), ("copy", copies))
        for one in left_out
    ]
    header = ("image", "source", "kind", "reason")
    return write_rows(manifest.with_suffix(".quarantine.csv"), header, rows)


def with_protocol(
    inspections: Sequence[Inspection], source: Source, protocol: str
) -> list[Inspection]:
    """The usable inspections with causes, and with the splits that the protocol starts from."""
    usable = [one for one in inspections if not one.problem]
    records = [one.record for one in usable]
    for place, record in enumerate(records):
        usual = source.causes.get(record.defects[0], "") if record.defects else ""
        caption = replace(record.caption, cause=record.caption.cause or usual)
        is_cut_anew = protocol == "groups" and record.split != UNLABELLED
        split = "" if is_cut_anew else record.split
        records[place] = replace(record, caption=caption, split=split)
    if protocol == "thirds":
        records = supervised_thirds(records)
    return [replace(one, record=record) for one, record in zip(usable, records, strict=True)]


def compare_images(inspections: Sequence[Inspection]) -> Duplicates:
    """The alike images among usable ones, which all have a fingerprint."""
    seen = [found.fingerprint for found in inspections if found.fingerprint is not None]
    sizes_px = [(found.record.width_px, found.record.height_px) for found in inspections]
    return find_duplicates(
        np.stack([one.thumbnail for one in seen]),
        [one.pixel_sha256 for one in seen],
        np.array(sizes_px, dtype=float),
    )


def note_negatives(inspections: Sequence[Inspection]) -> Counter[str]:
    """A note on masks that mark nearly all of an image, with their number; none without any.

    Nearly all is less where most other masks mark little: then they are perhaps the negative.
    """
    shares: dict[str, list[float]] = defaultdict(list)
    for one in inspections:
        shares[one.record.mask or one.record.image].append(one.marked_share)
    means = {name: float(np.mean(of_tiles)) for name, of_tiles in shares.items() if any(of_tiles)}
    if not means:
        return Counter()
    limit = 0.75 if np.median(list(means.values())) < 0.25 else 0.9
    marked = [name for name, mean in means.items() if mean > limit]
    note = f"more than {limit:.0%} of an image is marked, is its mask a negative? the first is "
    return Counter({note + printable(marked[0]): len(marked)} if marked else {})


def note_untested(records: Sequence[Record]) -> Counter[str]:
    """A note on each type that trains and is never tested, with its number of training images.

    None on types of sources that are not tested at all: `leave_out` asks for that.
    """
    tested = [record for record in records if record.split == "test"]
    sources = {record.source for record in tested}
    known = {name for record in tested for name in record.defects}
    return Counter(
        f"{name!r} is trained on and never tested: add groups of images that show it"
        for record in records
        if record.split == "train" and record.source in sources
        for name in record.defects
        if name not in known
    )


def count_notes(
    source: Source,
    inspections: Sequence[Inspection],
    found: Duplicates,
    records: Sequence[Record],
) -> Counter[str]:
    """How often each thing was found and decided; records: those of the manifest."""
    notes = Counter(note for one in inspections for note in one.notes)
    notes += source.names.notes() if hasattr(source, "names") else Counter()
    pattern = source.group_pattern
    ungrouped = sum(not re.search(pattern, one.record.image) for one in inspections)
    notes[f"group_pattern {pattern!r} is not in an image's path"] = ungrouped
    notes[UNSAID] = sum(one.record.split == UNLABELLED for one in inspections)
    notes += Counter({HASHED_SEARCH: int(found.search == "hashed")})
    return notes + note_negatives(inspections) + note_untested(records)
