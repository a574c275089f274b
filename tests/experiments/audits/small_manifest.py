"""A small prepared data set with one known fault of each kind."""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from datamodules.manifest import Manifest, write_manifest
from datamodules.preparing.inspection import inspect
from datamodules.sample import Record
from datamodules.vocabulary import Vocabulary
from tests.datamodules.conftest import TYPES, write_part


def small_manifest(folder: Path, *, count: int = 9, **changes: object) -> Manifest:
    """`count` parts below folder/raw with splits by turns; changes are made to every record."""
    raw = folder / "raw"
    records = [inspect(write_part(raw, number), raw).record for number in range(count)]
    splits = ("train", "val", "test")
    records = [
        replace(record, split=splits[number % 3], **changes)  # type: ignore[arg-type]
        for number, record in enumerate(records)
    ]
    return rewritten(folder / "manifest.parquet", records, raw)


def rewritten(path: Path, records: list[Record], raw: Path) -> Manifest:
    """The manifest at `path` with these records."""
    names = Vocabulary.from_names(TYPES)
    return write_manifest(path, records, root=raw, vocabulary=names, source="parts", leaks=0)


def copy_image(manifest: Manifest, first: int, second: int, *, turn: int = 0) -> None:
    """Write the image of one row over that of another, turned by quarters."""
    image = Image.open(manifest.root / manifest[first].image).rotate(90 * turn, expand=True)
    image.save(manifest.root / manifest[second].image)
