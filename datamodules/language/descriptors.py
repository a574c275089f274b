"""Words for what a mask shows: where the defect lies, how large it is, and its shape.

The sentence that holds these words is in `captions.py`. A mask is (H, W), non-zero where defect.
"""

import cv2
import numpy as np

MOST_OF_THE_SURFACE = "most of the surface"
SEVERAL_PLACES = "several places"
PLACES = (
    ("the upper left", "the top", "the upper right"),
    ("the left", "the center", "the right"),
    ("the lower left", "the bottom", "the lower right"),
)
SIZES = ("small", "medium", "large")
DIRECTIONS = ("horizontal", "vertical", "diagonal")
SHAPES = ("elongated", "round", "branched", "ring-shaped", "banded", "scattered", "irregular")

SCATTERED_PARTS = 4
# Forks are looked for in a sketch of the region, this long: thinning costs a pass per pixel of
# thickness. An arm counts from an eighth of the sketch on, a shorter one is a ragged edge.
_SKETCH_PX = 64
_SHORTEST_ARM = 1 / 8
# The eight neighbours of a pixel as the bits of one byte, clockwise from the one above.
_NEIGHBOUR_BITS = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.uint8)


def location_of(mask: np.ndarray) -> str:
    """Where the non-zero pixels of `mask` (H, W) lie, in words: "the upper left"; "" for none.

    The image is cut in thirds both ways and the centroid decides; a mask that covers more than
    half is "most of the surface", apart spots around an empty centroid are "several places".
    """
    region = _binary(mask)
    moments = cv2.moments(region, binaryImage=True)
    area = moments["m00"]
    if not area:
        return ""
    if area > 0.5 * region.size:
        return MOST_OF_THE_SURFACE
    down, rows = _third_of(moments["m01"] / area, region.shape[0])
    across, columns = _third_of(moments["m10"] / area, region.shape[1])
    if not region[rows, columns].any() and cv2.connectedComponents(region, connectivity=8)[0] > 2:
        return SEVERAL_PLACES
    return PLACES[down][across]


def size_of(mask: np.ndarray) -> str:
    """How much of `mask` (H, W) is defect: small is under 1 %, large over 10 %; "" for none."""
    area = np.count_nonzero(mask)
    if area == 0:
        return ""
    return "small" if area < 0.01 * mask.size else "large" if area > 0.1 * mask.size else "medium"


def morphology_of(mask: np.ndarray) -> str:
    """Size and shape of the non-zero pixels of `mask` (H, W): "a small round area"; "" for none.

    Several bands and four or more parts are plural ("small scattered areas"); what is elongated
    or banded has its direction ("a large vertical banded area").
    """
    size = size_of(mask)
    if not size:
        return ""
    region = _binary(mask)
    left, top, width, height = cv2.boundingRect(region)
    region = np.ascontiguousarray(region[top : top + height, left : left + width])
    part_count, parts = _largest_parts(region)
    directions = _directions_of_bands(parts, mask.shape, area=cv2.countNonZero(region))
    if directions:
        banded = f"{size} {directions[0]} banded area"
        return f"a {banded}" if len(directions) == 1 else f"{banded}s"
    if part_count >= SCATTERED_PARTS:
        return f"{size} scattered areas"
    return f"a {size} {_shape_of(region, parts[0])} area"


def _shape_of(region: np.ndarray, largest: np.ndarray) -> str:
    """The shape of a region (h, w) of a few parts, with the direction of what is elongated.

    The largest part is ring-shaped around a hole of 30 % and branched where its middle line
    forks; all together are elongated where three times as long as wide, by second moments.
    """
    area, largest_area = cv2.countNonZero(region), cv2.countNonZero(largest)
    if largest_area > 0.5 * area:
        hull_area, hole_area = _hull_and_hole_area(largest)
        filled_area = largest_area + hole_area
        if hole_area > 0.3 * filled_area and filled_area > 0.8 * hull_area:
            return "ring-shaped"
        if largest_area < 0.65 * hull_area and _forks(largest):
            return "branched"
    narrow, wide, direction = _principal_axes(region)
    if wide > 9 * narrow:
        return f"{direction} elongated"
    ellipse_area = 4 * np.pi * np.sqrt(narrow * wide)
    return "round" if wide < 2.5 * narrow and area > 0.85 * ellipse_area else "irregular"


def _largest_parts(region: np.ndarray) -> tuple[int, list[np.ndarray]]:
    """The number of connected parts, and the eight largest of them, each cut out."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(region, connectivity=8)
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:8]
    parts = []
    for label in order:
        left, top, width, height, _ = stats[label]
        part = labels[top : top + height, left : left + width] == label
        parts.append(part.view(np.uint8))
    return count - 1, parts


def _directions_of_bands(
    parts: list[np.ndarray], image_px: tuple[int, ...], *, area: int
) -> list[str]:
    """The direction of each band where parallel bands make up the region, else nothing.

    A band crosses 90 % of the image, is straight, twice as long as wide and no hairline: at
    least a fiftieth of its length wide. Specks beside it, up to a fifth of the area, are let be.
    """
    directions = []
    area_of_bands = 0
    for part in parts:
        if part.shape[0] < 0.9 * image_px[0] and part.shape[1] < 0.9 * image_px[1]:
            continue
        narrow, wide, direction = _principal_axes(part)
        part_area = cv2.countNonZero(part)
        # Twelve times the variance is the square of a bar's length.
        is_straight = part_area > 0.6 * 12 * (narrow * wide) ** 0.5
        if wide > 4 * narrow and is_straight and part_area > 0.02 * 12 * wide:
            directions.append(direction)
            area_of_bands += part_area
    is_banded = len(set(directions)) == 1 and area_of_bands >= 0.8 * area
    return directions if is_banded else []


def _principal_axes(region: np.ndarray) -> tuple[float, float, str]:
    """The variances in pixels across and along the region (h, w) of 0 and 1, and its direction."""
    moments = cv2.moments(region, binaryImage=True)
    # A twelfth is the variance of one pixel's own square: it keeps one-pixel lines finite.
    across = moments["mu20"] / moments["m00"] + 1 / 12
    down = moments["mu02"] / moments["m00"] + 1 / 12
    shared = moments["mu11"] / moments["m00"]
    middle, radius = (across + down) / 2, np.hypot((across - down) / 2, shared)
    tilt = abs(np.degrees(np.arctan2(2 * shared, across - down))) / 2
    direction = DIRECTIONS[0 if tilt < 22.5 else 1 if tilt > 67.5 else 2]
    return middle - radius, middle + radius, direction


def _hull_and_hole_area(part: np.ndarray) -> tuple[float, float]:
    """The areas in pixels of the convex hull of a part and of its largest hole."""
    contours, tree = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [k for k in range(len(contours)) if tree.reshape(-1, 4)[k, 3] < 0]
    hull = cv2.convexHull(contours[outer[0]])
    # Contours run through the middles of the rim's pixels: half a pixel all around is added.
    hull_area = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    rims = [contour for k, contour in enumerate(contours) if k not in outer]
    holes = [cv2.contourArea(rim) - cv2.arcLength(rim, True) / 2 + 1 for rim in rims]
    return hull_area, max(holes, default=0.0)


def _forks(part: np.ndarray) -> bool:
    """Whether the middle line of a part has three arms or a junction, ragged edges aside."""
    longest = max(part.shape)
    if longest > _SKETCH_PX:
        scale = _SKETCH_PX / longest
        size = [max(1, round(length * scale)) for length in reversed(part.shape)]
        # Any pixel marks its cell of the sketch: a hairline must not fall apart.
        part = (cv2.resize(part * 255, size, interpolation=cv2.INTER_AREA) > 0).view(np.uint8)
    line = np.pad(part, 1)
    before = None
    while cv2.countNonZero(line) != before:  # thinned to one pixel (Zhang and Suen 1984)
        before = cv2.countNonZero(line)
        for is_removable in _IS_REMOVABLE:
            line[is_removable[_neighbours(line)]] = 0
    for _ in range(max(2, round(_SHORTEST_ARM * max(part.shape)))):
        line[_IS_END[_neighbours(line)] & (line > 0)] = 0
    around = _neighbours(line)[line > 0]
    return bool(_IS_JUNCTION[around].any() or np.count_nonzero(_IS_END[around]) >= 3)


def _neighbours(line: np.ndarray) -> np.ndarray:
    return cv2.filter2D(line, -1, _NEIGHBOUR_BITS, borderType=cv2.BORDER_CONSTANT)


def _tables() -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """For each byte of neighbours: ends a line, joins three, and goes in each half of thinning."""
    ring = (np.arange(256)[:, None] >> np.arange(8)) & 1
    present = ring.sum(1)
    runs = ((ring == 0) & (np.roll(ring, -1, axis=1) == 1)).sum(1)
    above, right, below, left = (ring[:, k] for k in (0, 2, 4, 6))
    is_rim = (present >= 2) & (present <= 6) & (runs == 1)
    first = is_rim & (above * right * below == 0) & (right * below * left == 0)
    second = is_rim & (above * right * left == 0) & (above * below * left == 0)
    return (runs == 1) & (present <= 2), runs >= 3, (first, second)


_IS_END, _IS_JUNCTION, _IS_REMOVABLE = _tables()


def _binary(mask: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(mask != 0).view(np.uint8)


def _third_of(position: float, length: int) -> tuple[int, slice]:
    """The third (0, 1, 2) of one axis that holds a position, and the pixels centred in it."""
    share = (position + 0.5) / length
    third = 0 if share < 1 / 3 else 2 if share > 2 / 3 else 1
    centers = (np.arange(length) + 0.5) / length
    first, last = np.searchsorted(centers, 1 / 3), np.searchsorted(centers, 2 / 3, side="right")
    return third, (slice(0, first), slice(first, last), slice(last, length))[third]
