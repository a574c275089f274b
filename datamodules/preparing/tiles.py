"""A large image as tiles: one Record becomes those of windows, which know their place.

How a model puts the answers for tiles together is `nets/tiling.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from datamodules.captions import Caption
from datamodules.decode import open_pixels, read_header
from datamodules.preparing.inspection import FILE_ERRORS, Inspection, check_size, reason_of
from datamodules.sample import Record


def inspect_tiles(
    records: Sequence[Record],
    root: Path,
    tile_px: int,
    overlap_px: int,
    *,
    look: Callable[[Sequence[Record]], list[Inspection]],
) -> list[Inspection]:
    """The inspections, as `look` makes them, of the records and of tiles in place of large ones.

    tile_px: 0 keeps them whole.
    """
    if not tile_px:
        return look(records)
    inspections = look(tile_large(records, root, tile_px=tile_px, overlap_px=overlap_px))
    parts = [
        [] if i.problem else tile_records(i.record, tile_px=tile_px, overlap_px=overlap_px)
        for i in inspections
    ]
    tiles = iter(look([tile for tiles in parts if len(tiles) > 1 for tile in tiles]))
    return [
        one
        for inspection, tiles_of_one in zip(inspections, parts, strict=True)
        for one in (islice(tiles, len(tiles_of_one)) if len(tiles_of_one) > 1 else [inspection])
    ]


def tile_large(
    records: Sequence[Record], root: Path, *, tile_px: int, overlap_px: int
) -> list[Record]:
    """The records, those of tiles in place of images that are too large to be inspected whole.

    One that cannot be read in windows has a flaw.
    """
    tiled: list[Record] = []
    for record in records:
        path, tiles = root / record.image, [record]
        try:
            header = read_header(path)
            if header.is_large and not record.flaw:
                width_px, height_px = header.shown_px
                check_size(record, (height_px, width_px))
                sized = replace(record, width_px=width_px, height_px=height_px)
                # The last of them: a header may promise more pixels than its file has.
                wide, high = min(tile_px, width_px), min(tile_px, height_px)
                open_pixels(path, (width_px - wide, height_px - high, wide, high))
                tiles = tile_records(sized, tile_px=tile_px, overlap_px=overlap_px)
                if tiles == [sized] or record.mask:
                    raise ValueError(
                        f"{path} is too large to be opened but in windows, and so is a mask: "
                        "outline its defects by polygons or boxes"
                    )
            tiled += tiles
        except FILE_ERRORS as error:
            tiled.append(replace(record, flaw=record.flaw or reason_of(error)))
    return tiled


def tile_records(record: Record, *, tile_px: int, overlap_px: int) -> list[Record]:
    """The tiles of an inspected record, left to right and top to bottom; itself if small enough.

    Tiles are tile_px wide and high, overlap by at least overlap_px and cover every pixel; those
    at the far rims are moved inward. What each of them shows is told by its own inspection. An
    image with a defect that nobody outlined stays whole: no one can say which tile shows it.
    """
    if tile_px <= overlap_px or overlap_px < 0:
        raise ValueError(
            f"tiles of {tile_px} px overlap by {overlap_px} px, expected 0 or more and less than "
            "the tile: choose a larger --tile_px"
        )
    outlined = {one.name for one in record.regions} | {one.name for one in record.mask_values}
    is_known = outlined.issuperset(record.defects)
    if not is_known or max(record.width_px, record.height_px) <= tile_px:
        return [record]
    bare = Caption(record.caption.product, record.caption.material)
    blank = replace(
        record, defects=(), caption=bare, released_caption="", width_px=0, height_px=0, sha256=""
    )
    width, height = min(tile_px, record.width_px), min(tile_px, record.height_px)
    return [
        replace(blank, window_xywh_px=(left, top, width, height))
        for top in _starts(record.height_px, tile_px, overlap_px)
        for left in _starts(record.width_px, tile_px, overlap_px)
    ]


def _starts(length_px: int, tile_px: int, overlap_px: int) -> list[int]:
    """Where the tiles of one side begin, ascending, the last one ends with the side."""
    if length_px <= tile_px:
        return [0]
    return [*range(0, length_px - tile_px, tile_px - overlap_px), length_px - tile_px]
