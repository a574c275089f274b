"""Images with masks, names and captions drawn on them, as arrays; no file is opened or saved.

What is drawn when is in `visuals.py`.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import Tensor

from datamodules.sample import GOOD_ID, Instance

Color = tuple[int, int, int]
Corners = tuple[int, int, int, int]
INK: Color = (34, 37, 42)
GREY: Color = (110, 116, 124)
PAPER: Color = (255, 255, 255)
CLASS_COLORS: tuple[Color, ...] = (
    (230, 57, 70),
    (0, 145, 255),
    (255, 183, 3),
    (40, 190, 110),
    (186, 85, 222),
    (255, 112, 67),
    (0, 190, 195),
    (242, 100, 170),
    (160, 205, 45),
    (150, 115, 75),
)
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)
FILL_OPACITY = 0.35
MAX_TAGS = 12


@dataclass(frozen=True, slots=True)
class RegionTag:
    """The words beside one region; box in pixels as (x, y, width, height)."""

    text: str
    class_id: int
    box_xywh_px: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Panel:
    """One image (h, w, 3) uint8 of a grid, with the words under it."""

    image: np.ndarray
    caption: str = ""
    caption_color: Color = INK


def pixels_of(image: Tensor) -> np.ndarray:
    """(H, W, 3) uint8 pixels of an image (3, H, W) in [-1, 1]; other values are cut off."""
    scaled = ((image.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(1, 2, 0).cpu().numpy()


def class_color(class_id: int) -> Color:
    """The colour of a defect type, the same in every image; new hues after the tenth."""
    if class_id <= len(CLASS_COLORS):
        return CLASS_COLORS[class_id - 1]
    red, green, blue = colorsys.hsv_to_rgb(class_id * 0.618034 % 1.0, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def tags_of_map(label_map: np.ndarray, names: Sequence[str]) -> list[RegionTag]:
    """A tag with its type's name for each connected region of label_map (H, W), largest first."""
    sized_tags = []
    for class_id in np.unique(label_map[label_map != GOOD_ID]):
        regions, _ = ndimage.label(label_map == class_id, structure=EIGHT_NEIGHBOURS)
        areas = np.bincount(regions.ravel())[1:]
        for area, (rows, columns) in zip(areas, ndimage.find_objects(regions), strict=True):
            width, height = columns.stop - columns.start, rows.stop - rows.start
            box = (columns.start, rows.start, width, height)
            sized_tags.append((area, RegionTag(names[class_id], int(class_id), box)))
    sized_tags.sort(key=lambda pair: pair[0], reverse=True)
    return [tag for _, tag in sized_tags]


def tags_of_instances(instances: Sequence[Instance], names: Sequence[str]) -> list[RegionTag]:
    """A tag with name and score, such as "crack 0.93", for each instance, in their order."""
    return [
        RegionTag(f"{names[one.class_id]} {one.score:.2f}", one.class_id, one.box_xywh_px)
        for one in instances
    ]


def scale_to_fit(image: np.ndarray, side_px: int) -> float:
    """The factor that makes the longer side of image (H, W, 3) `side_px` long."""
    return side_px / max(image.shape[:2])


def resize_image(image: np.ndarray, scale: float) -> np.ndarray:
    """The image (H, W, 3) uint8 at `scale` times its size, at least one pixel each way."""
    if scale == 1.0:
        return image
    size = _scaled_size(image, scale)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def draw_overlay(
    image: np.ndarray, label_map: np.ndarray, tags: Sequence[RegionTag], *, scale: float = 1.0
) -> np.ndarray:
    """The image with coloured regions, outlines and names, at `scale` times its size.

    image: (H, W, 3) uint8; label_map: (H, W) class ids. Only the first tags are written.
    """
    drawn = resize_image(image, scale).astype(np.float32)
    size = _scaled_size(image, scale)
    ids = Image.fromarray(label_map.astype(np.int32))
    labels = np.asarray(ids.resize(size, Image.Resampling.NEAREST))
    side_px = min(size)
    outline_px = max(1, round(side_px / 220))
    for class_id in np.unique(labels[labels != GOOD_ID]):
        inside = labels == class_id
        color = np.array(class_color(int(class_id)), dtype=np.float32)
        rim = inside & ~ndimage.binary_erosion(inside, iterations=outline_px, border_value=1)
        drawn[inside] = (1 - FILL_OPACITY) * drawn[inside] + FILL_OPACITY * color
        drawn[rim] = color
    canvas = Image.fromarray(drawn.round().astype(np.uint8))
    _write_tags(canvas, tags[:MAX_TAGS], scale=scale, font_px=int(np.clip(side_px / 22, 10, 44)))
    return np.asarray(canvas)


def join_side_by_side(images: Sequence[np.ndarray], *, gap_px: int = 6) -> np.ndarray:
    """The images in one row on white, tops aligned."""
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + gap_px * (len(images) - 1)
    joined = np.full((height, width, 3), PAPER, dtype=np.uint8)
    left = 0
    for image in images:
        joined[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + gap_px
    return joined


def draw_grid(
    panels: Sequence[Panel],
    *,
    columns: int,
    title: str = "",
    header: Sequence[str] = (),
    font_px: int = 15,
    gap_px: int = 14,
) -> np.ndarray:
    """The panels row by row on white, captions wrapped under each, header words over columns."""
    rows = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    width = max(panel.image.shape[1] for panel in panels)
    font, line_px = ImageFont.load_default(font_px), round(font_px * 1.35)
    captions = [[wrap_text(p.caption, font, width) for p in row] for row in rows]
    heights = [max(panel.image.shape[0] for panel in row) for row in rows]
    top = gap_px + (2 * line_px if title else 0) + (round(1.5 * line_px) if header else 0)
    used_columns = min(columns, len(panels))
    full_height = top + sum(
        height + line_px * max(map(len, lines)) + 2 * gap_px
        for height, lines in zip(heights, captions, strict=True)
    )
    canvas = Image.new("RGB", (gap_px + used_columns * (width + gap_px), full_height), PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        draw.text((gap_px, gap_px), title, INK, ImageFont.load_default(round(font_px * 1.2)))
    for column, words in enumerate(header):
        place = (gap_px + column * (width + gap_px), top - round(1.4 * line_px))
        draw.text(place, words, GREY, font)
    for row, height, lines_of_row in zip(rows, heights, captions, strict=True):
        for column, (panel, lines) in enumerate(zip(row, lines_of_row, strict=True)):
            left = gap_px + column * (width + gap_px)
            canvas.paste(Image.fromarray(panel.image), (left, top))
            text_top = top + panel.image.shape[0] + gap_px // 3
            for number, line in enumerate(lines):
                place = (left, text_top + number * line_px)
                draw.text(place, line, panel.caption_color, font)
        top += height + line_px * max(map(len, lines_of_row)) + 2 * gap_px
    return np.asarray(canvas)


def wrap_text(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int
) -> list[str]:
    """The text in lines no wider than `width_px`, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _scaled_size(image: np.ndarray, scale: float) -> tuple[int, int]:
    """(width, height) of the image (H, W, ...) at `scale`, at least one pixel each."""
    height, width = image.shape[:2]
    return max(1, round(width * scale)), max(1, round(height * scale))


def _write_tags(
    canvas: Image.Image, tags: Sequence[RegionTag], *, scale: float, font_px: int
) -> None:
    """Writes each tag beside its region where there is room, never over another tag."""
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(font_px)
    pad_px = max(1, font_px // 5)
    regions = [_corners_of(tag, scale) for tag in tags]
    taken: list[Corners] = []
    for tag, region in zip(tags, regions, strict=True):
        tag_size = (round(font.getlength(tag.text)) + 2 * pad_px, round(font_px * 1.25) + pad_px)
        places = _free_places(region, tag_size, (canvas.width, canvas.height), taken)
        if not places:
            continue
        others = [other for other in regions if other is not region]
        clear = [place for place in places if not any(_meet(place, other) for other in others)]
        box = (clear or places)[0]
        taken.append(box)
        color = class_color(tag.class_id)
        draw.rounded_rectangle(box, radius=pad_px, fill=color)
        ink = INK if np.dot(color, (0.299, 0.587, 0.114)) > 140 else PAPER
        middle = (box[0] + pad_px, (box[1] + box[3]) // 2)
        draw.text(middle, tag.text, ink, font, anchor="lm")


def _corners_of(tag: RegionTag, scale: float) -> Corners:
    """The region's box (left, top, right, bottom) on the scaled image."""
    x, y, width, height = tag.box_xywh_px
    return (
        round(x * scale),
        round(y * scale),
        round((x + width) * scale),
        round((y + height) * scale),
    )


def _free_places(
    region: Corners, tag_size: tuple[int, int], canvas_size: tuple[int, int], taken: list[Corners]
) -> list[Corners]:
    """Where a tag (width, height) could stand: above, below, right, left of the region, inside."""
    (left, top, right, bottom), (width, height) = region, tag_size
    along = max(0, min(left, canvas_size[0] - width))
    wanted = (
        (along, top - height - 1),
        (along, bottom + 1),
        (right + 2, top),
        (left - width - 2, top),
        (along, top),
    )
    boxes = [(x, y, x + width, y + height) for x, y in wanted]
    return [
        box
        for box in boxes
        if min(box) >= 0
        and box[2] <= canvas_size[0]
        and box[3] <= canvas_size[1]
        and not any(_meet(box, other) for other in taken)
    ]


def _meet(first: Corners, second: Corners) -> bool:
    """Whether two boxes (left, top, right, bottom) share any pixel."""
    return (
        first[0] <= second[2]
        and second[0] <= first[2]
        and first[1] <= second[3]
        and second[1] <= first[3]
    )
