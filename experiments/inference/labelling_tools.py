"""Results for labelling tools, for a person to correct: Label Studio's tasks, CVAT's labels.

Label Studio gets polygons and not brush strokes, because only polygons come back in its COCO
export as they were drawn: of strokes it exports outer contours through pixel centres, without
holes. CVAT reads the masks of `result_files.coco_file`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from callbacks.drawing import class_color
from datamodules.sample import GOOD_ID
from datamodules.vocabulary import Vocabulary
from experiments.inference.inputs import InputImage
from experiments.inference.outlines import trace_polygon
from experiments.inference.result_files import AddResult
from experiments.predictor import NamedInstance, Result

CONTROL, OBJECT = "defect", "image"
INTERFACE = f"""<View>
  <Image name="{OBJECT}" value="${OBJECT}" zoom="true"/>
  <PolygonLabels name="{CONTROL}" toName="{OBJECT}" strokeWidth="2" pointSize="small">
%s
  </PolygonLabels>
</View>
"""


@contextmanager
def label_studio_tasks(path: Path, *, address: str) -> Iterator[AddResult]:
    """A JSON list of tasks: the image's address, and polygons in percent.

    The tasks also carry `answer`, `image_score` and `needs_review`, by which they can be filtered.
    address: what stands before the file name, where the images are served.
    """
    tasks: list[dict[str, object]] = []

    def add(image: InputImage, result: Result) -> None:
        facts = {
            OBJECT: address + quote(image.file_name),
            "answer": result.name,
            "image_score": round(result.image_score, 4),
            "needs_review": result.needs_review,
        }
        prediction = {
            "model_version": "DiffuseDefect",
            "score": result.image_score,
            "result": [_polygon(one, number) for number, one in enumerate(result.instances)],
        }
        tasks.append({"data": facts, "predictions": [prediction]})

    yield add
    path.write_text(json.dumps(tasks), encoding="utf-8")


def _polygon(instance: NamedInstance, number: int) -> dict[str, object]:
    """One instance as Label Studio's result: corners in percent of the image's sides."""
    height, width = instance.mask.shape
    corners = trace_polygon(instance.mask).tolist()
    return {
        "id": f"defect{number}",
        "type": "polygonlabels",
        "from_name": CONTROL,
        "to_name": OBJECT,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": instance.score,
        "value": {
            "points": [[100 * x / width, 100 * y / height] for x, y in corners],
            "closed": True,
            "polygonlabels": [instance.name],
        },
    }


def write_label_studio_interface(path: Path, vocabulary: Vocabulary) -> None:
    """The labelling interface for the tasks, as Label Studio takes it."""
    labels = [
        f"    <Label value={quoteattr(name)} background={quoteattr(color)}/>"
        for name, color in _colors(vocabulary)
    ]
    path.write_text(INTERFACE % "\n".join(labels), encoding="utf-8")


def write_cvat_labels(path: Path, vocabulary: Vocabulary) -> None:
    """The labels as CVAT takes them under "Raw"; its import knows no other names."""
    labels = [
        {"name": name, "color": color, "attributes": []} for name, color in _colors(vocabulary)
    ]
    path.write_text(json.dumps(labels, indent=1), encoding="utf-8")


def _colors(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Each defect type's name and its colour in the overlays as #rrggbb."""
    return [
        (name, "#{:02x}{:02x}{:02x}".format(*class_color(class_id)))
        for class_id, name in enumerate(vocabulary.names)
        if class_id != GOOD_ID
    ]
