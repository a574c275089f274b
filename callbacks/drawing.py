"""Images with masks, names and captions drawn on them, as arrays; no file is opened or saved.

What is drawn when is in `visuals.py`.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw, ImageFont
from scipy import ndimage
from torch import Tensor

from datamodules.sample import GOOD_ID, Instance

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
INK: Color = (34, 37, 42)
GREY: Color = (110, 116, 124)
PAPER: Color = (255, 255, 255)
CLASS_COLORS = (
    *("#e63946", "#0091ff", "#ffb703", "#28be6e", "#ba55de"),
    *("#ff7043", "#00bec3", "#f264aa", "#a0cd2d", "#96734b"),
)
FILL_OPACITY = 0.35
MAX_TAGS = 12
FONT_PX, LINE_PX, GAP_PX = 15, 20, 14


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
        return ImageColor.getrgb(CLASS_COLORS[class_id - 1])[:3]
    red, green, blue = colorsys.hsv_to_rgb(class_id * 0.618034 % 1.0, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def tags_of_map(label_map: np.ndarray, names: Sequence[str]) -> list[RegionTag]:
    """A tag with its type's name for each connected region of label_map (H, W), largest first."""
    sized_tags = []
    for class_id in np.unique(label_map[label_map != GOOD_ID]).tolist():
        inside = (label_map == class_id).astype(np.uint8)
        _, _, regions, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
        for x, y, width, height, area in regions[1:].tolist():
            sized_tags.append((area, RegionTag(names[class_id], class_id, (x, y, width, height))))
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
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def draw_overlay(
    image: np.ndarray, label_map: np.ndarray, tags: Sequence[RegionTag], *, scale: float = 1.0
) -> np.ndarray:
    """The image with coloured regions, outlines and names, at `scale` times its size.

    image: (H, W, 3) uint8; label_map: (H, W) class ids. Only the first tags are written.
    """
    drawn = resize_image(image, scale).astype(np.float32)
    height, width = drawn.shape[:2]
    ids = Image.fromarray(label_map.astype(np.int32))
    labels = np.asarray(ids.resize((width, height), Image.Resampling.NEAREST))
    side_px = min(height, width)
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
    padded = [on_white(image, bottom=height - len(image), right=gap_px) for image in images]
    return np.hstack(padded)[:, :-gap_px]


def draw_grid(
    panels: Sequence[Panel], *, columns: int, title: str = "", header: Sequence[str] = ()
) -> np.ndarray:
    """The panels row by row on white, captions wrapped under each, header words over columns."""
    width = max(panel.image.shape[1] for panel in panels)
    font = ImageFont.load_default(FONT_PX)
    cells = [captioned(panel, width, font) for panel in panels]
    rows = [
        join_side_by_side(cells[first : first + columns], gap_px=GAP_PX)
        for first in range(0, len(cells), columns)
    ]
    top = GAP_PX + LINE_PX * (2 * bool(title) + 2 * bool(header))
    full_width = max(row.shape[1] for row in rows)
    padded = [on_white(row, bottom=GAP_PX, right=full_width - row.shape[1]) for row in rows]
    canvas = Image.fromarray(on_white(np.vstack(padded), top=top, left=GAP_PX, right=GAP_PX))
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP_PX, GAP_PX), title, INK, font)
    for column, words in enumerate(header):
        draw.text((GAP_PX + column * (width + GAP_PX), top - 2 * LINE_PX), words, GREY, font)
    return np.asarray(canvas)


def captioned(panel: Panel, width_px: int, font: Font) -> np.ndarray:
    """The panel's image on white of this width, its caption wrapped below."""
    lines = wrap_text(panel.caption, font, width_px)
    height, width = panel.image.shape[:2]
    below = on_white(panel.image, bottom=LINE_PX * (len(lines) + 1), right=width_px - width)
    canvas = Image.fromarray(below)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((0, height + 2 + number * LINE_PX), line, panel.caption_color, font)
    return np.asarray(canvas)


def on_white(
    image: np.ndarray, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0
) -> np.ndarray:
    """The image with so many white pixels at its sides."""
    return np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=255)


def wrap_text(text: str, font: Font, width_px: int) -> list[str]:
    """The text in lines no wider than `width_px`, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _write_tags(
    canvas: Image.Image, tags: Sequence[RegionTag], *, scale: float, font_px: int
) -> None:
    """Writes each tag above, below or in its region, where there is room beside other tags."""
    draw, font, pad_px = ImageDraw.Draw(canvas), ImageFont.load_default(font_px), font_px // 5
    taken = np.zeros((canvas.height, canvas.width), dtype=bool)
    for tag in tags:
        x, y, _, region_height = (round(value * scale) for value in tag.box_xywh_px)
        width = round(font.getlength(tag.text)) + 2 * pad_px
        height = round(font_px * 1.25) + pad_px
        left = max(0, min(x, canvas.width - width - 1))
        for top in (y - height - 1, y + region_height + 1, y):
            place = taken[max(0, top) : top + height + 1, left : left + width + 1]
            if place.shape != (height + 1, width + 1) or place.any():
                continue
            place[:] = True
            color = class_color(tag.class_id)
            box = (left, top, left + width, top + height)
            draw.rounded_rectangle(box, radius=pad_px, fill=color)
            ink = INK if np.dot(color, (0.299, 0.587, 0.114)) > 140 else PAPER
            draw.text((left + pad_px, top + height // 2), tag.text, ink, font, anchor="lm")
            break
