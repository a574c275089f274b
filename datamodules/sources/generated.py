"""Pictures that `python -m experiments.generate` painted: to train on, never to test on.

root/generated.jsonl     one line per picture: image, mask, prompt, caption, defect, ...
root/images/000000.png   with prompt, seed, checkpoint hash and the synthetic mark as PNG text
root/masks/000000.png    0 is good, 255 the defect; only where one was painted into a picture
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.formats.listing import absent_layout, is_below_root
from datamodules.formats.record_maker import RecordMaker
from datamodules.formats.synthetic_mark import refuse_unmarked
from datamodules.formats.text_files import read_text
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record

TABLE = "generated.jsonl"
HIGHEST_GOOD_GREY, HIGHEST_GREY = 127, 65535
Row = Mapping[str, object]


class Generated(Source):
    """The pictures of a folder that experiments.generate wrote, all of them marked as generated.

    All are in the split "train"; one of which the table tells no defect and not that it is good
    is unlabelled. A picture whose PNG lacks the synthetic mark, or names another checkpoint than
    the table, has a flaw. Those painted into one picture, or drawn of one prompt, are one group.
    """

    name: ClassVar[str] = "generated"
    about: ClassVar[About] = About(
        title="Generated pictures",
        licence="no licence of their own; that of the generator's training data may bind",
        licence_url="",
        citation="",
        homepage="",
        instructions=(
            "nothing to fetch: python -m experiments.generate --checkpoint RUN --out RAW writes it"
        ),
    )

    def __init__(self, product: str = "part", material: str = "", *, licence: str = "") -> None:
        licence = licence or self.about.licence
        self.maker = RecordMaker(self.name, product, material, licence, group_pattern="")

    def records(self, root: Path) -> list[Record]:
        """One Record per line of the table; the heads of the PNG files are read for their marks.

        Raises FileNotFoundError for a missing root or table, ValueError for a table that is none.
        """
        root = Path(root)
        if not (root / TABLE).is_file():
            raise absent_layout(root, title=self.about.title, expected=f"{TABLE} and images/")
        records = [self._record(place, row, root) for place, row in read_rows(root / TABLE)]
        if not records:
            raise ValueError(f"{root / TABLE} has no line: expected one JSON object per picture")
        return records

    def _record(self, place: str, row: Row, root: Path) -> Record:
        try:
            record = self._told(row)
            refuse_unmarked(root / record.image, word_of(row, "checkpoint_sha256"))
        except (ValueError, OSError) as error:
            flaw = str(error).split("\n", maxsplit=1)[0]
            return replace(self.maker.make_flawed(place, f"{place}: {flaw}"), is_generated=True)
        return record

    def _told(self, row: Row) -> Record:
        """The record that a line tells of; ValueError for a value that is missing or odd."""
        image, prompt = path_of(row, "image"), word_of(row, "prompt")
        mask = path_of(row, "mask") if row.get("mask") else ""
        types = types_of(row)
        record = self.maker.make(image, types=types or (), is_labelled=types is not None)
        if mask and len(record.defects) != 1:
            raise ValueError(
                f"{image} has a mask and the defect {row.get('defect')!r}: expected one"
            )
        caption = caption_of(row)
        return replace(
            record,
            mask=mask,
            mask_values=mask_values(record.defects[0]) if mask else (),
            caption=caption or record.caption,
            released_caption="" if caption else prompt,
            group=f"{self.name}_{group_of(row)}",
            split=record.split or "train",
            is_generated=True,
        )


def read_rows(table: Path) -> Iterator[tuple[str, Row]]:
    """Where each line of the table stands, and its object; ValueError for a line that is none."""
    for number, line in enumerate(read_text(table).splitlines(), start=1):
        place = f"{table.name} line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f"{table} line {number} is no readable JSON: it is truncated or edited; expected "
                "one object per picture, as experiments.generate wrote it"
            ) from error
        if not isinstance(row, dict):
            raise ValueError(f"{table} line {number} is no object: expected {{...}} per picture")
        yield place, row


def word_of(row: Row, name: str) -> str:
    """A text of a line; ValueError where it is missing or none."""
    word = row.get(name)
    if not isinstance(word, str) or not word:
        raise ValueError(f"{name} is {word!r}, expected a text")
    return word


def path_of(row: Row, name: str) -> str:
    """A path of a line; ValueError for one that leads out of the data root."""
    path = word_of(row, name)
    if not is_below_root(path):
        raise ValueError(f"{name} is {path!r}, expected a path below the data root")
    return path


def types_of(row: Row) -> tuple[str, ...] | None:
    """The types of a line, parted by ";", None where nobody said any; ValueError for no text."""
    return None if row.get("defect") is None else tuple(word_of(row, "defect").split(";"))


def caption_of(row: Row) -> Caption | None:
    """The fields of a line's caption, None for a prompt in free words; ValueError for others."""
    told = row.get("caption")
    if told is None:
        return None
    names = {field.name for field in fields(Caption)}
    if not isinstance(told, dict) or set(told) != names:
        raise ValueError(f"caption is {told!r}, expected null or {', '.join(sorted(names))}")
    return Caption(**{name: str(word) for name, word in told.items()})


def mask_values(defect: str) -> tuple[MaskValues, ...]:
    """What the greys of a mask of one defect mean."""
    good = MaskValues(0, HIGHEST_GOOD_GREY, GOOD)
    return good, MaskValues(HIGHEST_GOOD_GREY + 1, HIGHEST_GREY, defect)


def group_of(row: Row) -> str:
    """One name for all that was painted into one picture, or drawn of one prompt by one model."""
    if row.get("source_sha256"):
        return f"picture_{word_of(row, 'source_sha256')[:16]}"
    origin = word_of(row, "checkpoint_sha256") + word_of(row, "prompt")
    return f"prompt_{hashlib.sha256(origin.encode()).hexdigest()[:16]}"
