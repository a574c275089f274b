"""A source's records -> a verified, captioned, leak-free manifest, with what was left out and why.

Each step is its own file: `inspection_pool.py` opens, `duplicates.py` compares, `leakage.py`
settles, `splits.py` assigns, `manifest.py` keeps.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from datamodules.manifest import Manifest, Source, write_manifest
from datamodules.preparing.duplicates import Duplicates, Pair, find_duplicates
from datamodules.preparing.inspection import Inspection
from datamodules.preparing.inspection_pool import Progress, inspect_all
from datamodules.preparing.inspection_store import InspectionStore
from datamodules.preparing.leakage import (
    MAX_ALIKE_FRACTION,
    Leak,
    find_leaks,
    link_groups,
    settle_copies,
)
from datamodules.preparing.materialise import Changes, copy_all
from datamodules.preparing.quarantine import Refused, refuse_bad, write_quarantine
from datamodules.preparing.tiles import tile_records
from datamodules.sample import Record
from datamodules.splits import assign_splits, check_groups, supervised_thirds

HASHED_SEARCH = "alike images were sought by hashes, which miss about one pair in twenty"
CHOICES = {
    "protocol": ("published", "groups", "thirds"),
    "copies": ("drop", "exact", "keep"),
    "on_bad": ("quarantine", "error"),
}


@dataclass(frozen=True)
class Preparation:
    """What came of a preparation.

    refused: unusable images; copies: alike images that were left out of training; leaks: alike
    images that stayed in different splits; notes: what was found and settled, with counts.
    """

    manifest: Manifest
    refused: list[Refused]
    copies: list[Refused]
    leaks: list[Leak]
    notes: Counter[str]


@dataclass(frozen=True)
class Settled:
    """Records with splits, the copies that were left out, the leaks that were kept, and notes."""

    records: list[Record]
    copies: list[Refused]
    leaks: list[Leak]
    notes: Counter[str]


def prepare(
    source: Source,
    root: str | Path,
    path: str | Path,
    *,
    fractions: tuple[float, float, float] = (0.6, 0.15, 0.25),
    split_seed: int = 0,
    protocol: str = "published",
    copies: str = "drop",
    max_alike_fraction: float = MAX_ALIKE_FRACTION,
    on_bad: str = "quarantine",
    max_bad_fraction: float = 0.05,
    changes: Changes | None = None,
    tiling_px: tuple[int, int] = (0, 0),
    workers: int = 0,
    progress: Progress | None = None,
) -> Preparation:
    """The manifest of a source at `path`, and what was left out on the way.

    fractions: train, val, test; protocol: `published` keeps a set's own split, `groups` cuts
    anew, `thirds` is NOTES 18. copies: what becomes of alike images in different given splits,
    `drop` (turned and recompressed ones too), `exact`, or `keep`; more than max_alike_fraction of
    a split is an error. on_bad: `quarantine` up to
    max_bad_fraction of the images, or `error`. changes: index changed copies, written beside the
    manifest. tiling_px: larger images become tiles of that side and overlap. Raises
    FileNotFoundError, ValueError or OSError.
    """
    path = Path(path)
    _check_choices(protocol=protocol, copies=copies, on_bad=on_bad)
    look = partial(inspect_all, workers=workers, progress=progress)
    inspections, root = look_at_all(
        source, Path(root), path.parent, changes=changes, tiling_px=tiling_px, look=look
    )
    refused = refuse_bad(inspections, path, limit=max_bad_fraction if on_bad != "error" else 0)
    usable = with_protocol(inspections, source, protocol)
    done = settle(
        usable, alike=(copies, max_alike_fraction), fractions=fractions, split_seed=split_seed
    )
    manifest = write_manifest(
        path,
        done.records,
        root=root,
        vocabulary=source.vocabulary(done.records),
        source=source.name,
        leaks=len(done.leaks),
    )
    write_quarantine(path, refused, done.copies)
    notes = done.notes + Counter(note for one in usable for note in one.notes)
    return Preparation(manifest, refused, done.copies, done.leaks, notes)


def look_at_all(
    source: Source,
    root: Path,
    folder: Path,
    *,
    changes: Changes | None,
    tiling_px: tuple[int, int],
    look: Callable[..., list[Inspection]],
) -> tuple[list[Inspection], Path]:
    """The inspections of a source's images, of their copies or tiles where asked; their root."""
    records = read_source(source, root)
    if changes:
        copies = folder / changes.folder_name
        records, root = copy_all(records, root, copies, changes=changes), copies
    store = InspectionStore(folder)
    look = partial(look, root=root, store=store)
    inspections = look(records)
    tile_px, overlap_px = tiling_px
    if tile_px:
        inspections = with_tiles(inspections, look, tile_px=tile_px, overlap_px=overlap_px)
    store.close()
    return inspections, root


def settle(
    inspections: Sequence[Inspection],
    *,
    alike: tuple[str, float],
    fractions: tuple[float, float, float],
    split_seed: int,
) -> Settled:
    """The records with splits that alike images do not cross, and what that took.

    alike: what becomes of copies, and the largest share of them that is taken for copies.
    """
    copies, max_alike_fraction = alike
    found = compare_images(inspections)
    pairs: Sequence[Pair] = [
        pair for pair in found.pairs if copies != "exact" or pair.kind == "exact"
    ]
    records = [inspection.record for inspection in inspections]
    settle_more = partial(
        settle_copies, keep=copies == "keep", max_alike_fraction=max_alike_fraction
    )
    records, pairs, left_out = settle_more(records, pairs)
    records = link_groups(records, pairs, max_alike_fraction)
    train, val, test = fractions
    records = assign_splits(records, train=train, val=val, test=test, seed=split_seed)
    # An unlabelled image has a split of its own from the start, so it was linked to no other.
    records, pairs, more = settle_more(records, pairs)
    check_groups(records)
    notes = Counter({HASHED_SEARCH: int(found.search == "hashed")})
    return Settled(records, left_out + more, find_leaks(records, pairs), +notes)


def read_source(source: Source, root: Path) -> list[Record]:
    """The records of a source; FileNotFoundError or ValueError where there are none or twins."""
    records = source.records(root)
    if not records:
        raise ValueError(
            f"{root} holds no images of source {source.name}: expected its original layout; "
            "check the path"
        )
    windows = Counter((record.image, record.window_xywh_px) for record in records)
    (image, _), count = windows.most_common(1)[0]
    if count > 1:
        raise ValueError(f"image {image} is listed {count} times, expected once: drop the copies")
    return records


def with_tiles(
    inspections: Sequence[Inspection],
    look: Callable[[list[Record]], list[Inspection]],
    *,
    tile_px: int,
    overlap_px: int,
) -> list[Inspection]:
    """The inspections with those of tiles in place of large images."""
    parts = [
        [] if i.problem else tile_records(i.record, tile_px=tile_px, overlap_px=overlap_px)
        for i in inspections
    ]
    tiles = iter(look([tile for tiles in parts if len(tiles) > 1 for tile in tiles]))
    return [
        one
        for inspection, tiles_of_one in zip(inspections, parts, strict=True)
        for one in (islice(tiles, len(tiles_of_one)) if len(tiles_of_one) > 1 else [inspection])
    ]


def with_cause(record: Record, source: Source) -> Record:
    """The record with the usual cause of its dominant defect in the caption, where one is known."""
    cause = source.causes.get(record.defects[0], "") if record.defects else ""
    if not cause or record.caption.cause:
        return record
    return replace(record, caption=replace(record.caption, cause=cause))


def with_protocol(
    inspections: Sequence[Inspection], source: Source, protocol: str
) -> list[Inspection]:
    """The usable inspections with causes, and with the splits that the protocol starts from."""
    inspections = [inspection for inspection in inspections if not inspection.problem]
    records = [with_cause(inspection.record, source) for inspection in inspections]
    if protocol == "groups":
        labelled = ("train", "val", "test")
        records = [replace(r, split="") if r.split in labelled else r for r in records]
    if protocol == "thirds":
        records = supervised_thirds(records)
    return [replace(i, record=r) for i, r in zip(inspections, records, strict=True)]


def compare_images(inspections: Sequence[Inspection]) -> Duplicates:
    """The alike images among usable ones, which all have a fingerprint."""
    seen = [found.fingerprint for found in inspections if found.fingerprint is not None]
    sizes_px = [(found.record.width_px, found.record.height_px) for found in inspections]
    return find_duplicates(
        np.stack([one.thumbnail for one in seen]),
        [one.pixel_sha256 for one in seen],
        sizes_px=np.array(sizes_px),
    )


def _check_choices(**chosen: str) -> None:
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(CHOICES[name])}")
