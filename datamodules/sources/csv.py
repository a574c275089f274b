"""Anyone's own pictures in any folders, told by a table.

root/records.csv   image, and any of mask, type, caption, product, material, group, split, licence,
                   left, top, width, height; paths are relative to the root
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from datamodules.about import About
from datamodules.formats.file_tree import FileTree, join_below, scan_tree
from datamodules.formats.label_table import defect_name
from datamodules.formats.record_maker import RecordMaker
from datamodules.formats.record_table import UNNAMED_DEFECT, TablePicture, read_table
from datamodules.formats.split_words import SPLIT_WORDS
from datamodules.manifest import Source
from datamodules.sample import GOOD, UNLABELLED, MaskValues, Record

LAYOUT = "expected records.csv with the column image, and the pictures that it names"
HIGHEST_GREY = 65535


class Csv(Source):
    """One row per picture; more rows of a picture add boxes (pixels) or types.

    type: several parted by ";", "good" for a good part; a picture without type, mask and box is
    unlabelled. A mask without type shows "defect". largest_good_grey: greys above it are the
    picture's one type; a mask of 0 and 1 needs 0. mask_ids: type -> grey value, where masks show
    several types. caption is kept verbatim. group: pictures that must not part.
    """

    name: ClassVar[str] = "csv"
    about: ClassVar[About] = About(
        title="Your own pictures, told by a table",
        licence="your own",
        licence_url="",
        citation="",
        homepage="",
        instructions=(
            "nothing to fetch: place records.csv beside your pictures, with the column image and "
            "any of mask, type, caption, product, material, group, split, licence, left, top, "
            "width, height"
        ),
    )

    def __init__(
        self,
        table: str = "records.csv",
        largest_good_grey: int = 127,
        mask_ids: Mapping[str, int] | None = None,
        product: str = "part",
        material: str = "",
        licence: str = "",
        group_pattern: str = "",
    ) -> None:
        ids = {defect_name(name): value for name, value in (mask_ids or {}).items()}
        for what, grey in {"largest_good_grey": largest_good_grey, **ids}.items():
            if not 0 <= grey < HIGHEST_GREY:
                raise ValueError(f"{what} is {grey}: expected a grey value from 0 to 65534")
        self.table = table
        self.largest_good_grey = largest_good_grey
        self.mask_ids = ids
        licence = licence or self.about.licence
        self.maker = RecordMaker(self.name, product, material, licence, group_pattern)

    def records(self, root: Path) -> list[Record]:
        """One Record per picture of the table, in its order.

        Raises FileNotFoundError for a missing root, table or no pictures, ValueError for a table
        that is none.
        """
        root = Path(root)
        tree = scan_tree(root, remedy=LAYOUT)
        table = root / join_below("", self.table)
        if not table.is_file() or table.is_symlink():
            raise FileNotFoundError(
                f"table {table} is missing or a link: {LAYOUT}; see --source.init_args.table"
            )
        records: dict[str, Record] = {}
        for picture in read_table(table):
            record = self._record(picture, tree)
            if record.image in records:
                flaw = f"{record.image} stands in {table} under two spellings: expected one"
                record = self.maker.make_flawed(record.image, flaw)
            records[record.image] = record
        return list(records.values())

    def _record(self, picture: TablePicture, tree: FileTree) -> Record:
        try:
            image = _existing(picture.image, "picture", tree)
        except ValueError as error:
            return self.maker.make_flawed(f"{self.table} line {picture.line}", str(error))
        cells, flaw = picture.cells, picture.flaw
        record = self.maker.make(image, regions=picture.boxes, types=picture.types)
        try:
            record = replace(
                record,
                mask=_existing(cells["mask"], "mask", tree) if cells["mask"] else "",
                mask_values=self._mask_values(picture, record) if cells["mask"] else (),
                split=_split_of(picture, record),
            )
        except ValueError as error:
            flaw = flaw or f"{self.table} line {picture.line}: {error}"
        words = {name: cells[name] for name in ("product", "material") if cells[name]}
        return replace(
            record,
            caption=replace(record.caption, **words),
            released_caption=cells["caption"],
            group=f"{self.name}_{cells['group']}" if cells["group"] else record.group,
            licence=cells["licence"] or record.licence,
            flaw=flaw,
        )

    def _mask_values(self, picture: TablePicture, record: Record) -> tuple[MaskValues, ...]:
        """What the greys of a picture's mask mean; ValueError where nobody can tell."""
        if picture.boxes:
            raise ValueError("the picture has a mask and boxes, expected one of them")
        if self.mask_ids:
            values = (MaskValues(grey, grey, name) for name, grey in self.mask_ids.items())
            return tuple(replace(value, name=value.name or GOOD) for value in values)
        if len(record.defects) > 1:
            raise ValueError(
                f"the mask shows {', '.join(record.defects)}, expected to know which grey is which:"
                " give --source.init_args.mask_ids"
            )
        good = MaskValues(0, self.largest_good_grey, GOOD)
        if picture.types and not record.defects:
            return (good,)
        name = record.defects[0] if record.defects else UNNAMED_DEFECT
        return (good, MaskValues(self.largest_good_grey + 1, HIGHEST_GREY, name))


def _existing(path: str, what: str, tree: FileTree) -> str:
    """The path as the scan found it; ValueError for one outside the root or not there."""
    found = join_below("", path.replace("\\", "/"))
    if found not in tree:
        raise ValueError(f"{what} {path!r} is missing: expected it below the data root")
    return found


def _split_of(picture: TablePicture, record: Record) -> str:
    """The record's split; ValueError for an unknown word and for contradictory labels."""
    if "" in picture.types and record.defects:
        raise ValueError(f"the picture is good and has {', '.join(record.defects)}: expected one")
    word = picture.cells["split"].lower()
    if word and word != UNLABELLED and word not in SPLIT_WORDS:
        raise ValueError(f"split is {word!r}, expected train, val, test or {UNLABELLED}")
    is_labelled = bool(picture.types or picture.boxes or picture.cells["mask"])
    if word == UNLABELLED and is_labelled:
        raise ValueError(f"the picture is {UNLABELLED} and has a label: expected one of them")
    return SPLIT_WORDS.get(word, "") if is_labelled else UNLABELLED
