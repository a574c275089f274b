"""Answers as Label Studio tasks with polygons, for a person to correct.

Polygons and not brush strokes, because only polygons come back in its COCO export as they were
drawn: of strokes it exports outer contours through pixel centres, without holes. The labels that
a project needs are in `labelling_setup.py`.
"""

import json
from pathlib import Path
from urllib.parse import quote

from datamodules.formats.label_studio_names import LOCAL_FILES
from experiments.answering.answer import Answer, NamedInstance
from experiments.answering.inputs import AskedImage
from experiments.answering.outlines import trace_polygon

CONTROL, OBJECT = "defect", "image"
MODEL_VERSION = "DiffuseDefect"


class LabelStudioTasks:
    """Writes one task per image, as they come: the picture's address and polygons in percent.

    The tasks also carry `answer`, `image_score` and `needs_review`, by which they can be filtered.
    address: what stands before the file name, where the pictures are served.
    """

    def __init__(self, path: Path, *, address: str = LOCAL_FILES) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._address = address
        self._is_first = True
        self._file.write("[")

    def add(self, image: AskedImage, answer: Answer) -> None:
        """Writes the task of one image."""
        task = {
            "data": {
                OBJECT: self._address + quote(image.file_name),
                "answer": answer.name,
                "image_score": round(answer.image_score, 4),
                "needs_review": answer.needs_review,
            },
            "predictions": [
                {
                    "model_version": MODEL_VERSION,
                    "score": answer.image_score,
                    "result": [
                        polygon_result(one, number) for number, one in enumerate(answer.instances)
                    ],
                }
            ],
        }
        self._file.write("\n" if self._is_first else ",\n")
        self._file.write(json.dumps(task))
        self._is_first = False

    def close(self) -> None:
        """Ends the list and closes the file."""
        self._file.write("\n]\n")
        self._file.close()


def polygon_result(instance: NamedInstance, number: int) -> dict[str, object]:
    """One instance as Label Studio's result: corners in percent of the picture's sides."""
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
