"""Records completed by what their files tell, or refused with a reason; what was seen is kept.

All sources are completed here alike: size and hash of the file, the defects that the mask shows,
the caption's words of place and shape. Finished inspections lie in one SQLite file, found again by
the record and the state of its files: a killed run goes on where it was, a second one is short.
"""

import dataclasses
import hashlib
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from datamodules.annotation import open_pair
from datamodules.decode import read_header, sha256_of
from datamodules.formats.synthetic_mark import SYNTHETIC_KEY, YES, read_text
from datamodules.language.descriptors import location_of, morphology_of
from datamodules.manifest import record_of
from datamodules.preparing.fingerprints import THUMBNAIL_PX, Fingerprint, fingerprint
from datamodules.preparing.frames import in_shown_frame
from datamodules.sample import GOOD, GOOD_ID, Record
from datamodules.vocabulary import Vocabulary

BLANK_MASK = "blank mask in a defective image: kept without a mask"
TURNED = "turned by EXIF: image and annotation are taken as a viewer shows them"
PAGES = "of several pages or frames: only the first is read"
FILE_ERRORS = (OSError, ValueError, cv2.error)
STORE_NAME = ".inspections.db"
# Raised whenever an inspection comes to see other things in the same file.
RULES_VERSION = 8
TABLE = f"inspections_{RULES_VERSION}"
CHUNK = 64
# Below this many images, starting processes takes longer than they save.
THREADS_SUFFICE = 4_000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What came of looking at one record.

    record: completed, or as it was where `problem` says why it is refused; notes: what was
    found and decided; fingerprint: None for a refused one; marked_share: of the image's pixels,
    those that a mask or outline calls defective.
    """

    record: Record
    problem: str = ""
    notes: tuple[str, ...] = ()
    fingerprint: Fingerprint | None = None
    marked_share: float = 0.0


def inspect_all(
    records: Sequence[Record],
    root: Path,
    *,
    kept_in: Path,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[Inspection]:
    """The inspections of all records in their order; those kept in a folder are not done again.

    workers: 0 takes one per core. Each finished chunk is kept at once. Raises OSError where they
    cannot be kept or a process was killed.
    """
    keys = [_key_of(record, root) for record in records]
    with _store(kept_in) as store:
        done = {row: seen for row, key in enumerate(keys) if (seen := _find(store, key))}
        left = [row for row in range(len(records)) if row not in done]
        chunks = [left[start : start + CHUNK] for start in range(0, len(left), CHUNK)]
        with _pool(len(left), workers or os.cpu_count() or 1) as pool:
            work = partial(_inspect_chunk, root=root)
            # Ctrl-C reaches the processes that this starts, too, and is not for them.
            heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            results = pool.map(work, [[records[row] for row in chunk] for chunk in chunks])
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
            try:
                for chunk, inspections in zip(chunks, results, strict=True):
                    done.update(zip(chunk, inspections, strict=True))
                    with store:
                        rows = [_row_of(keys[row], done[row]) for row in chunk]
                        store.executemany(f"insert or replace into {TABLE} values (?, ?, ?)", rows)
                    if progress is not None:
                        progress(len(done), len(records))
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(
                    f"{len(done)} of {len(records)} images are inspected and kept, the same "
                    "command goes on from there"
                ) from stop
    return [done[row] for row in range(len(records))]


def inspect(record: Record, root: Path) -> Inspection:
    """The record with everything that its files tell; no error for a bad file, but a problem."""
    if record.flaw:
        return Inspection(record, problem=record.flaw)
    try:
        path = root / record.image
        check_names(root, record)
        vocabulary, header = local_vocabulary(record), read_header(path)
        record = in_shown_frame(record, root, header=header, vocabulary=vocabulary)
        image, ids = open_pair(record, root, vocabulary=vocabulary)
        check_size(record, image.shape)
        is_marked = path.suffix.lower() == ".png" and read_text(path).get(SYNTHETIC_KEY) == YES
        if is_marked and not record.is_generated:
            raise ValueError(
                f"image {record.image} carries the mark of a generated one, but is listed as real: "
                "prepare its folder with --source generated"
            )
        height_px, width_px = image.shape[:2]
        record = replace(
            record,
            width_px=width_px,
            height_px=height_px,
            sha256=_sha256_of(path, path.stat().st_mtime_ns),
        )
        record, notes = describe(record, ids, vocabulary=vocabulary)
        if header.orientation != 1:
            notes = (*notes, TURNED)
        if header.page_count > 1:
            notes = (*notes, PAGES)
        seen = fingerprint(image)
        is_drawn = ids is not None and record.mask_kind == "pixel"
        marked_share = float(np.mean(np.asarray(ids) > 0)) if is_drawn else 0.0
    except FILE_ERRORS as error:
        return Inspection(record, problem=reason_of(error))
    return Inspection(record, notes=notes, fingerprint=seen, marked_share=marked_share)


@lru_cache
def _sha256_of(path: Path, _: int) -> str:
    """The hash of a file at a time: of a large image's, once for all its tiles."""
    return sha256_of(path)


def reason_of(error: Exception) -> str:
    """Why an image is refused, in one line; of an error of the system without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename} cannot be opened ({error.strerror}): check the file and its name"
    return str(error).split("\n", maxsplit=1)[0]


def check_names(root: Path, record: Record) -> None:
    """ValueError for unprintable names and words, links, and ways out of the root."""
    for name in (record.image, record.mask):
        if not name.isprintable():
            raise ValueError(f"{name!r} is a name with unprintable characters: rename the file")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"path {name!r} leads out of the data root: expected one below it")
        if name and (root / name).is_symlink():
            raise ValueError(
                f"{root / name} is a symbolic link: copy the file that it leads to, or link its "
                "folder"
            )
    for word in record.defects:
        if not word.isprintable():
            raise ValueError(f"type {word!r} has unprintable characters: write it in letters")


def check_size(record: Record, shape: tuple[int, ...]) -> None:
    """ValueError where the annotation tells of another size than the image's shape (H, W, ...)."""
    annotated = f"{record.width_px} x {record.height_px} px"
    stored = f"{shape[1]} x {shape[0]} px"
    if (record.width_px or record.height_px) and annotated != stored:
        raise ValueError(
            f"image {record.image} is {stored}, but was annotated at {annotated}, expected one "
            "size: annotate the image that is there"
        )


def describe(
    record: Record, ids: np.ndarray | None, *, vocabulary: Vocabulary
) -> tuple[Record, tuple[str, ...]]:
    """The record with defects and caption by its mask (H, W) of ids, and notes on what was odd.

    Types that only the mask tells are named too, the largest first.
    """
    if ids is None or not (record.mask or record.regions):
        return record, ()
    areas_px = np.bincount(ids.ravel(), minlength=len(vocabulary))
    largest_first = np.argsort(-areas_px, kind="stable")
    shown = [vocabulary.names[k] for k in largest_first if areas_px[k] and k != GOOD_ID]
    if not shown and record.defects:
        return replace(record, mask="", mask_values=(), regions=()), (BLANK_MASK,)
    named = [name for name in record.defects if name in shown]
    hidden = [name for name in record.defects if name not in shown]
    defects = (*named, *(name for name in shown if name not in named), *hidden)
    notes = tuple(f"{name} is named but not drawn" for name in hidden)
    caption = record.caption
    if defects:
        # The outline of a box says nothing of the defect's own shape.
        drawn = "" if record.mask_kind == "box" else morphology_of(ids)
        caption = replace(
            caption,
            defect=caption.defect or " and ".join(defects),
            location=caption.location or location_of(ids),
            morphology=caption.morphology or drawn,
        )
    return replace(record, defects=defects, caption=caption), notes


def local_vocabulary(record: Record) -> Vocabulary:
    """The names that the record's own annotation uses."""
    used = {value.name for value in record.mask_values} | {item.name for item in record.regions}
    return Vocabulary.from_names(sorted(used - {GOOD}) or ["defect"])


def _inspect_chunk(records: Sequence[Record], root: Path) -> list[Inspection]:
    cv2.setNumThreads(1)
    return [inspect(record, root) for record in records]


@contextmanager
def _pool(count: int, workers: int) -> Iterator[Executor]:
    """Threads or processes; what has not begun when something else fails is not begun."""
    pool: Executor = ThreadPoolExecutor(workers)
    if workers > 1 and count >= THREADS_SUFFICE:
        # A fork would copy locks that other threads of this process hold.
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _store(folder: Path) -> Iterator[sqlite3.Connection]:
    """The open store of a folder; what goes wrong with it or with the workers is one OSError."""
    path = folder / STORE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=60)) as store:
            columns = "key blob primary key, content text not null, thumbnail blob"
            store.execute(f"create table if not exists {TABLE} ({columns}) without rowid")
            yield store
    except sqlite3.Error as error:
        raise OSError(
            f"cannot use {path} ({error}), which only holds finished work: make room or remove "
            "it, and run the same command again"
        ) from error
    except BrokenProcessPool as error:
        raise OSError(
            "a process that inspects images was killed, perhaps for lack of memory: run the same "
            "command again with fewer --workers, finished images are kept"
        ) from error


def _key_of(record: Record, root: Path) -> bytes:
    """What an inspection depends on: the record, and place, size and time of its files."""
    states: list[list[int]] = []
    for name in filter(None, (record.image, record.mask)):
        try:
            state = os.stat(root / name)
        except (OSError, ValueError):  # a name that no file can have: inspection says so
            continue
        states.append([state.st_size, state.st_mtime_ns])
    content = json.dumps([str(root.resolve()), dataclasses.asdict(record), states])
    return hashlib.sha256(content.encode()).digest()


def _row_of(key: bytes, inspection: Inspection) -> tuple[bytes, str, bytes | None]:
    seen = inspection.fingerprint
    pixel_sha256 = seen.pixel_sha256 if seen else ""
    content = [
        dataclasses.asdict(inspection.record),
        inspection.problem,
        inspection.notes,
        pixel_sha256,
        inspection.marked_share,
    ]
    return key, json.dumps(content), seen.thumbnail.tobytes() if seen else None


def _find(store: sqlite3.Connection, key: bytes) -> Inspection | None:
    query = f"select content, thumbnail from {TABLE} where key = ?"
    found = store.execute(query, (key,)).fetchone()
    if found is None:
        return None
    record, problem, notes, pixel_sha256, marked_share = json.loads(found[0])
    seen = None
    if found[1] is not None:
        thumbnail = np.frombuffer(found[1], np.uint8).reshape(THUMBNAIL_PX, THUMBNAIL_PX)
        seen = Fingerprint(pixel_sha256, thumbnail)
    return Inspection(record_of(record), problem, tuple(notes), seen, marked_share)
