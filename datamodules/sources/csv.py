"""Anyone's own images in any folders, described by a table.

root/records.csv   image, and any of mask, type, caption, product, material, group, split, licence,
                   left, top, width, height; paths are relative to the root
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os.path import normpath
from pathlib import Path
from typing import ClassVar

from datamodules.formats.layout import SPLIT_WORDS, FileTree, join_below, scan_tree
from datamodules.formats.records import HIGHEST_GREY, UNNAMED_DEFECT, RecordMaker
from datamodules.formats.tables import TableImage, read_table
from datamodules.manifest import Source
from datamodules.masks import (
    MARKED_GOOD,
    MaskSurvey,
    open_mask_values,
    survey_masks,
    values_in,
)
from datamodules.sample import GOOD, UNLABELLED, MaskValues, Record
from datamodules.vocabulary import defect_name

LAYOUT = "expected records.csv with the column image, and the images that it names"


class Csv(Source):
    """One row per image; more rows of an image add boxes (pixels) or types.

    type: several parted by ";", "good" for a good part; an image without type, mask and box is
    unlabelled. A mask is of the image's one type, without type "defect", or good where it marks
    nothing: dark is good, bright the defect (`masks.py`), or greys above largest_good_grey are.
    mask_ids: type -> grey value or palette index, where masks show several types. caption is
    kept verbatim. group: images that must not part. frame: see
    `formats/records.py`.
    """

    name: ClassVar[str] = "csv"
    unclaimed = "image that no row names"

    def __init__(
        self,
        table: str = "records.csv",
        largest_good_grey: int | None = None,
        mask_ids: Mapping[str, int] | None = None,
        product: str = "part",
        material: str = "",
        licence: str = "",
        group_pattern: str = "",
        frame: str = "",
    ) -> None:
        for what, grey in {"largest_good_grey": largest_good_grey or 0, **(mask_ids or {})}.items():
            if not 0 <= grey < HIGHEST_GREY:
                raise ValueError(f"{what} is {grey}: expected a grey value from 0 to 65534")
        self.table = table
        self.largest_good_grey = largest_good_grey
        self.maker = RecordMaker(self, product, material, licence, group_pattern, frame=frame)
        names = [(self.maker.names.read(name), grey) for name, grey in (mask_ids or {}).items()]
        self.mask_ids = tuple(MaskValues(grey, grey, name or GOOD) for name, grey in names)

    def records(self, root: Path) -> list[Record]:
        """One Record per image of the table, in its order.

        Raises FileNotFoundError for a missing root, table or no images, ValueError for a table
        that is none.
        """
        tree = scan_tree(root, documents=(self.table.lower(),), remedy=LAYOUT)
        name = join_below("", self.table)
        table = root / (tree.find(name) or name)
        if not table.is_file():
            raise FileNotFoundError(f"table {table} is missing: {LAYOUT}; see --source.table")
        records: dict[str, Record] = {}
        entries = read_table(table)
        named = {normpath(entry.cells["mask"].replace("\\", "/")) for entry in entries}
        masks = [] if self.mask_ids else filter(None, map(tree.find, named))
        survey = survey_masks(root, masks, largest_good=self.largest_good_grey)
        for entry in entries:
            record = self._record(root, entry, tree=tree, survey=survey)
            if record.image in records:
                flaw = f"{record.image} stands in {table} under two spellings: expected one"
                record = self.maker.make_flawed(record.image, flaw)
            records[record.image] = record
        return list(records.values())

    def _record(
        self, root: Path, entry: TableImage, *, tree: FileTree, survey: MaskSurvey
    ) -> Record:
        place, cells = f"{self.table} line {entry.line}", entry.cells
        try:
            image = _existing(entry.image, "image", tree)
        except ValueError as error:
            return self.maker.make_flawed(place, str(error))
        flaw = entry.flaw
        record = self.maker.make(image, regions=entry.boxes, types=entry.types)
        try:
            if cells["mask"]:
                mask = _existing(cells["mask"], "mask", tree)
                values = self._mask_values(entry, record, mask, survey)
                record = replace(record, mask=mask, mask_values=values)
                if self.mask_ids and entry.types and not record.defects:
                    _refuse_marked(root / mask, values)
            record = replace(record, split=_split_of(entry, record))
        except (ValueError, OSError) as error:
            flaw = flaw or f"{place}: {error}"
        words = {name: cells[name] for name in ("product", "material") if cells[name]}
        return replace(
            record,
            caption=replace(record.caption, **words),
            released_caption=cells["caption"],
            group=f"{self.name}_{cells['group']}" if cells["group"] else record.group,
            licence=cells["licence"] or record.licence,
            flaw=flaw,
        )

    def _mask_values(
        self, entry: TableImage, record: Record, mask: str, survey: MaskSurvey
    ) -> tuple[MaskValues, ...]:
        """What the greys of an image's mask mean; ValueError where nobody can tell."""
        if entry.boxes:
            raise ValueError("the image has a mask and boxes, expected one of them")
        if self.mask_ids:
            return self.mask_ids
        if len(record.defects) > 1:
            raise ValueError(
                f"the mask shows {', '.join(record.defects)}, expected to know which grey is which:"
                " give --source.mask_ids"
            )
        is_unnamed = not entry.types and survey.marks(mask)
        name = record.defects[0] if record.defects else UNNAMED_DEFECT if is_unnamed else ""
        if flaw := survey.problem_of(mask, name):
            raise ValueError(flaw)
        return survey.values_of(mask, name)


def _refuse_marked(mask: Path, values: Sequence[MaskValues]) -> None:
    """ValueError where the mask of ids of a good part shows a defect."""
    shown = values_in(open_mask_values(mask, values))
    if any(one.low in shown for one in values if one.name != GOOD):
        raise ValueError(MARKED_GOOD.format(mask))


def _existing(path: str, what: str, tree: FileTree) -> str:
    """The path as the scan found it; ValueError for one outside the root or not there."""
    found = tree.find(join_below("", path.replace("\\", "/")))
    if not found:
        raise ValueError(f"{what} {path!r} is missing: expected it below the data root")
    return found


def _split_of(entry: TableImage, record: Record) -> str:
    """The record's split; ValueError for an unknown word and for contradictory labels."""
    if record.defects and not all(map(defect_name, entry.types)):
        raise ValueError(f"the image is good and has {', '.join(record.defects)}: expected one")
    word = entry.cells["split"].lower()
    if word and word != UNLABELLED and word not in SPLIT_WORDS:
        raise ValueError(f"split is {word!r}, expected train, val, test or {UNLABELLED}")
    is_labelled = bool(entry.types or entry.boxes or entry.cells["mask"])
    if word == UNLABELLED and is_labelled:
        raise ValueError(f"the image is {UNLABELLED} and has a label: expected one of them")
    return SPLIT_WORDS.get(word, "") if is_labelled else UNLABELLED
