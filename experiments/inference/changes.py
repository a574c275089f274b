"""What going on from a run changed: its weights and the new ones on the same test images.

The images are the older run's own test images, which no correction ever joins or leaves.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from callbacks.drawing import (
    draw_overlay,
    join_side_by_side,
    pixels_of,
    resize_image,
    scale_to_fit,
    tags_of_instances,
    tags_of_map,
)
from datamodules.imdd import IMDDDataModule
from datamodules.sample import GOOD, GOOD_ID, Batch, Prediction
from datamodules.whole_files import write_whole
from experiments.checkpoints import default_device, load_stage, on_device
from experiments.serving.agreement import people_and_machine
from experiments.serving.corrections import Corrections, is_corrections
from experiments.tables import Cell, Table, format_cell, print_table
from lightning_modules.segmentation_module import SegmentationModule

JSON_NAME, PAGE_NAME = "changes.json", "changes.html"
PAGE = Path(__file__).with_name("changes.html")
LEAST_IOU_STEP = 0.1
KINDS = BETTER, SAME, WORSE = "better", "same", "worse"
SIDE_PX = 240
MOST_SHOWN = 200  # of each kind


@dataclass(frozen=True, slots=True)
class Answer:
    """What one net says of an image: its name, whether that is true, and how well it is marked.

    iou: of all that is marked with all that is defective; of a good image 1 where nothing is
    marked, else 0; None where no mask says what is defective.
    """

    name: str
    is_right: bool
    iou: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """One test image: what it shows, and both answers."""

    image: str
    shown: str
    before: Answer
    after: Answer

    @property
    def kind(self) -> str:
        """Better or worse where the answer became so or, else, the IoU moved by LEAST_IOU_STEP."""
        step = float(self.after.is_right) - float(self.before.is_right)
        if not step and self.before.iou is not None and self.after.iou is not None:
            step = self.after.iou - self.before.iou
            step = step if abs(step) >= LEAST_IOU_STEP else 0.0
        return BETTER if step > 0 else WORSE if step < 0 else SAME


@rank_zero_only
def report_changes(
    start: Path,
    model: SegmentationModule,
    data: IMDDDataModule,
    directory: Path,
    corrected: Path,
) -> None:
    """Writes changes.json and changes.html in the run's directory, and prints the counts.

    start: the older run; model: the new one, tested; corrected: the folder of corrections: where
    they come from serve's page, how often people overrode the machine stands there too.
    """
    older = load_stage(start)
    older.set_vocabulary(data.division.tested)
    nets = [on_device(one, default_device()).eval() for one in (older, model)]
    changes, cards = [], Counter[str]()
    shown: dict[str, list[str]] = {kind: [] for kind in (WORSE, BETTER)}
    trainer, data.trainer = data.trainer, None  # this process alone reads what all had shares of
    loader = data.test_dataloader()
    data.trainer = trainer
    for batch in loader:
        found = [predictions_of(net, batch) for net in nets]
        for place, (before, after) in enumerate(zip(*found, strict=True)):
            change = compare(batch, place, before, after, data)
            changes.append(change)
            cards[change.kind] += 1
            if change.kind in shown and cards[change.kind] <= MOST_SHOWN:
                shown[change.kind].append(card(change, batch, place, before, after, data))
    tables = [counts_table(changes)]
    content: dict[str, object] = {"from": str(start)}
    content["counts"] = {kind: cards[kind] for kind in KINDS}
    if is_corrections(corrected):
        people = people_and_machine(Corrections(corrected).read_all())
        content["people_and_machine"] = dict(people.figures)
        tables += [replace(one, title=f"{people.title}: {one.title}") for one in people.tables]
    content["images"] = [asdict(one) | {"change": one.kind} for one in changes]
    write_whole(directory / JSON_NAME, json.dumps(content, indent=2) + "\n")
    write_whole(directory / PAGE_NAME, page_of(start, tables, shown))
    for table in tables:
        print_table(table)


def predictions_of(net: SegmentationModule, batch: Batch) -> list[Prediction]:
    """What a net says of a batch of images."""
    with torch.inference_mode():
        return net.predict_images(list(batch.image.to(net.device)))


def compare(
    batch: Batch, place: int, before: Prediction, after: Prediction, data: IMDDDataModule
) -> Change:
    """The change of one image of a batch."""
    names = data.division.tested.names
    ids = batch.class_ids[place]
    mask = batch.mask[place].numpy() > 0 if bool(batch.has_mask[place]) else None

    def answer(one: Prediction) -> Answer:
        is_right = one.type_id == (ids[0] if ids else GOOD_ID)
        return Answer(names[one.type_id], is_right, overlap(one.label_map.cpu().numpy() > 0, mask))

    image = data.index[int(batch.row[place])].image
    return Change(image, names[ids[0]] if ids else GOOD, answer(before), answer(after))


def overlap(marked: np.ndarray, mask: np.ndarray | None) -> float | None:
    """The IoU of two (H, W) bool, 1 where both are empty; None without a mask."""
    if mask is None:
        return None
    union = int((marked | mask).sum())
    return float((marked & mask).sum()) / union if union else 1.0


def counts_table(changes: list[Change]) -> Table:
    """How many images became better, stayed and became worse, by what they show."""

    def row(name: str, ones: list[Change]) -> tuple[Cell, ...]:
        counts = Counter(one.kind for one in ones)
        right = [sum(one.is_right for one in side) / len(ones) for side in sides(ones)]
        ious = [mean_of([a.iou for a in side if a.iou is not None]) for side in sides(ones)]
        return (name, len(ones), *(counts[kind] for kind in KINDS), *right, *ious)

    shown = sorted({one.shown for one in changes}, key=lambda name: (name != GOOD, name))
    rows = [row(name, [one for one in changes if one.shown == name]) for name in shown]
    columns = ("shows", "images", *KINDS, "right before", "after", "IoU before", "after")
    return Table(
        "What going on changed, on the older run's test images",
        columns,
        (*rows, row("all", changes)),
    )


def sides(changes: list[Change]) -> Iterator[list[Answer]]:
    """The answers before, then those after."""
    yield [one.before for one in changes]
    yield [one.after for one in changes]


def mean_of(values: list[float]) -> float | None:
    """The mean, None of nothing."""
    return float(np.mean(values)) if values else None


def card(
    change: Change,
    batch: Batch,
    place: int,
    before: Prediction,
    after: Prediction,
    data: IMDDDataModule,
) -> str:
    """One image of the page: what is true, what was said before, what is said now."""
    names = data.division.tested.names
    pixels = pixels_of(batch.image[place])
    mask = batch.mask[place].numpy()
    panels = [draw_overlay(pixels, mask, tags_of_map(mask, names))]
    for one in (before, after):
        tags = tags_of_instances(one.instances, names)
        panels.append(draw_overlay(pixels, one.label_map.cpu().numpy(), tags))
    scale = scale_to_fit(pixels, SIDE_PX)
    sheet = join_side_by_side([resize_image(panel, scale) for panel in panels])
    _, content = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    address = base64.b64encode(content.tobytes()).decode()
    words = " &rarr; ".join(
        f"{escape(one.name)}{'' if one.iou is None else f' (IoU {one.iou:.2f})'}"
        for one in (change.before, change.after)
    )
    return (
        f"<figure><img alt='' src='data:image/jpeg;base64,{address}'>"
        f"<figcaption>{escape(change.image)}: {escape(change.shown)}; {words}</figcaption></figure>"
    )


def html_of(table: Table) -> str:
    """A table with its title above."""
    head = "".join(f"<th>{escape(one)}</th>" for one in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(format_cell(cell))}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    return f"<h2>{escape(table.title)}</h2><table><tr>{head}</tr>{rows}</table>"


def page_of(start: Path, tables: list[Table], shown: dict[str, list[str]]) -> str:
    """The page of all that became worse, then better; whatever a user named is escaped."""
    parts = "".join(
        f"<h2>{kind} ({len(cards)} shown)</h2>{''.join(cards) or '<p>none</p>'}"
        for kind, cards in shown.items()
    )
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        start=escape(str(start)), tables="".join(map(html_of, tables)), parts=parts
    )
