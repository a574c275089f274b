"""Small sets of a user's own on disk, in each format: write_<source>(root)."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.captions import Caption
from datamodules.formats.synthetic_mark import Origin, origin_text
from datamodules.manifest import write_manifest
from datamodules.sample import GOOD, UNLABELLED, MaskValues, Record, Region
from datamodules.vocabulary import Vocabulary
from tests.datamodules.sources.painting import save, spot, texture

Json = dict[str, object]
SETTINGS: dict[str, dict[str, object]] = {
    "merged": {"manifests": ["tiles/manifest.parquet", "out/manifest.parquet"]},
    "synthetic": {"image_count": 11, "image_size_px": 64},
}
COCO_SQUARE = [5, 10, 20, 10, 20, 20, 5, 20]
SQUARE = [[5, 10], [20, 10], [20, 20], [5, 20]]
YOLO_BOX, YOLO_POLYGON = "0 0.25 0.375 0.3 0.25", "1 0.1 0.25 0.3 0.25 0.3 0.4 0.1 0.4"
CHECKPOINT = "ab" * 32
PAINTED, DRAWN, GOOD_PART, UNKNOWN = range(4)


def write_text(path: Path, text: str) -> None:
    """A text file, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_folder(root: Path) -> None:
    """Two defective images and a good one with their masks, and a scratch without one."""
    for number, name in enumerate(("crack", "scratch", "good")):
        save(root / f"images/{name}/a.png", texture(number))
        save(root / f"masks/{name}/a.png", spot(0 if name == "good" else 255))
    save(root / "images/scratch/Line 2/b.BMP", texture(7))


def write_csv(root: Path) -> None:
    """A mask, boxes, a good image, types without place, an unnamed mask, an unlabelled one."""
    names = ("shots/a b.JPG", "shots/ü.png", "good.bmp", "two.png", "unnamed.png", "new.tif")
    for number, name in enumerate(names):
        save(root / name, texture(number))
    save(root / "masks/a.png", spot(255))
    save(root / "masks/good.png", spot(0))
    table = """\ufeff\
Image,Mask,Type,Caption,Product,Material,Group,Split,Licence,Left,Top,Width,Height
shots/a b.JPG,masks/a.png,Pin-Hole,"A tile, with a hole.",tile,ferrite,board 7,train,CC0-1.0,,,,
shots/ü.png,,crack,,,,board 8,test,,5,10,15.5,10
shots/ü.png,,dent,,,,,,,1,2,3,4
good.bmp,masks/good.png,good,,,,,,,,,,
two.png,,crack;dent,,,,,,,,,,
unnamed.png,masks/a.png,,,,,,,,,,,
new.tif,,,,,,,,,,,,
"""
    write_text(root / "records.csv", table)


def write_coco(root: Path) -> None:
    """Polygons, both kinds of run lengths, boxes, a good image and an unlabelled one."""
    names = ("train/a b.JPG", "train/line 1/ü.png", "train/c.bmp", "train/good.png")
    annotations = [
        annotation(1, 3, segmentation=[COCO_SQUARE, [30, 5, 34, 5, 34, 9]]),
        annotation(1, 9, segmentation={"size": [40, 50], "counts": [410, 10, 1580]}, iscrowd=1),
        annotation(2, 9, segmentation={"size": [40, 50], "counts": "j<:\\a1"}),
        annotation(3, 3, bbox=[5, 10, 15.5, 10]),
    ]
    add_coco(root, "instances_train.json", [f"images/{name}" for name in names], annotations)
    boxed = annotation(1, 9, bbox=[1, 2, 3, 4])
    add_coco(root, "instances_val2017.json", ["val2017/a b.JPG"], [boxed])
    add_coco(root, "image_info_test.json", ["test/new.tif"], None)


def add_coco(
    root: Path, file: str, images: Sequence[str], annotations: Sequence[Json] | None
) -> None:
    """Images at root/`images`, and a COCO file that calls them by their names in their folder."""
    entries: list[Json] = []
    for number, image in enumerate(images, start=1):
        save(root / image, texture(sum(f"{file}{image}".encode())))
        name = image.removeprefix("images/").partition("/")[2] or image
        entries.append({"id": number, "file_name": name, "width": 50, "height": 40})
    names = [{"id": 3, "name": "Pin-Hole"}, {"id": 9, "name": "crack", "supercategory": "x"}]
    content: Json = {"images": entries, "categories": names}
    if annotations is not None:
        content["annotations"] = [{"id": k, **one} for k, one in enumerate(annotations)]
    write_text(root / "annotations" / file, json.dumps(content))


def annotation(image_id: int, category_id: int, **rest: object) -> Json:
    """One annotation of a COCO file without its id."""
    return {"image_id": image_id, "category_id": category_id, **rest}


def write_labelme(root: Path) -> None:
    """Each shape with an area, a good image, a flagged one and one without JSON."""
    mask = {"mask": png(np.ones((3, 4), bool)), "points": [[6, 7], [9, 9]], "shape_type": "mask"}
    rectangle, circle = ([[25, 4], [30, 2]], "rectangle"), ([[25, 20], [30, 20]], "circle")
    add_labelme(root, "train/a b.JPG", shape("Pin-Hole"), shape("crack", *rectangle))
    add_labelme(root, "train/c.png", shape("dent", *circle), shape("crack") | mask)
    add_labelme(root, "train/ü.bmp")
    add_labelme(root, "val/flagged.png", flags={"stain": True, "dent": False})
    save(root / "train/new.png", texture(9))
    save(root / "images/line 1/d.png", texture(8))
    write_shapes(root / "json/d.json", "..\\images\\line 1\\d.png", shape("crack"))


def shape(label: str, points: Sequence[object] = SQUARE, kind: str = "polygon") -> Json:
    """A shape of labelme."""
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


def add_labelme(root: Path, name: str, *shapes: Json, flags: dict[str, bool] | None = None) -> None:
    """An image of 50 x 40 px with its JSON beside it."""
    save(root / name, texture(sum(name.encode())))
    write_shapes((root / name).with_suffix(".json"), Path(name).name, *shapes, flags=flags or {})


def write_shapes(path: Path, image: str, *shapes: Json, **changed: object) -> None:
    """A file as labelme writes it, for an image of 50 x 40 px unless changed."""
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": "aGVsbG8=",
        "imageHeight": 40,
        "imageWidth": 50,
    }
    write_text(path, json.dumps(content | changed))


def png(mask: np.ndarray) -> str:
    """A mask (H, W) as the base64 PNG of labelme's mask shapes."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def write_yolo(root: Path) -> None:
    """Boxes, a polygon, an empty text (good) and an image without text (unlabelled)."""
    splits = "train: images/train\nval: images/val\n"
    write_text(root / "data.yaml", f"path: ../datasets/mine\n{splits}names: [Pin-Hole, crack]\n")
    add_yolo(root, "train/a b.JPG", f"{YOLO_BOX}\n{YOLO_POLYGON}\n")
    add_yolo(root, "train/line 1/ü.png", YOLO_POLYGON)
    add_yolo(root, "train/good.png", "")
    add_yolo(root, "train/new.bmp", None)
    add_yolo(root, "val/a b.JPG", YOLO_BOX)


def add_yolo(root: Path, name: str, label: str | None) -> None:
    """An image images/`name` of 50 x 40 px, and its label where there is one."""
    save(root / "images" / name, texture(sum(name.encode())))
    if label is not None:
        write_text((root / "labels" / name).with_suffix(".txt"), label)


def write_synthetic(root: Path) -> None:
    """Nothing: the source renders its images itself."""


def write_generated(root: Path) -> None:
    """A crack painted with its mask, and a drawn stain, a good part, and one in free words."""
    rows = [
        add_generated(root, PAINTED, Caption("tile", defect="crack", location="the left"), "crack"),
        add_generated(root, DRAWN, Caption("tile", defect="stain"), "stain"),
        add_generated(root, GOOD_PART, Caption("tile"), "good"),
        add_generated(root, UNKNOWN, None, None),
    ]
    save(root / "masks/000000.png", spot(255))
    rows[PAINTED] |= {"mask": "masks/000000.png", "source_sha256": "cd" * 32}
    write_rows(root, rows)


def add_generated(root: Path, number: int, caption: Caption | None, defect: str | None) -> Json:
    """One marked image, and its line of the table."""
    prompt = caption.render() if caption else "A rusty bolt."
    origin = Origin(prompt, number, CHECKPOINT, "ddim", 50, 1.5)
    name = f"images/{number:06}.png"
    (root / "images").mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(texture(number).astype(np.uint8))
    image.save(root / name, pnginfo=origin_text(origin))
    told = asdict(caption) if caption else None
    return {"image": name, "mask": "", "caption": told, "defect": defect, **asdict(origin)}


def write_rows(root: Path, rows: Sequence[Json]) -> None:
    """The table of generated images."""
    write_text(root / "generated.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def read_rows(root: Path) -> list[Json]:
    """The rows of the table of generated images."""
    return [json.loads(line) for line in (root / "generated.jsonl").read_text().splitlines()]


def write_merged(root: Path) -> None:
    """A set with masks beside its manifest, and one with boxes whose manifest lies elsewhere."""
    write_set(root / "tiles", root / "tiles/manifest.parquet", source="tiles", defect="pin-hole")
    write_set(root / "boards/raw", root / "out/manifest.parquet", source="boards", defect="pore")


def write_set(folder: Path, manifest: Path, *, source: str, defect: str = "pore") -> None:
    """Four images, one per split, train and val defective, and the manifest of them."""
    values = (MaskValues(0, 127, GOOD), MaskValues(128, 255, defect))
    records = []
    for number, split in enumerate(("train", "val", "test", UNLABELLED)):
        name = f"images/{split} {number}.png"
        save(folder / name, texture(number + len(source)))
        defects = (defect,) if split in ("train", "val") else ()
        record = Record(
            image=name,
            mask="mask.png" if split == "train" else "",
            mask_values=values if split == "train" else (),
            defects=defects,
            caption=Caption("tile", defect=" and ".join(defects)),
            group=f"run {number}",
            source=source,
            split=split,
            regions=(Region(defect, "box", (5, 5, 9, 9)),) if split == "val" else (),
            licence=f"licence of {source}",
        )
        records.append(record)
    save(folder / "mask.png", spot(255))
    names = Vocabulary.from_names([defect])
    write_manifest(manifest, records, root=folder, vocabulary=names, source=source)
