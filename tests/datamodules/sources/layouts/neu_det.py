"""Steel strip with Pascal VOC boxes, whose <filename> is sometimes wrong."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.datamodules.sources.painting import save, texture

Corners = tuple[int, int, int, int]


def write(root: Path) -> None:
    """Three training images, one of them with boxes of two types, and a validation image."""
    images, annotations = root / "IMAGES", root / "ANNOTATIONS"
    write_strip(images, annotations, "crazing_1", {"crazing": (1, 1, 50, 40)})
    two = {"inclusion": (1, 1, 30, 30), "patches": (5, 5, 9, 9)}
    write_strip(images, annotations, "patches_104", two)
    scale = {"rolled-in_scale": (6, 11, 20, 20)}
    write_strip(images, annotations, "rolled-in_scale_3", scale)
    images, annotations = root / "Validation_Images", root / "Validation_Annotations"
    write_strip(images, annotations, "pitted_surface_2", {"pitted_surface": (2, 2, 8, 9)})


def write_strip(images: Path, annotations: Path, stem: str, boxes: Mapping[str, Corners]) -> None:
    """One image of three equal channels and its XML, which forgets the ending of its name."""
    save(images / f"{stem}.jpg", np.repeat(texture(len(stem))[..., None], 3, axis=2))
    write_voc(annotations / f"{stem}.xml", boxes)


def write_voc(path: Path, boxes: Mapping[str, Corners]) -> None:
    """A Pascal VOC file with one object per name, corners (xmin, ymin, xmax, ymax)."""
    objects = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{left}</xmin>"
        f"<ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>\n"
        for name, (left, top, right, bottom) in boxes.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><folder>new</folder><filename>{path.stem}</filename>"
        "<path>C:\\Users\\a\\img1.jpg</path><size><width>50</width><height>40</height>"
        f"<depth>1</depth></size>\n{objects}</annotation>",
        encoding="utf-8",
    )
