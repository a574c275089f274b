"""Finished inspections on disk: a killed preparation goes on where it was, a second one is short.

One SQLite file; an inspection is found again by its record and the state of its files.
"""

import dataclasses
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from datamodules.manifest import record_of
from datamodules.preparing.fingerprints import Fingerprint
from datamodules.preparing.inspection import Inspection
from datamodules.sample import Record

FILE_NAME = ".inspections.db"
# Raised whenever `inspection.py` comes to see other things in the same file.
RULES_VERSION = 4
_TABLE = """
create table if not exists inspections (
    key blob primary key, record text not null, problem text not null, notes text not null,
    pixel_sha256 text, thumbnail blob, side integer
) without rowid
"""


class InspectionStore:
    """Inspections by key; every `save` is complete on disk when it returns.

    Raises OSError, one line, where the file cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE_NAME
        try:
            self._database = sqlite3.connect(self.path, timeout=60)
            self._database.execute(_TABLE)
        except sqlite3.Error as error:
            raise OSError(
                f"cannot use {self.path} ({error}): it only holds finished work; remove it"
            ) from error

    def find(self, key: bytes) -> Inspection | None:
        """The inspection kept under a key."""
        row = self._database.execute(
            "select record, problem, notes, pixel_sha256, thumbnail, side from inspections "
            "where key = ?",
            (key,),
        ).fetchone()
        if row is None:
            return None
        record, problem, notes, pixel_sha256, thumbnail, side = row
        seen = None
        if thumbnail is not None:
            pixels = np.frombuffer(thumbnail, dtype=np.uint8).reshape(side, side)
            seen = Fingerprint(pixel_sha256, pixels)
        return Inspection(record_of(json.loads(record)), problem, tuple(json.loads(notes)), seen)

    def save(self, inspections: Iterable[tuple[bytes, Inspection]]) -> None:
        """Keep inspections; OSError where the disk is full or the file is locked for a minute."""
        rows = [(key, *_columns_of(inspection)) for key, inspection in inspections]
        try:
            with self._database:
                self._database.executemany(
                    "insert or replace into inspections values (?, ?, ?, ?, ?, ?, ?)", rows
                )
        except sqlite3.Error as error:
            raise OSError(
                f"cannot write {self.path} ({error}): make room and run the same command again, "
                "finished images are kept"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def key_of(record: Record, root: Path) -> bytes:
    """What an inspection depends on: the record, its files' size and time, and the rules."""
    states = [_state(root / name) for name in (record.image, record.mask) if name]
    content = json.dumps([RULES_VERSION, dataclasses.asdict(record), states])
    return hashlib.sha256(content.encode()).digest()


def _state(path: Path) -> list[int]:
    try:
        state = os.stat(path)
    except (OSError, ValueError):  # a name that no file can have: inspection says so
        return []
    return [state.st_size, state.st_mtime_ns]


def _columns_of(inspection: Inspection) -> tuple[object, ...]:
    seen = inspection.fingerprint
    return (
        json.dumps(dataclasses.asdict(inspection.record)),
        inspection.problem,
        json.dumps(inspection.notes),
        None if seen is None else seen.pixel_sha256,
        None if seen is None else seen.thumbnail.tobytes(),
        None if seen is None else seen.thumbnail.shape[0],
    )
