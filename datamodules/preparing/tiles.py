"""One Record of a large image -> the Records of its tiles, which know their place.

Tiles are windows, not copies. How a model puts the answers for tiles together is `nets/tiling.py`.
"""

from dataclasses import replace

from datamodules.captions import Caption
from datamodules.sample import Record


def tile_records(record: Record, *, tile_px: int, overlap_px: int) -> list[Record]:
    """The tiles of an inspected record, left to right and top to bottom; itself if small enough.

    Tiles are tile_px wide and high, overlap by at least overlap_px and cover every pixel; those
    at the far rims are moved inward. What each of them shows is told by its own inspection. A
    defective image that nobody outlined stays whole: no one can say which tile is defective.
    """
    if tile_px <= overlap_px or overlap_px < 0:
        raise ValueError(
            f"tiles of {tile_px} px overlap by {overlap_px} px, expected 0 or more and less than "
            "the tile: choose a larger --tile_px"
        )
    is_known = record.mask_kind != "none" or not record.defects
    if not is_known or max(record.width_px, record.height_px) <= tile_px:
        return [record]
    bare = Caption(record.caption.product, record.caption.material)
    blank = replace(
        record, defects=(), caption=bare, released_caption="", width_px=0, height_px=0, sha256=""
    )
    across = tile_starts(record.width_px, tile_px, overlap_px)
    down = tile_starts(record.height_px, tile_px, overlap_px)
    width, height = min(tile_px, record.width_px), min(tile_px, record.height_px)
    return [
        replace(blank, window_xywh_px=(left, top, width, height)) for top in down for left in across
    ]


def tile_starts(length_px: int, tile_px: int, overlap_px: int) -> list[int]:
    """Where the tiles of one side begin, ascending, the last one ends with the side."""
    if length_px <= tile_px:
        return [0]
    step = tile_px - overlap_px
    return [*range(0, length_px - tile_px, step), length_px - tile_px]
