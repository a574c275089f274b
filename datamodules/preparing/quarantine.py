"""The images that are left out of a manifest, named one by one with the reason."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.preparing.inspection import Inspection
from datamodules.whole_files import whole


@dataclass(frozen=True)
class Refused:
    """A image that is not in the manifest: which, from which source, and why."""

    image: str
    source: str
    reason: str


def refuse_bad(inspections: Sequence[Inspection], path: Path, *, limit: float) -> list[Refused]:
    """The unusable images, named in the quarantine file.

    Raises ValueError where they are more than `limit` of all, and where none is left.
    """
    refused = [
        Refused(_printable(i.record.image), i.record.source, _printable(i.problem))
        for i in inspections
        if i.problem
    ]
    # Written before anything can end the work: whoever must mend images needs all of them named.
    write_quarantine(path, refused, [])
    if len(refused) > limit * len(inspections):
        remedy = "allow more with --max_bad_fraction" if limit else "allow some with --on_bad"
        raise ValueError(
            f"{len(refused)} of {len(inspections)} images are unusable, expected at most "
            f"{limit:.1%}; the first is {refused[0].image} ({refused[0].reason}): "
            f"correct them, or {remedy}"
        )
    if len(refused) == len(inspections):
        raise ValueError(
            f"all {len(refused)} images are unusable, expected some to index; the first is "
            f"{refused[0].image} ({refused[0].reason}): correct them, all are named in "
            f"{path.with_suffix('.quarantine.csv')}"
        )
    return refused


def write_quarantine(manifest: Path, refused: Sequence[Refused], copies: Sequence[Refused]) -> Path:
    """The file beside the manifest that names all left-out images, one a row, with reasons."""
    path = manifest.with_suffix(".quarantine.csv")
    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "source", "kind", "reason"))
        for kind, left_out in (("refused", refused), ("copy", copies)):
            writer.writerows((one.image, one.source, kind, one.reason) for one in left_out)
    return path


def _printable(text: str) -> str:
    """The text, its unprintable characters spelt out: a row stays on one line."""
    return text if text.isprintable() else repr(text)[1:-1]
