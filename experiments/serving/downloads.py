"""What people accepted or corrected as one archive: COCO, or what CVAT and Label Studio import."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from datamodules.decode import open_image
from datamodules.formats.tool_paths import LOCAL_FILES
from datamodules.vocabulary import Vocabulary
from experiments.inference import labelling_tools
from experiments.inference.inputs import InputImage
from experiments.inference.result_files import AddResult, coco_file
from experiments.predictor import Result
from experiments.serving.agreement import names_in
from experiments.serving.corrections import Correction, Corrections
from experiments.serving.regions import result_of

Tool = Literal["coco", "cvat", "label_studio"]
TOOLS: dict[Tool, str] = {"coco": "COCO", "cvat": "CVAT", "label_studio": "Label Studio"}


def write_archive(corrections: Corrections, tool: Tool, folder: Path) -> Path:
    """A new .zip in the folder: images/ with every settled image, and the tool's files.

    ValueError where no image is settled yet.
    """
    settled = [one for one in corrections.read_all() if one.settled]
    if not settled:
        raise ValueError("nothing is accepted yet: accept or correct an image first")
    names = names_in([one.settled.regions for one in settled if one.settled])
    place = folder / tool
    place.mkdir(parents=True, exist_ok=True)
    with _files(place, tool, Vocabulary.from_names(names[1:])) as add:
        for one in settled:
            add(*_result(one, corrections, names))
    archive = folder / f"{tool}.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as packed:
        for file in sorted(path for path in place.rglob("*") if path.is_file()):
            packed.write(file, file.relative_to(place))
        for one in settled:
            image = corrections.image_of(one)
            packed.write(image, f"images/{image.name}", ZIP_STORED)
    return archive


def _result(
    one: Correction, corrections: Corrections, names: Sequence[str]
) -> tuple[InputImage, Result]:
    assert one.settled
    image = corrections.image_of(one)
    result = result_of(open_image(image), one.settled.machine, one.settled.regions, names)
    return InputImage(one.key, image), result


def _files(place: Path, tool: Tool, vocabulary: Vocabulary) -> AbstractContextManager[AddResult]:
    """What takes each image and its result; the tool's other files are written at once."""
    if tool == "label_studio":
        labelling_tools.write_label_studio_interface(place / "interface.xml", vocabulary)
        return labelling_tools.label_studio_tasks(place / "tasks.json", address=LOCAL_FILES)
    annotations = place / "annotations"
    annotations.mkdir(exist_ok=True)
    if tool == "coco":
        return coco_file(annotations / "instances.json", vocabulary)
    labelling_tools.write_cvat_labels(place / "labels.json", vocabulary)
    return coco_file(annotations / "instances_default.json", vocabulary, is_compressed=False)
