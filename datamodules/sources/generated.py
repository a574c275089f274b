"""Images that `python -m experiments.generate` painted: to train on, never to test on.

root/generated.jsonl     one line per image: image, mask, prompt, caption, defect, ...
root/images/000000.png   with prompt, seed, checkpoint hash and the synthetic mark as PNG text
root/masks/000000.png    0 is good, 255 the defect; only where one was painted into an image
"""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import ClassVar

from datamodules.captions import Caption
from datamodules.formats.layout import absent_layout, join_below
from datamodules.formats.records import HIGHEST_GREY, RecordMaker, grey_values
from datamodules.formats.synthetic_mark import refuse_unmarked
from datamodules.formats.text_files import parse_object, read_text
from datamodules.manifest import Source
from datamodules.sample import Record

TABLE = "generated.jsonl"
HIGHEST_GOOD_GREY = 127
CAPTION_FIELDS = {field.name for field in fields(Caption)}
Row = Mapping[str, object]


class Generated(Source):
    """The images of a folder that experiments.generate wrote, all of them marked as generated.

    All are in the split "train"; one of which the table tells no defect and not that it is good
    is unlabelled. An image whose PNG lacks the synthetic mark, or names another checkpoint than
    the table, has a flaw. Those painted into one image, or drawn of one prompt, are one group.
    """

    name: ClassVar[str] = "generated"
    left_on_purpose = (("grid.png", "overview of the images"),)

    def __init__(self, product: str = "part", material: str = "", *, licence: str = "") -> None:
        self.maker = RecordMaker(self, product, material, licence)

    def records(self, root: Path) -> list[Record]:
        """One Record per line of the table; the heads of the PNG files are read for their marks.

        Raises FileNotFoundError for a missing root or table, ValueError for a table that is none.
        """
        table = root / TABLE
        if not table.is_file():
            raise absent_layout(root, self.about.title, f"{TABLE} and images/")
        records = []
        for number, line in enumerate(read_text(table).splitlines(), start=1):
            place = f"{TABLE} line {number}"
            row = parse_object(line, f"{table} line {number}")
            try:
                record = self._record(row)
                refuse_unmarked(root / record.image, _word_of(row, "checkpoint_sha256"))
            except (ValueError, OSError) as error:
                reason = str(error).split("\n", maxsplit=1)[0]
                record = self.maker.make_flawed(place, f"{place}: {reason}")
            records.append(replace(record, is_generated=True))
        if not records:
            raise ValueError(f"{table} has no line: expected one JSON object per image")
        return records

    def _record(self, row: Row) -> Record:
        """The record of a line; ValueError for a value that is missing or odd."""
        image, prompt = join_below("", _word_of(row, "image")), _word_of(row, "prompt")
        mask = join_below("", _word_of(row, "mask")) if row.get("mask") else ""
        is_labelled = row.get("defect") is not None
        types = _word_of(row, "defect").split(";") if is_labelled else ()
        record = self.maker.make(image, types=types, is_labelled=is_labelled)
        if mask and len(record.defects) != 1:
            raise ValueError(
                f"{image} has a mask and the defect {row.get('defect')!r}: expected one"
            )
        caption = _caption_of(row)
        painted = {"largest_good": HIGHEST_GOOD_GREY, "highest": HIGHEST_GREY}
        return replace(
            record,
            mask=mask,
            mask_values=grey_values(record.defects[0], **painted) if mask else (),
            caption=caption or record.caption,
            released_caption="" if caption else prompt,
            group=f"{self.name}_{_group_of(row)}",
            split=record.split or "train",
        )


def _word_of(row: Row, name: str) -> str:
    """A text of a line; ValueError where it is missing or none."""
    word = row.get(name)
    if not isinstance(word, str) or not word:
        raise ValueError(f"{name} is {word!r}, expected a text")
    return word


def _caption_of(row: Row) -> Caption | None:
    """The fields of a line's caption, None for a prompt in free words; ValueError for others."""
    words = row.get("caption")
    if words is None:
        return None
    if not isinstance(words, dict) or set(words) != CAPTION_FIELDS:
        expected = ", ".join(sorted(CAPTION_FIELDS))
        raise ValueError(f"caption is {words!r}, expected null or {expected}")
    return Caption(**{name: str(word) for name, word in words.items()})


def _group_of(row: Row) -> str:
    """One name for all that was painted into one image, or drawn of one prompt by one model."""
    if row.get("source_sha256"):
        return f"picture_{_word_of(row, 'source_sha256')[:16]}"
    origin = _word_of(row, "checkpoint_sha256") + _word_of(row, "prompt")
    return f"prompt_{hashlib.sha256(origin.encode()).hexdigest()[:16]}"
