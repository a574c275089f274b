"""Finds and names defects in a user's own images, in the words that the user gives.

From Python the same is `predictor.py`; what is written of each result is in `inference/`.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import track

from datamodules.decode import read_header
from datamodules.file_walk import (
    MORE_PAGES,
    UNREADABLE,
    count_reasons,
    is_lost_image,
    write_reasons,
)
from datamodules.vocabulary import Vocabulary
from experiments.cli import check_is_free, error_line, run_command, whole_folder
from experiments.inference.inputs import InputImage, check_images_stay, find_images
from experiments.tables import Table, print_table

if TYPE_CHECKING:
    from experiments.inference.result_files import AddResult
    from experiments.inference.truth import Truth
    from experiments.predictor import Predictor

Tool = Literal["cvat", "label_studio"]
TABLE, REPORT, COCO, LEFT_OUT = "answers.csv", "report.html", "predictions.json", "left_out.csv"
ENTRIES = ("labels", "overlays", TABLE, REPORT, COCO, "cvat", "label_studio", "gallery", LEFT_OUT)
PARTIAL_CODE = 3


def predict(
    *,
    checkpoint: Path,
    images: str,
    out: Path,
    root: str = "",
    labels: str | None = None,
    examples: Path | None = None,
    truth: Path | None = None,
    naming: Literal["", "softmax", "independent"] = "",
    thresholds: str = "",
    export: list[Tool] | None = None,
    label_studio_address: str = "",
    precision: Literal["32", "bf16", "16"] = "32",
    device: str = "",
    overwrite: bool = False,
) -> int:
    """Find and name defects in images, in any words.

    Where some images can't be read, the others are still predicted: left_out.csv in --out names
    them, and the exit code is 3.

    Args:
        checkpoint: a run directory, a .ckpt in it, a release, or an .onnx or .xml in one
        images: an image, a folder, a glob in quotes, a COCO .json, or a .csv with a column image
        out: a new folder for the results
        root: where the names of a .json or .csv start (beside it)
        labels: classes parted by ";", synonyms by ",": "crack; scratch, scuff; good; not shadow"
            (default: the classes that the model was trained on)
        examples: a folder with images/NAME/ and masks/, a manifest.parquet, or the folder gallery
            of an earlier run's --out: regions are named by those they are like, else "unknown";
            beside --labels by both (default: the gallery that came with a release, beside words)
        truth: a folder with images/NAME/ and perhaps masks/, or a manifest.parquet, that says what
            the images show: prints how often each name is right
        naming: softmax: names compete; independent: a name's score is the same whatever other
            names are in the list (default: as trained)
        thresholds: a thresholds.json (default: the model's own)
        export: also write what these tools import, for a person to correct
        label_studio_address: what stands before an image's name where Label Studio finds it
            (default: that of its local files)
        precision: bf16 or 16: half the memory for the frozen nets, faster where the device can
        device: cpu, cuda, cuda:1 (default: the first GPU, else the CPU)
        overwrite: replace an earlier run's results in --out
    """
    if labels is not None:
        Vocabulary.parse(labels)
    inputs, left_out = find_images(images, root)
    check_is_free(out, entries=ENTRIES, overwrite=overwrite)
    check_images_stay(inputs, out.resolve())
    from experiments.inference.result_files import count_defects
    from experiments.predictor import load_predictor

    predictor = load_predictor(
        checkpoint, device=device, naming=naming, thresholds=thresholds, precision=precision
    )
    predictor.use_labels(labels)
    use_examples(predictor, examples, [one.path for one in inputs])
    predictor.look_at(one.path for one in inputs)
    counts = read_truth(predictor, truth, inputs)
    console = Console(stderr=True)
    hidden = not console.is_terminal
    rows = []
    unreadable: dict[str, str] = {}
    with whole_folder(out, entries=ENTRIES, overwrite=overwrite) as folder, ExitStack() as stack:
        files = result_files(folder, predictor, export or [], label_studio_address)
        writers = [stack.enter_context(file) for file in files]
        writers += [counts.add] if counts else []
        for image in track(inputs, "predicting", console=console, transient=True, disable=hidden):
            try:
                result = predictor.predict(image.path)
            except (ValueError, OSError) as error:
                unreadable[image.file_name] = f"{UNREADABLE}: {error_line(error)}"
                if len(unreadable) == len(inputs):
                    raise
                rows.append((image.file_name, UNREADABLE, "-", "-"))
                continue
            for add in writers:
                add(image, result)
            if read_header(image.path).page_count > 1:
                left_out[image.file_name] = MORE_PAGES
            name = result.name + (", needs review" if result.needs_review else "")
            defects = ", ".join(count_defects(result)) or "-"
            rows.append((image.file_name, name, f"{result.image_score:.2f}", defects))
        left_out |= unreadable
        is_partial = any(map(is_lost_image, left_out.values()))
        if is_partial:
            write_reasons(folder / LEFT_OUT, left_out)
    print_table(
        counts.table()
        if counts
        else Table("What is in the images", ("image", "answer", "score", "defects"), tuple(rows))
    )
    say_where(out.resolve(), left_out, is_partial)
    return PARTIAL_CODE if is_partial else 0


def say_where(place: Path, left_out: dict[str, str], is_partial: bool) -> None:
    """Prints where results are, and which files have none."""
    print(f"look at {place / REPORT}; all results are in {place}")
    for line in count_reasons(left_out):
        print(f"left out: {line}", file=sys.stderr)
    if is_partial:
        print(f"some images have no answer: see {place / LEFT_OUT}", file=sys.stderr)


def read_truth(
    predictor: "Predictor", truth: Path | None, images: Sequence[InputImage]
) -> "Truth | None":
    """What counts how often the names that are asked for are right, None without a truth."""
    if truth is None:
        return None
    from experiments.inference.truth import Truth

    return Truth(truth, images, predictor.vocabulary)


def use_examples(predictor: "Predictor", examples: Path | None, images: Sequence[Path]) -> None:
    """Names by examples where there are some; says how many of the images are such themselves."""
    if examples is None:
        return
    from experiments.inference.examples import example_images

    predictor.use_examples(examples)
    shared = example_images(examples) & {image.resolve() for image in images}
    if shared:
        print(
            f"{len(shared)} of the images are examples themselves: how these are named proves "
            "nothing; keep examples apart from what you test",
            file=sys.stderr,
        )


def result_files(
    folder: Path, predictor: "Predictor", tools: list[Tool], address: str
) -> "Sequence[AbstractContextManager[AddResult]]":
    """All files that results are written into, to be opened; a gallery is written at once."""
    from datamodules.formats.tool_paths import LOCAL_FILES
    from experiments.inference import labelling_tools, result_files
    from experiments.inference.report_page import report_page

    vocabulary = predictor.vocabulary
    if predictor.gallery:
        predictor.gallery.save(folder / "gallery")
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
        files.append(
            labelling_tools.label_studio_tasks(place / "tasks.json", address=address or LOCAL_FILES)
        )
    return files


if __name__ == "__main__":
    run_command(predict)
