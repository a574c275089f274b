"""Sets whose types have odd names, written in each format of a user's own: door(root, names)."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.manifest import Source
from datamodules.sources.coco import Coco
from datamodules.sources.csv import Csv
from datamodules.sources.folder import Folder
from datamodules.sources.labelme import Labelme
from datamodules.sources.yolo import Yolo

# As it is typed -> as it is shown. None of these in YAML needs quotes.
PLAIN = {
    **{word: word for word in ("on", "yes", "true", "010", "007", "1")},
    **{"NO": "no", "1_2": "1 2", "1:30": "1:30", "null": "null", "~": "~", "NA": "na"},
    **{"2026-11-28": "2026 11 28", "1e3": "1e3", ".inf": ".inf", "NaN": "nan", "0x1F": "0x1f"},
    **{"False": "false", "n": "n", "12.50": "12.50", "0o7": "0o7", "=": "=", "<<": "<<"},
}
SIGNS = {
    **{"Teil #5": "teil #5", "a+b": "a+b", "c++": "c++", "50 %": "50 %", "{x}": "{x}"},
    **{"[y]": "[y]", "&z": "&z", "*w": "*w", "!v": "!v", "@u": "@u", "a: b": "a: b", "'q'": "'q'"},
    **{"ﬁssure": "fissure", "ｆｕｌｌ　１": "full 1", "Riß": "riß", "İz": "i̇z", "划痕": "划痕"},
    **{"Трещина": "трещина", "キズ": "キズ", "ｷｽﾞ2": "キズ2", "crack\u00a0two": "crack two"},
    **{"pin\u2010hole": "pin hole", "__init__": "init", "cut and fold": "cut and fold"},
    **{"crack, deep": "crack deep", "  edge  ": "edge", "zero\u200bwidth": "zerowidth"},
    **{"🔥\ufe0f": "🔥", "not soldered": "not soldered", "no. 5": "no. 5"},
}
NAMES = PLAIN | SIGNS


def write_images(root: Path, names: list[str], place: str = "images/train/{}.png") -> list[str]:
    """An image for each name, none like another; their paths below the root."""
    paths = [place.format(number, name) for number, name in enumerate(names)]
    rng = np.random.default_rng(0)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(root / path)
    return paths


def yaml_word(name: str) -> str:
    """The name as a person would type it in YAML: in quotes only where it must be."""
    return name if name in PLAIN else json.dumps(name, ensure_ascii=False)


def write_yolo(root: Path, names: list[str], listed: str) -> Source:
    for number, path in enumerate(write_images(root, names)):
        label = (root / path.replace("images", "labels")).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{number} 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text(f"train: images/train\nval: null\nnames: {listed}\n")
    return Yolo()


def yolo_list(root: Path, names: list[str]) -> Source:
    return write_yolo(root, names, f"[{', '.join(map(yaml_word, names))}]")


def yolo_mapping(root: Path, names: list[str]) -> Source:
    lines = "".join(f"\n  {number}: {yaml_word(name)}" for number, name in enumerate(names))
    return write_yolo(root, names, lines)


def coco(root: Path, names: list[str]) -> Source:
    paths = write_images(root, names)
    content = {
        "images": [{"id": n, "file_name": path} for n, path in enumerate(paths, 1)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": n, "bbox": [4, 4, 8, 8]}
            for n in range(1, len(names) + 1)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
    }
    (root / "annotations").mkdir()
    (root / "annotations/instances.json").write_text(json.dumps(content))
    return Coco()


def write_labelme(root: Path, names: list[str], said: Callable[[str], dict[str, object]]) -> Source:
    for path, name in zip(write_images(root, names), names, strict=True):
        content = {"imagePath": Path(path).name, "imageHeight": 32, "imageWidth": 32, "shapes": []}
        (root / path).with_suffix(".json").write_text(json.dumps(content | said(name)))
    return Labelme()


def labelme_shape(root: Path, names: list[str]) -> Source:
    corners = [[4, 4], [9, 4], [9, 9]]
    return write_labelme(root, names, lambda name: {"shapes": [{"label": name, "points": corners}]})


def labelme_flag(root: Path, names: list[str]) -> Source:
    return write_labelme(root, names, lambda name: {"flags": {name: True}})


def csv_type(root: Path, names: list[str]) -> Source:
    quoted = (name.replace('"', '""') for name in names)
    rows = [f'{p},"{name}"' for p, name in zip(write_images(root, names), quoted, strict=True)]
    (root / "records.csv").write_text("\n".join(["image,type", *rows]) + "\n")
    return Csv()


def csv_mask_ids(root: Path, names: list[str]) -> Source:
    rows = ["image,mask"]
    for number, path in enumerate(write_images(root, names)):
        (root / "masks").mkdir(exist_ok=True)
        mask = np.zeros((32, 32), np.uint8)
        mask[4:9, 4:9] = number + 1
        Image.fromarray(mask).save(root / f"masks/{number}.png")
        rows.append(f"{path},masks/{number}.png")
    (root / "records.csv").write_text("\n".join(rows))
    return Csv(mask_ids={name: number for number, name in enumerate(names, 1)})


def folder_name(root: Path, names: list[str]) -> Source:
    write_images(root, names, "images/{1}/{0}.png")
    return Folder()


def labels_table(root: Path, names: list[str]) -> Source:
    paths = [Path(path).name for path in write_images(root, names, "images/{}.png")]
    rows = [f'{p},"{name}"' for p, name in zip(paths, names, strict=True)]
    (root / "labels.csv").write_text("\n".join(["image,type", *rows]))
    return Folder()


DOORS = (
    *(yolo_list, yolo_mapping, coco, labelme_shape, labelme_flag),
    *(csv_type, csv_mask_ids, folder_name, labels_table),
)
