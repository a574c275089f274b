"""Which of the types in a picture is the dominant one, whichever format named them."""

from collections.abc import Sequence

from datamodules.sample import Region


def dominant_first(regions: Sequence[Region]) -> tuple[str, ...]:
    """The names of the regions, the one that covers most pixels together first."""
    areas_px: dict[str, float] = {}
    for region in regions:
        areas_px[region.name] = areas_px.get(region.name, 0.0) + _area_px(region)
    return tuple(sorted(areas_px, key=lambda name: -areas_px[name]))


def _area_px(region: Region) -> float:
    """The area of a region, 0 where its numbers are unusable: inspection will say so."""
    numbers = region.numbers
    if region.kind == "runs":
        return sum(numbers[1::2])
    if region.kind == "box":
        return numbers[2] * numbers[3] if len(numbers) == 4 else 0.0
    across, down = numbers[0::2], numbers[1::2]
    if len(across) != len(down) or len(across) < 3:
        return 0.0
    next_across, next_down = across[1:] + across[:1], down[1:] + down[:1]
    corners = zip(across, down, next_across, next_down, strict=True)
    return abs(sum(x * below - right * y for x, y, right, below in corners)) / 2
