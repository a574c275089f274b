"""Finds and names defects in a user's own images, in the words that the user gives.

Which file a checkpoint is and how it becomes a model is in `checkpoints.py`.
"""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from jsonargparse import ArgumentParser
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text
from torch import Tensor

from callbacks.drawing import class_color, draw_overlay, tags_of_instances
from datamodules.pictures.image_files import IMAGE_SUFFIXES, open_image
from datamodules.sample import GOOD, Prediction
from datamodules.transforms import to_tensor
from datamodules.vocabulary import Vocabulary
from experiments.checkpoints import load_stage
from experiments.coco import CocoFile
from experiments.command import run_command
from experiments.devices import default_device, on_device
from experiments.output_folder import check_is_free, whole_folder

ENTRIES = ("labels", "overlays", "predictions.json")


class PredictsImages(Protocol):
    """What predict needs of a loaded stage."""

    vocabulary: Vocabulary

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """From now on the answers are in these classes."""
        ...

    def predict_image(self, image: Tensor) -> Prediction:
        """The answer for one image (3, H, W) in [-1, 1] of any size."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the printed table."""

    image: str
    answer: str
    image_score: float
    defects: str


def main(argv: list[str] | None = None) -> int:
    """Writes label maps, overlays and one COCO JSON for the images asked for; 0 when done."""
    settings = make_parser().parse_args(argv)
    vocabulary = None if settings.labels is None else Vocabulary.parse(settings.labels)
    images = find_images(settings.images)
    out = Path(settings.out).resolve()
    check_is_free(out, entries=ENTRIES, overwrite=settings.overwrite)
    check_images_stay(images, out)
    stage = open_stage(Path(settings.checkpoint), settings.device)
    if vocabulary is not None:
        stage.set_vocabulary(vocabulary)
    with whole_folder(out, entries=ENTRIES, overwrite=settings.overwrite) as folder:
        rows = write_predictions(stage, images, folder, device=settings.device)
    print_table(rows, out)
    return 0


def make_parser() -> ArgumentParser:
    """The command line of predict."""
    parser = ArgumentParser(
        prog="python -m experiments.predict",
        description="Find and name defects in images, in any words.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--checkpoint",
        type=str,
        required=True,
        help="a run directory, a .ckpt inside one, or a release",
    )
    parser.add_argument(
        "--images", type=str, required=True, help="an image, a folder, or a glob in quotes"
    )
    parser.add_argument("--out", type=str, required=True, help="a new folder for the results")
    parser.add_argument(
        "--labels",
        type=str | None,
        default=None,
        help='classes parted by ";", synonyms by ",": "crack; scratch, scuff; good" '
        "(default: the classes that the model was trained on)",
    )
    parser.add_argument("--device", type=str, default=default_device(), help="cpu, cuda, cuda:1")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier run's results in --out"
    )
    return parser


def open_stage(checkpoint: Path, device: str) -> PredictsImages:
    """The trained stage on `device`, ready to answer; ValueError, FileNotFoundError in one line."""
    stage = load_stage(checkpoint)
    missing = [name for name in ("predict_image", "set_vocabulary") if not hasattr(stage, name)]
    if missing:
        raise ValueError(
            f"checkpoint {checkpoint} holds {type(stage).__name__}, which finds no masks: "
            "give the run's finetune stage"
        )
    return cast(PredictsImages, on_device(stage, device).eval())


def find_images(pattern: str) -> dict[str, Path]:
    """Result name -> image, for a file, a folder with its subfolders, or a glob, sorted by name.

    A folder or glob gives files with an image's suffix that are not hidden. FileNotFoundError
    where there are none.
    """
    path = Path(pattern).expanduser()
    if path.is_file():
        return {path.stem: path}
    is_folder = path.is_dir()
    found = path.rglob("*") if is_folder else map(Path, glob.glob(str(path), recursive=True))
    images = sorted(
        image
        for image in found
        if image.suffix.lower() in IMAGE_SUFFIXES
        and not image.name.startswith(".")
        and image.is_file()
    )
    if not images:
        kind = "holds no image" if is_folder else "matches no image"
        raise FileNotFoundError(
            f"--images {pattern} {kind}: expected an image, a folder or a glob in quotes of "
            f"files that end in {' '.join(IMAGE_SUFFIXES)}"
        )
    top = path if is_folder else Path(os.path.commonpath([image.parent for image in images]))
    return name_results([image.relative_to(top) for image in images], images)


def name_results(relative: Sequence[Path], images: Sequence[Path]) -> dict[str, Path]:
    """Image paths without suffix -> images; the suffix stays where two would share a name."""
    short = [path.with_suffix("").as_posix() for path in relative]
    uses = Counter(name.lower() for name in short)
    return {
        name if uses[name.lower()] == 1 else path.as_posix(): image
        for name, path, image in zip(short, relative, images, strict=True)
    }


def check_images_stay(images: dict[str, Path], out: Path) -> None:
    """ValueError when an image lies in the folder that would be replaced."""
    for image in images.values():
        if out in image.resolve().parents:
            raise ValueError(f"image {image} lies inside --out {out}: choose another --out")


def write_predictions(
    stage: PredictsImages, images: dict[str, Path], folder: Path, *, device: str
) -> list[Row]:
    """Predicts image by image and writes the results into `folder`; a table row for each."""
    console = Console(stderr=True)
    coco = CocoFile(stage.vocabulary)
    rows = []
    progress = track(
        images.items(),
        description="predicting",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for name, path in progress:
        image = open_image(path)
        with torch.inference_mode():
            prediction = stage.predict_image(to_tensor(image).to(device))
        write_pictures(folder, name, image=image, prediction=prediction, stage=stage)
        coco.add(str(path), prediction)
        rows.append(describe(path.name, prediction, stage.vocabulary.names))
    coco.write(folder / "predictions.json")
    return rows


def write_pictures(
    folder: Path, name: str, *, image: np.ndarray, prediction: Prediction, stage: PredictsImages
) -> None:
    """Writes `labels/<name>.png` (class ids) and `overlays/<name>.png` at the image's size."""
    names = stage.vocabulary.names
    label_map = prediction.label_map.cpu().numpy()
    overlay = draw_overlay(image, label_map, tags_of_instances(prediction.instances, names))
    pictures = {
        "labels": label_picture(label_map, len(names)),
        "overlays": Image.fromarray(overlay),
    }
    for kind, picture in pictures.items():
        path = folder / kind / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def label_picture(label_map: np.ndarray, class_count: int) -> Image.Image:
    """Class ids as a palette picture whose indices are the ids; 16-bit grey above 256 classes."""
    if class_count > 256:
        return Image.fromarray(label_map.astype(np.uint16))
    picture = Image.fromarray(label_map.astype(np.uint8), mode="L")
    colors = [(0, 0, 0), *(class_color(class_id) for class_id in range(1, class_count))]
    picture.putpalette([channel for color in colors for channel in color])
    return picture


def describe(image: str, prediction: Prediction, names: Sequence[str]) -> Row:
    """The table row of one image: its answer, and how many of which defects with the best score."""
    counts = Counter(instance.class_id for instance in prediction.instances)
    best = {
        class_id: max(one.score for one in prediction.instances if one.class_id == class_id)
        for class_id in counts
    }
    defects = [f"{count} {names[k]} ({best[k]:.2f})" for k, count in counts.most_common()]
    return Row(image, names[prediction.type_id], prediction.image_score, ", ".join(defects) or "-")


def print_table(rows: Sequence[Row], out: Path) -> None:
    """Prints the answers and where the files are."""
    table = Table("image", "answer", "score", "defects", title="What is in the images")
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        color = "green" if row.answer == GOOD else "red"
        score = f"{row.image_score:.2f}"
        table.add_row(Text(row.image), Text(row.answer, color), score, Text(row.defects))
    console = Console()
    console.print(table)
    console.print(
        f"label maps, overlays and predictions.json are in {out}", soft_wrap=True, markup=False
    )


if __name__ == "__main__":
    run_command(main)
