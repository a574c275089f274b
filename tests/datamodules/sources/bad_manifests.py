"""Manifests that are none any more, read by the source that merges them."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.datamodules.sources.bad_files import Case
from tests.datamodules.sources.damage import Damage, cut

FILE = "tiles/manifest.parquet"
HEADS = {
    "version": ("", "1", "99", "two"),
    "vocabulary": ("", '[["good"', "7", "[[1, 2]]", "[]", "[" * 100_000),
    "leaks": ("", "few"),
    "root": ("", "/etc\0", "/etc"),
    "source": ("",),
    "sha256": ("",),
    "split_sha256": ("",),
}
CELLS = {
    "image": ("../../outside.png", "/etc/passwd", "a\0b.png", "a\nb.png", "", "zzz.png", None),
    "mask": ("../../outside.png", "zzz.png", None),
    "mask_values": ([], [{"low": 9, "high": 1, "name": "x"}], [None], None),
    "regions": ([None], None),
    "defects": (["bell\x07"], [None], None),
    "window_xywh_px": ([1, 2, 3], [-1, 0, 10, 10], [0, 0, 500, 10], [0, 0, 0, 0], None),
    "width_px": (7,),
    "split": ("learn", None),
    "caption": (None,),
    "group": (None,),
    "source": (None,),
    "licence": (None,),
}


def rewrite(
    *, head: dict[str, str] | None = None, cell: tuple[str, object] | None = None
) -> Damage:
    """Writes the manifest again with other words in its head ("" for none) or first row."""

    def act(root: Path) -> None:
        table = pq.read_table(root / FILE)
        words = {key.decode(): word.decode() for key, word in table.schema.metadata.items()}
        words |= head or {}
        if cell is not None:
            place = table.schema.get_field_index(cell[0])
            field = table.schema.field(place)
            values = [cell[1], *table.column(cell[0]).to_pylist()[1:]]
            table = table.set_column(place, field, pa.array(values, type=field.type))
        words = {key: word for key, word in words.items() if word}
        pq.write_table(table.replace_schema_metadata(words), root / FILE)
        # The map beside it would be read in its place.
        for path in (root / FILE).parent.glob(".*.arrow"):
            path.unlink()

    return act


def manifests() -> Iterator[Case]:
    """Files that are cut, heads that lack a word, and one bad row."""
    for share in (0.02, 0.3, 0.99):
        yield "merged", cut(FILE, share), "Parquet"
    for key, words in HEADS.items():
        yield from (("merged", rewrite(head={key: word}), "") for word in words)
    for column, values in CELLS.items():
        yield from (("merged", rewrite(cell=(column, value)), "") for value in values)
