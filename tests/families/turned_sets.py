"""Images that EXIF turns with a bright bar, and what each tool would write of the bar."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from datamodules.manifest import Source
from datamodules.sources.coco import Coco
from datamodules.sources.csv import Csv
from datamodules.sources.folder import Folder
from datamodules.sources.labelme import Labelme
from datamodules.sources.yolo import Yolo

ORIENTATIONS = range(1, 9)
SIZES_PX = {"square": (48, 48), "wide": (40, 64)}
FRAMES = ("shown", "stored")
# What Pillow calls the turn that a viewer makes of each orientation, and which turn undoes it.
TURNS = dict(zip(range(2, 9), [0, 3, 1, 5, 4, 6, 2], strict=True))
UNDONE = {6: 8, 8: 6}
BAR = (slice(6, 14), slice(22, 42))
SUFFIXES = ("jpg", "png", "tif", "webp")


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels as a viewer shows them, by Pillow's own turns."""
    image = Image.fromarray(pixels)
    return np.asarray(image if orientation == 1 else image.transpose(TURNS[orientation]))


class Painted:
    """One image with a bright bar, the bar as its mask, both as shown and as stored."""

    def __init__(self, orientation: int, size: str) -> None:
        back = UNDONE.get(orientation, orientation)
        noise = np.random.default_rng(orientation).integers(20, 90, SIZES_PX[size])
        pixels, mask = noise.astype(np.uint8), np.zeros(SIZES_PX[size], np.uint8)
        mask[BAR] = 255
        pixels[BAR] = 250
        self.orientation = orientation
        self.mask = {"shown": mask, "stored": turned(mask, back)}
        self.pixels = {"shown": pixels, "stored": turned(pixels, back)}

    def save(self, path: Path) -> None:
        """The stored pixels with the tag."""
        save(path, self.pixels["stored"], self.orientation)

    def size_px(self, frame: str) -> tuple[int, int]:
        """(width, height)."""
        height, width = self.pixels[frame].shape
        return width, height

    def box(self, frame: str) -> tuple[int, int, int, int]:
        rows, columns = np.nonzero(self.mask[frame])
        left, top = int(columns.min()), int(rows.min())
        return left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top


def save(path: Path, pixels: np.ndarray, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    words = {"jpg": {"quality": 95}, "webp": {"lossless": True}}.get(path.suffix[1:], {})
    more = {"exif": exif} if orientation != 1 else {}
    Image.fromarray(pixels).save(path, **words, **more)


def paint(size: str) -> dict[str, Painted]:
    """An image of each orientation, in all formats in turn."""
    return {
        f"images/pit/{orientation}.{SUFFIXES[orientation % 4]}": Painted(orientation, size)
        for orientation in ORIENTATIONS
    }


def folder_masks(root: Path, parts: dict[str, Painted], frame: str, said: str) -> Source:
    for name, part in parts.items():
        save((root / name.replace("images", "masks")).with_suffix(".png"), part.mask[frame])
    return Folder(frame=said)


def csv_masks(root: Path, parts: dict[str, Painted], frame: str, said: str) -> Source:
    folder_masks(root, parts, frame, said)
    lines = [f"{n},{Path(n.replace('images', 'masks')).with_suffix('.png')},pit" for n in parts]
    (root / "records.csv").write_text("\n".join(["image,mask,type", *lines]))
    return Csv(frame=said)


def csv_boxes(root: Path, parts: dict[str, Painted], frame: str, said: str) -> Source:
    lines = [",".join(map(str, (n, "pit", *part.box(frame)))) for n, part in parts.items()]
    (root / "records.csv").write_text("\n".join(["image,type,left,top,width,height", *lines]))
    return Csv(frame=said)


def polygon(part: Painted, frame: str) -> list[int]:
    x, y, w, h = part.box(frame)
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def runs(part: Painted, frame: str) -> dict[str, object]:
    coded = coco_mask.encode(np.asfortranarray(part.mask[frame] // 255))
    return {**coded, "counts": coded["counts"].decode()}


def coco(outline: Callable[[Painted, str], object], told: str = "") -> Callable[..., Source]:
    def write(root: Path, parts: dict[str, Painted], frame: str, said: str) -> Source:
        images, annotations = [], []
        for number, (name, part) in enumerate(parts.items()):
            size = dict(zip(("width", "height"), part.size_px(told or frame), strict=True))
            images.append({"id": number, "file_name": Path(name).name, **(size if told else {})})
            drawn = {"bbox": part.box(frame), "segmentation": outline(part, frame)}
            annotations.append({"id": number, "image_id": number, "category_id": 1, **drawn})
        content = {"images": images, "annotations": annotations}
        content["categories"] = [{"id": 1, "name": "pit"}]
        (root / "annotations").mkdir()
        (root / "annotations/a.json").write_text(json.dumps(content))
        return Coco(frame=said)

    return write


def yolo(root: Path, parts: dict[str, Painted], frame: str, said: str) -> Source:
    (root / "data.yaml").write_text(yaml.safe_dump({"names": ["pit"]}))
    for name, part in parts.items():
        (x, y, w, h), (width, height) = part.box(frame), part.size_px(frame)
        numbers = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
        path = (root / name.replace("images", "labels")).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(map(str, (0, *numbers))))
    return Yolo(frame=said)


def labelme(root: Path, parts: dict[str, Painted], frame: str, said: str) -> Source:
    for name, part in parts.items():
        corners = np.reshape(polygon(part, frame), (-1, 2)).tolist()
        shape = {"label": "pit", "shape_type": "polygon", "points": corners}
        size = dict(zip(("imageWidth", "imageHeight"), part.size_px(frame), strict=True))
        content = {"imagePath": Path(name).name, "shapes": [shape], **size}
        (root / name).with_suffix(".json").write_text(json.dumps(content))
    return Labelme(frame=said)


TRUE, SWAPPED = "coco polygons, true size", "coco polygons, stored size"
# Source -> how it is written, and the frames that the sizes of a wide image prove.
SOURCES = {
    "folder masks": (folder_masks, FRAMES),
    "csv masks": (csv_masks, FRAMES),
    "csv boxes": (csv_boxes, ()),
    "coco polygons": (coco(polygon), ()),
    "coco boxes": (coco(lambda part, frame: []), ()),
    TRUE: (coco(polygon, "shown"), ("shown",)),
    SWAPPED: (coco(polygon, "stored"), ()),
    "coco runs": (coco(runs), ("shown",)),
    "yolo": (yolo, ()),
    "labelme": (labelme, ("shown",)),
}
