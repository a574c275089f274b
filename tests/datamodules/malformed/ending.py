"""How the preparation of a damaged data set ends: what a user reads, keeps and finds changed."""

import csv
import hashlib
import importlib
import re
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from datamodules.manifest import Manifest, Source
from datamodules.preparing.copies import Changes, read_redactions
from datamodules.preparing.preparation import prepare
from tests.datamodules.malformed.damage import PIXELS, Case, picture

REDACTIONS = "redactions.csv"
# Words of a fault of ours, not of the data's.
OUR_FAULTS = re.compile(
    r"Traceback|NoneType|object at 0x|Error\(|<class|unexpected keyword|\[Errno|to unpack|embedded"
)


@dataclass(frozen=True)
class Ending:
    """What came of a preparation.

    lines: why the set is refused, or why which pictures are; kept: the pictures of the manifest,
    None where the set is refused; changed: files outside the output that are not as they were;
    warned: what libraries said past us.
    """

    lines: list[str]
    kept: frozenset[str] | None
    changed: list[str]
    warned: list[str]


def build(name: str) -> Source:
    """The source of a name, with the settings of its fake layout."""
    class_name = "".join(part.capitalize() for part in name.split("_"))
    source = getattr(importlib.import_module(f"datamodules.sources.{name}"), class_name)
    return source(**getattr(layout_of(name), "SETTINGS", {}))


def layout_of(name: str) -> object:
    """The module that writes the fake layout of a source."""
    return importlib.import_module(f"tests.datamodules.sources.layouts.{name}")


def write_healthy(name: str, root: Path) -> None:
    """The fake layout of a source, as it should be."""
    root.mkdir(parents=True)
    layout_of(name).write(root)  # type: ignore[attr-defined]


@cache
def healthy_pictures(name: str) -> frozenset[str]:
    """The pictures of a source's fake layout."""
    with TemporaryDirectory() as folder:
        write_healthy(name, Path(folder) / "raw")
        records = build(name).records(Path(folder) / "raw")
        return frozenset(bare(record.image) for record in records)


def bare(image: str) -> str:
    """The name of an image without ".png", which copies of other kinds get behind their own."""
    return image.removesuffix(".png")


def bring_to_an_end(case: Case, folder: Path, changes: Changes | None = None) -> Ending:
    """The ending of a case, worked out below an empty folder."""
    root, manifest = folder / "raw", folder / "out" / "manifest.parquet"
    write_healthy(case.source, root)
    (folder / "outside.png").write_bytes(picture("PNG", PIXELS))
    case.damage.act(root)
    before = files_of(folder)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        lines = _lines_of(case.source, root, manifest, changes=changes)
    after = files_of(folder)
    changed = [path for path in {*before, *after} if before.get(path) != after.get(path)]
    images = Manifest.open(manifest).column("image") if manifest.exists() else None
    kept = None if images is None else frozenset(map(bare, images))
    # Shown to developers alone: those two are no concern of a user's.
    quiet = (DeprecationWarning, ResourceWarning)
    warned = [str(one.message) for one in heard if not issubclass(one.category, quiet)]
    return Ending(lines, kept, changed, warned)


def files_of(folder: Path) -> dict[str, str]:
    """Every file but our own with its hash; links by where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        # The output, wafers drawn on purpose, and the maps of manifests.
        if {"out", "wafer_maps"} & set(path.relative_to(folder).parts[:2]):
            continue
        if path.is_symlink():
            found[str(path)] = f"link to {path.readlink()}"
        elif path.is_file() and path.suffix != ".arrow":
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def quarantined(manifest: Path) -> list[dict[str, str]]:
    """The refused pictures that the file beside a manifest names."""
    with manifest.with_suffix(".quarantine.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == "refused"]


def _lines_of(source: str, root: Path, manifest: Path, *, changes: Changes | None) -> list[str]:
    table = root / REDACTIONS
    try:
        redacted = Changes(redactions=read_redactions(str(table) if table.exists() else ""))
        prepare(
            build(source),
            root,
            manifest,
            max_bad_fraction=1.0,
            copies="keep",
            workers=1,
            changes=changes or redacted,
        )
    except (ValueError, OSError) as error:
        return [str(error)]
    return [f"{row['image']}: {row['reason']}" for row in quarantined(manifest)]
