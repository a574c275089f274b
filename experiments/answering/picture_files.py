"""Answers as pictures at their image's size: label maps of class ids, and overlays to look at."""

from pathlib import Path

import numpy as np
from PIL import Image

from callbacks.drawing import class_color
from experiments.answering.answer import Answer
from experiments.answering.inputs import AskedImage

LABELS_FOLDER, OVERLAYS_FOLDER = "labels", "overlays"


class PictureFiles:
    """Writes `labels/<name>.png` and `overlays/<name>.png` below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, image: AskedImage, answer: Answer) -> None:
        """Writes both pictures of one image."""
        pictures = {
            LABELS_FOLDER: label_picture(answer.label_map, len(answer.names)),
            OVERLAYS_FOLDER: Image.fromarray(answer.draw()),
        }
        for kind, picture in pictures.items():
            path = self._folder / kind / f"{image.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)

    def close(self) -> None:
        """Nothing is left to write."""


def label_picture(label_map: np.ndarray, class_count: int) -> Image.Image:
    """Class ids as a palette picture whose indices are the ids; 16-bit grey above 256 classes."""
    if class_count > 256:
        return Image.fromarray(label_map.astype(np.uint16))
    picture = Image.fromarray(label_map.astype(np.uint8), mode="L")
    colors = [(0, 0, 0), *(class_color(class_id) for class_id in range(1, class_count))]
    picture.putpalette([channel for color in colors for channel in color])
    return picture
