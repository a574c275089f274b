"""Finds and names defects in a user's own images, in the words that the user gives.

From Python the same is `predictor.py`; what is written for each answer is in `answering/`.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from datamodules.formats.label_studio_names import LOCAL_FILES
from datamodules.sample import GOOD
from datamodules.vocabulary import Vocabulary
from experiments.answering.answer import Answer
from experiments.answering.answers_table import AnswersTable
from experiments.answering.coco_file import CocoFile, compressed, uncompressed
from experiments.answering.inputs import AskedImage, check_images_stay, find_images
from experiments.answering.label_studio import LabelStudioTasks
from experiments.answering.labelling_setup import (
    write_cvat_labels,
    write_label_studio_interface,
)
from experiments.answering.picture_files import LABELS_FOLDER, OVERLAYS_FOLDER, PictureFiles
from experiments.answering.report_page import ReportPage
from experiments.command import run_command
from experiments.devices import default_device
from experiments.output_folder import check_is_free, whole_folder
from experiments.predictor import PRECISIONS, Predictor, load_predictor, read_labels

ANSWERS, REPORT, PREDICTIONS = "answers.csv", "report.html", "predictions.json"
CVAT, LABEL_STUDIO = "cvat", "label_studio"
PRECISION_HELP = (
    "bf16 or 16: half the memory for the frozen nets, and faster where the device computes in it"
)
ENTRIES = (LABELS_FOLDER, OVERLAYS_FOLDER, ANSWERS, REPORT, PREDICTIONS, CVAT, LABEL_STUDIO)


class AnswerFile(Protocol):
    """Something that answers are written into, image by image."""

    def add(self, image: AskedImage, answer: Answer) -> None:
        """Takes one image's answer."""
        ...

    def close(self) -> None:
        """Writes what is left."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the printed table."""

    image: str
    answer: str
    image_score: float
    defects: str


def main(argv: list[str] | None = None) -> int:
    """Writes label maps, overlays, tables and a report for the images asked for; 0 when done."""
    settings = make_parser().parse_args(argv)
    if settings.labels is not None:
        read_labels(settings.labels)  # before anything slow
    images = find_images(settings.images, settings.root)
    out = Path(settings.out).resolve()
    check_is_free(out, entries=ENTRIES, overwrite=settings.overwrite)
    check_images_stay(images, out)
    predictor = load_predictor(
        settings.checkpoint,
        device=settings.device,
        naming=settings.naming,
        thresholds=settings.thresholds,
        precision=settings.precision,
    )
    predictor.use_labels(settings.labels)
    with whole_folder(out, entries=ENTRIES, overwrite=settings.overwrite) as folder:
        rows = write_answers(predictor, images, folder, settings)
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
    add = parser.add_argument
    add("--checkpoint", type=str, required=True, help="a run directory, a .ckpt in it, a release")
    add(
        "--images",
        type=str,
        required=True,
        help="an image, a folder, a glob in quotes, a COCO .json, or a .csv with a column image",
    )
    add("--root", type=str, default="", help="where the names of a .json or .csv start (beside it)")
    add("--out", type=str, required=True, help="a new folder for the results")
    add(
        "--labels",
        type=str | None,
        default=None,
        help='classes parted by ";", synonyms by ",": "crack; scratch, scuff; good; not shadow" '
        "(default: the classes that the model was trained on)",
    )
    add(
        "--naming",
        choices=("", "softmax", "independent"),
        default="",
        help="softmax: names compete; independent: a name's score is the same whatever other "
        "names are in the list (default: as trained)",
    )
    add("--thresholds", type=str, default="", help="a thresholds.json (default: the model's own)")
    add(
        "--export",
        choices=(CVAT, LABEL_STUDIO),
        nargs="+",
        default=[],
        help="also write what these tools import, for a person to correct",
    )
    add(
        "--label_studio_address",
        type=str,
        default=LOCAL_FILES,
        help="what stands before an image's name where Label Studio finds it",
    )
    add("--precision", choices=tuple(PRECISIONS), default="32", help=PRECISION_HELP)
    add("--device", type=str, default=default_device(), help="cpu, cuda, cuda:1")
    add("--overwrite", action="store_true", help="replace an earlier run's results in --out")
    return parser


def write_answers(
    predictor: Predictor, images: dict[str, Path], folder: Path, settings: Namespace
) -> list[Row]:
    """Predicts image by image and writes the answers into `folder`; a table row for each."""
    console = Console(stderr=True)
    rows = []
    progress = track(
        images.items(),
        description="predicting",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with ExitStack() as stack:
        files = open_files(folder, predictor.vocabulary, settings)
        for file in files:
            stack.enter_context(closing(file))
        for name, path in progress:
            image, answer = AskedImage(name, path), predictor.predict(path, settings.labels)
            for file in files:
                file.add(image, answer)
            rows.append(describe(image.file_name, answer))
    return rows


def open_files(folder: Path, vocabulary: Vocabulary, settings: Namespace) -> list[AnswerFile]:
    """All that answers are written into, opened."""
    files: list[AnswerFile] = [
        PictureFiles(folder),
        AnswersTable(folder / ANSWERS),
        ReportPage(folder / REPORT, vocabulary.names),
        CocoFile(folder / PREDICTIONS, vocabulary, encode=compressed),
    ]
    for tool in settings.export:
        (folder / tool).mkdir()
    if CVAT in settings.export:
        write_cvat_labels(folder / CVAT / "labels.json", vocabulary)
        path = folder / CVAT / "annotations" / "instances_default.json"
        path.parent.mkdir()
        files.append(CocoFile(path, vocabulary, encode=uncompressed))
    if LABEL_STUDIO in settings.export:
        write_label_studio_interface(folder / LABEL_STUDIO / "interface.xml", vocabulary)
        path = folder / LABEL_STUDIO / "tasks.json"
        files.append(LabelStudioTasks(path, address=settings.label_studio_address))
    return files


def describe(image: str, answer: Answer) -> Row:
    """The table row of one image: its answer, and how many of which defects with the best score."""
    counts = Counter(one.name for one in answer.instances)
    best: dict[str, float] = {}
    for one in answer.instances:
        best[one.name] = max(one.score, best.get(one.name, 0.0))
    defects = [f"{count} {name} ({best[name]:.2f})" for name, count in counts.most_common()]
    words = f"{answer.name}, needs review" if answer.needs_review else answer.name
    return Row(image, words, answer.image_score, ", ".join(defects) or "-")


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
    console.print(f"look at {out / REPORT}; all results are in {out}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    run_command(main)
