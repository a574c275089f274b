"""Finds and names defects in a user's own images, in the words that the user gives.

From Python the same is `predictor.py`; what is written of each result is in `inference/`.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from datamodules.formats.coco import LOCAL_FILES
from datamodules.vocabulary import Vocabulary
from experiments.cli import run_command
from experiments.inference.inputs import InputImage, check_images_stay, find_images
from experiments.output_folder import check_is_free, whole_folder

if TYPE_CHECKING:
    from experiments.inference.result_files import AddResult
    from experiments.predictor import Predictor, Result

Tool = Literal["cvat", "label_studio"]
TABLE, REPORT, COCO = "answers.csv", "report.html", "predictions.json"
ENTRIES = ("labels", "overlays", TABLE, REPORT, COCO, "cvat", "label_studio")


def predict(
    *,
    checkpoint: Path,
    images: str,
    out: Path,
    root: str = "",
    labels: str | None = None,
    naming: Literal["", "softmax", "independent"] = "",
    thresholds: str = "",
    export: list[Tool] | None = None,
    label_studio_address: str = LOCAL_FILES,
    precision: Literal["32", "bf16", "16"] = "32",
    device: str = "",
    overwrite: bool = False,
) -> None:
    """Find and name defects in images, in any words.

    Args:
        checkpoint: a run directory, a .ckpt in it, a release
        images: an image, a folder, a glob in quotes, a COCO .json, or a .csv with a column image
        out: a new folder for the results
        root: where the names of a .json or .csv start (beside it)
        labels: classes parted by ";", synonyms by ",": "crack; scratch, scuff; good; not shadow"
            (default: the classes that the model was trained on)
        naming: softmax: names compete; independent: a name's score is the same whatever other
            names are in the list (default: as trained)
        thresholds: a thresholds.json (default: the model's own)
        export: also write what these tools import, for a person to correct
        label_studio_address: what stands before an image's name where Label Studio finds it
        precision: bf16 or 16: half the memory for the frozen nets, faster where the device can
        device: cpu, cuda, cuda:1 (default: the first GPU, else the CPU)
        overwrite: replace an earlier run's results in --out
    """
    if labels is not None:
        Vocabulary.parse(labels)
    inputs = find_images(images, root)
    check_is_free(out, entries=ENTRIES, overwrite=overwrite)
    check_images_stay(inputs, out.resolve())
    from experiments.predictor import load_predictor

    predictor = load_predictor(
        checkpoint, device=device, naming=naming, thresholds=thresholds, precision=precision
    )
    predictor.use_labels(labels)
    with whole_folder(out, entries=ENTRIES, overwrite=overwrite) as folder:
        files = result_files(folder, predictor.vocabulary, export or [], label_studio_address)
        results = write_results(predictor, inputs, labels, files)
    print_results(results, out.resolve())


def write_results(
    predictor: "Predictor",
    inputs: Sequence[InputImage],
    labels: str | None,
    files: "Sequence[AbstractContextManager[AddResult]]",
) -> dict[str, tuple[str, str, str]]:
    """Predicts image by image and writes each result into all files; summaries by image."""
    console, summaries = Console(stderr=True), {}
    with ExitStack() as stack:
        writers = [stack.enter_context(file) for file in files]
        for image in track(
            inputs,
            "predicting",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ):
            result = predictor.predict(image.path, labels)
            for add in writers:
                add(image, result)
            summaries[image.file_name] = summarise(result)
    return summaries


def result_files(
    folder: Path, vocabulary: Vocabulary, tools: list[Tool], address: str
) -> "list[AbstractContextManager[AddResult]]":
    """All files that results are written into, to be opened."""
    from experiments.inference import labelling_tools, result_files
    from experiments.inference.report_page import report_page

    files = [
        result_files.label_and_overlay_files(folder),
        result_files.results_table(folder / TABLE),
        report_page(folder / REPORT, vocabulary.names),
        result_files.coco_file(folder / COCO, vocabulary),
    ]
    if "cvat" in tools:
        path = folder / "cvat" / "annotations" / "instances_default.json"
        path.parent.mkdir(parents=True)
        labelling_tools.write_cvat_labels(folder / "cvat" / "labels.json", vocabulary)
        files.append(result_files.coco_file(path, vocabulary, is_compressed=False))
    if "label_studio" in tools:
        place = folder / "label_studio"
        place.mkdir()
        labelling_tools.write_label_studio_interface(place / "interface.xml", vocabulary)
        files.append(labelling_tools.label_studio_tasks(place / "tasks.json", address=address))
    return files


def summarise(result: "Result") -> tuple[str, str, str]:
    """A table's cells for one result: name, image score, how many of which defects."""
    best: dict[str, float] = {}
    for one in result.instances:
        best[one.name] = max(one.score, best.get(one.name, 0.0))
    counts = Counter(one.name for one in result.instances)
    defects = [f"{count} {name} ({best[name]:.2f})" for name, count in counts.most_common()]
    review = ", needs review" if result.needs_review else ""
    return f"{result.name}{review}", f"{result.image_score:.2f}", ", ".join(defects) or "-"


def print_results(results: dict[str, tuple[str, str, str]], out: Path) -> None:
    """Prints the summaries and where the files are."""
    table = Table("image", "answer", "score", "defects", title="What is in the images")
    for column in table.columns:
        column.overflow = "fold"
    for name, (answer, score, defects) in results.items():
        color = "green" if answer == "good" else "red"
        table.add_row(Text(name), Text(answer, color), score, Text(defects))
    console = Console()
    console.print(table)
    console.print(f"look at {out / REPORT}; all results are in {out}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    run_command(predict)
