"""What the boxes of a picture say together, whichever format they were written in."""

from collections.abc import Iterable

from datamodules.sample import Region


def types_by_area(boxes: Iterable[Region]) -> tuple[str, ...]:
    """The names of the boxes, the one whose boxes cover the most pixels together first."""
    areas_px: dict[str, float] = {}
    for box in boxes:
        areas_px[box.name] = areas_px.get(box.name, 0.0) + box.numbers[2] * box.numbers[3]
    return tuple(sorted(areas_px, key=lambda name: -areas_px[name]))
