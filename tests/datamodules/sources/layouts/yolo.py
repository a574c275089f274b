"""Own images with YOLO text labels, as a data.yaml of another machine names them."""

from pathlib import Path

from tests.datamodules.sources.painting import save, texture

BOX = "0 0.25 0.375 0.3 0.25"
POLYGON = "1 0.1 0.25 0.3 0.25 0.3 0.4 0.1 0.4"
YAML = """path: ../datasets/mine
train: images/train
val: images/val
nc: 2
names: [Pin-Hole, crack]
"""


def write(root: Path) -> None:
    """Boxes, a polygon, an empty text (good) and an image without text (unlabelled)."""
    write_yolo(root, YAML)
    add(root, "train/a b.JPG", f"{BOX}\n{POLYGON}\n")
    add(root, "train/line 1/ü.png", POLYGON)
    add(root, "train/good.png", "")
    add(root, "train/new.bmp", None)
    add(root, "val/a b.JPG", BOX)


def write_yolo(root: Path, text: str) -> None:
    """The file data.yaml with this text."""
    (root / "data.yaml").write_text(text, encoding="utf-8")


def add(root: Path, name: str, label: str | None) -> None:
    """An image images/`name` of 50 x 40 px, and its label where there is one."""
    save(root / "images" / name, texture(sum(name.encode())))
    if label is not None:
        path = (root / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(label, encoding="utf-8")
