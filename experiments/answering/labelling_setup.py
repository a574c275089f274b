"""What a project in a labelling tool is set up with: the defect types in the overlays' colours."""

import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

from callbacks.drawing import class_color
from datamodules.sample import GOOD_ID
from datamodules.vocabulary import Vocabulary
from experiments.answering.label_studio import CONTROL, OBJECT


def write_cvat_labels(path: Path, vocabulary: Vocabulary) -> None:
    """The labels as CVAT takes them under "Raw"; its import knows no other names."""
    labels = [
        {"name": name, "color": color, "attributes": []} for name, color in _colors(vocabulary)
    ]
    path.write_text(json.dumps(labels, indent=1), encoding="utf-8")


def write_label_studio_interface(path: Path, vocabulary: Vocabulary) -> None:
    """The labelling interface for the tasks of `label_studio.py`, as Label Studio takes it."""
    labels = [
        f"    <Label value={quoteattr(name)} background={quoteattr(color)}/>"
        for name, color in _colors(vocabulary)
    ]
    lines = [
        "<View>",
        f'  <Image name="{OBJECT}" value="${OBJECT}" zoom="true"/>',
        f'  <PolygonLabels name="{CONTROL}" toName="{OBJECT}" strokeWidth="2" pointSize="small">',
        *labels,
        "  </PolygonLabels>",
        "</View>",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _colors(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Each defect type's name and its colour as #rrggbb."""
    return [
        (name, "#{:02x}{:02x}{:02x}".format(*class_color(class_id)))
        for class_id, name in enumerate(vocabulary.names)
        if class_id != GOOD_ID
    ]
