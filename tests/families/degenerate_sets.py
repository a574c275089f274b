"""Sets that are one thing only, in each format of a user's own: WRITERS[source](root, parts)."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.datamodules.sources.own_layouts import Json, write_text
from tests.datamodules.sources.painting import save

BOX = (5, 6, 12, 10)  # left, top, width, height


@dataclass(frozen=True, slots=True)
class Part:
    """One image: its types, none for a good one, None where nobody has looked.

    how: the types are told by a "mask", a "box", a "blank" mask or the "image" alone.
    """

    types: tuple[str, ...] | None = ()
    how: str = "mask"
    split: str = ""
    size_px: tuple[int, int] = (36, 40)  # height, width

    def box(self, place: int) -> tuple[int, int, int, int]:
        """Where its type number `place` is: left, top, width, height, inside the image."""
        height, width = self.size_px
        left, top = min(BOX[0] + place, width - 1), min(BOX[1], height - 1)
        return left, top, min(BOX[2], width - left), min(BOX[3], height - top)


Writer = Callable[[Path, Sequence[Part]], None]


def pixels(root: Path, number: int, size_px: tuple[int, int]) -> np.ndarray:
    """An image like no other one, of this set or another one's."""
    return np.random.default_rng([number, *root.parent.name.encode()]).integers(0, 255, size_px)


def mask_of(part: Part) -> np.ndarray:
    """The mask (H, W) of 0 and 255 of all its types."""
    mask = np.zeros(part.size_px)
    for place in range(len(part.types or ()) if part.how == "mask" else 0):
        left, top, width, height = part.box(place)
        mask[top : top + height, left : left + width] = 255
    return mask


def corners(box: tuple[int, int, int, int]) -> list[list[int]]:
    """The corners of a box, in turn."""
    left, top, width, height = box
    right, bottom = left + width, top + height
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def write_folder(root: Path, parts: Sequence[Part]) -> None:
    """A folder for each type, and masks."""
    for number, part in enumerate(parts):
        assert part.types is not None and part.how != "box" and not part.split
        place = f"{(part.types or ('good',))[0]}/{number:03}.png"
        save(root / "images" / place, pixels(root, number, part.size_px))
        if part.how != "image":
            save(root / "masks" / place, mask_of(part))


def write_csv(root: Path, parts: Sequence[Part]) -> None:
    """A table with a row for each image, or for each of its boxes."""
    rows = ["image,mask,type,split,left,top,width,height"]
    for number, part in enumerate(parts):
        name, types = f"{number:03}.png", part.types or ()
        save(root / name, pixels(root, number, part.size_px))
        if part.how == "box" and types:
            boxes = [",".join(map(str, part.box(place))) for place in range(len(types))]
            rows += [f"{name},,{t},{part.split},{b}" for t, b in zip(types, boxes, strict=True)]
            continue
        has_mask = part.types is not None and part.how in ("mask", "blank")
        if has_mask:
            save(root / "masks" / name, mask_of(part))
        word = "" if part.types is None else ";".join(types) or "good"
        rows.append(f"{name},{f'masks/{name}' if has_mask else ''},{word},{part.split},,,,")
    write_text(root / "records.csv", "\n".join(rows) + "\n")


def write_coco(root: Path, parts: Sequence[Part]) -> None:
    """A file for each split, one without annotations for what nobody has looked at.

    One of the categories is shown by no image.
    """
    names = sorted({t for part in parts for t in part.types or ()} | {"hole"})
    files: dict[str, list[tuple[int, Part]]] = defaultdict(list)
    for number, part in enumerate(parts):
        save(root / f"images/{number:03}.png", pixels(root, number, part.size_px))
        kind = "image_info_new" if part.types is None else f"instances_{part.split or 'all'}"
        files[kind].append((number, part))
    for file, members in files.items():
        content: Json = {
            "categories": [{"id": k, "name": name} for k, name in enumerate(names)],
            "images": [
                {"id": n, "file_name": f"{n:03}.png", "width": p.size_px[1], "height": p.size_px[0]}
                for n, p in members
            ],
        }
        if file != "image_info_new":
            content["annotations"] = [
                {"image_id": n, "category_id": names.index(name), **outline(part, place)}
                for n, part in members
                for place, name in enumerate(part.types or ())
            ]
        write_text(root / f"annotations/{file}.json", json.dumps(content))


def outline(part: Part, place: int) -> Json:
    """What COCO says of where a type is."""
    box = part.box(place)
    if part.how == "mask":
        return {"segmentation": [[number for corner in corners(box) for number in corner]]}
    return {"bbox": box} if part.how == "box" else {}


def write_yolo(root: Path, parts: Sequence[Part]) -> None:
    """Boxes and polygons relative to the image; data.yaml names a class that none shows."""
    names = sorted({t for part in parts for t in part.types or ()} | {"hole"})
    for number, part in enumerate(parts):
        assert part.how in ("mask", "box") or not part.types
        folder = part.split or "all"
        save(root / f"images/{folder}/{number:03}.png", pixels(root, number, part.size_px))
        if part.types is None:
            continue
        height, width = part.size_px
        lines = []
        for place, name in enumerate(part.types):
            left, top, wide, high = part.box(place)
            if part.how == "box":
                numbers = [(left + wide / 2) / width, (top + high / 2) / height]
                numbers += [wide / width, high / height]
            else:
                numbers = [n for x, y in corners(part.box(place)) for n in (x / width, y / height)]
            lines.append(f"{names.index(name)} {' '.join(f'{n:.6f}' for n in numbers)}")
        write_text(root / f"labels/{folder}/{number:03}.txt", "\n".join(lines))
    splits = sorted({part.split for part in parts if part.split})
    places = "".join(f"{split}: images/{split}\n" for split in splits)
    write_text(root / "data.yaml", f"names: {json.dumps(names)}\n{places}")


def write_labelme(root: Path, parts: Sequence[Part]) -> None:
    """A JSON beside each image that somebody has looked at."""
    for number, part in enumerate(parts):
        name = f"{part.split or 'all'}/{number:03}"
        save(root / f"{name}.png", pixels(root, number, part.size_px))
        if part.types is None:
            continue
        drawn = part.types if part.how in ("mask", "box") else ()
        shapes = []
        for place, label in enumerate(drawn):
            points = corners(part.box(place))
            kind = "polygon" if part.how == "mask" else "rectangle"
            points = points if part.how == "mask" else points[::2]
            shapes.append({"label": label, "points": points, "shape_type": kind})
        content = {
            "shapes": shapes,
            "flags": {t: True for t in part.types if not drawn},
            "imagePath": f"{number:03}.png",
            "imageHeight": part.size_px[0],
            "imageWidth": part.size_px[1],
        }
        write_text(root / f"{name}.json", json.dumps(content))


WRITERS: dict[str, Writer] = {
    "folder": write_folder,
    "csv": write_csv,
    "coco": write_coco,
    "yolo": write_yolo,
    "labelme": write_labelme,
}
