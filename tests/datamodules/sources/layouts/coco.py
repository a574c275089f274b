"""Own images with three COCO files, one of them a list without annotations."""

import json
from pathlib import Path

from tests.datamodules.sources.painting import save, texture

SQUARE = [5, 10, 20, 10, 20, 20, 5, 20]
CATEGORIES = [{"id": 3, "name": "Pin-Hole"}, {"id": 9, "name": "crack", "supercategory": "x"}]


def write(root: Path) -> None:
    """Polygons, both kinds of run lengths, boxes, a good image and an unlabelled one."""
    names = ["train/a b.JPG", "train/line 1/ü.png", "train/c.bmp", "train/good.png"]
    write_coco(
        root,
        "instances_train.json",
        [f"images/{name}" for name in names],
        [
            annotation(1, 3, segmentation=[SQUARE, [30, 5, 34, 5, 34, 9]]),
            annotation(1, 9, segmentation={"size": [40, 50], "counts": [410, 10, 1580]}, iscrowd=1),
            annotation(2, 9, segmentation={"size": [40, 50], "counts": "j<:\\a1"}),
            annotation(3, 3, bbox=[5, 10, 15.5, 10]),
        ],
    )
    write_coco(
        root, "instances_val2017.json", ["val2017/a b.JPG"], [annotation(1, 9, bbox=[1, 2, 3, 4])]
    )
    write_coco(root, "image_info_test.json", ["test/new.tif"], None)


def write_coco(
    root: Path, file: str, images: list[str], annotations: list[dict[str, object]] | None
) -> None:
    """Images at root/`images`, and a COCO file that calls them by their names in their folder."""
    entries: list[dict[str, object]] = []
    for number, image in enumerate(images, start=1):
        save(root / image, texture(sum(f"{file}{image}".encode())))
        name = image.removeprefix("images/").partition("/")[2] or image
        entries.append({"id": number, "file_name": name, "width": 50, "height": 40})
    content: dict[str, object] = {"images": entries, "categories": CATEGORIES}
    if annotations is not None:
        numbered = [{"id": number, **one} for number, one in enumerate(annotations)]
        content["annotations"] = numbered
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / file).write_text(json.dumps(content), encoding="utf-8")


def annotation(image_id: int, category_id: int, **rest: object) -> dict[str, object]:
    """One annotation without its id."""
    return {"image_id": image_id, "category_id": category_id, **rest}
