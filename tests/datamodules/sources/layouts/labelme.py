"""Own images with labelme's JSON beside them or in a folder of their own."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.datamodules.sources.painting import save, texture

SQUARE = [[5, 10], [20, 10], [20, 20], [5, 20]]


def write(root: Path) -> None:
    """Each shape with an area, a good image, a flagged one and one without JSON."""
    mask = {"mask": png(np.ones((3, 4), bool)), "points": [[6, 7], [9, 9]], "shape_type": "mask"}
    add(root, "train/a b.JPG", [shape("Pin-Hole", SQUARE), shape("crack", [[25, 4], [30, 2]])])
    add(root, "train/c.png", [shape("dent", [[25, 20], [30, 20]], "circle"), shape("crack") | mask])
    add(root, "train/ü.bmp", [])
    add(root, "val/flagged.png", [], flags={"stain": True, "dent": False})
    save(root / "train/new.png", texture(9))
    save(root / "images/line 1/d.png", texture(8))
    write_json(root / "json/d.json", [shape("crack", SQUARE)], "..\\images\\line 1\\d.png")


def shape(label: str, points: list[list[float]] | None = None, kind: str = "") -> dict[str, object]:
    """A shape of labelme; two points are a rectangle unless said otherwise."""
    points = points or SQUARE
    kind = kind or ("rectangle" if len(points) == 2 else "polygon")
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


def add(
    root: Path, name: str, shapes: list[dict[str, object]], flags: dict[str, bool] | None = None
) -> None:
    """An image of 50 x 40 px with its JSON beside it."""
    save(root / name, texture(sum(name.encode())))
    path = (root / name).with_suffix(".json")
    write_json(path, shapes, Path(name).name, flags=flags)


def write_json(
    path: Path,
    shapes: list[dict[str, object]],
    image_path: str,
    *,
    flags: dict[str, bool] | None = None,
    size_px: tuple[int, int] = (50, 40),
) -> None:
    """A file as labelme writes it, for an image of size_px (width, height)."""
    content = {
        "version": "5.4.1",
        "flags": flags or {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": "aGVsbG8=",
        "imageHeight": size_px[1],
        "imageWidth": size_px[0],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def png(mask: np.ndarray) -> str:
    """A mask (H, W) as the base64 PNG of labelme's mask shapes."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
