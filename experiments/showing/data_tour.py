"""What a data set holds: pictures with their captions and masks, its types, its augmentation."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure

from callbacks.drawing import draw_overlay, pixels_of
from datamodules.imdd import IMDDDataModule
from datamodules.sample import Sample
from datamodules.sampler import Draw
from experiments.showing.picture_rows import picture_rows

COLUMNS = 4


def caption_sheet(data: IMDDDataModule, count: int = 8) -> Figure:
    """Training crops of all types with the outlines of their masks, each under its caption."""
    dataset = data.training_dataset()
    rows = rows_of_all_types(data, count)
    return _sheet(dataset[Draw(row, 0)] for row in rows)


def augmented_sheet(data: IMDDDataModule, row: int, count: int = 8) -> Figure:
    """One picture as training sees it, turn after turn: what moves takes its words along."""
    dataset = data.training_dataset()
    return _sheet(dataset[Draw(row, turn)] for turn in range(count))


def type_counts(data: IMDDDataModule) -> Figure:
    """How many pictures of each type are in each split, most frequent first."""
    splits = ("train", "val", "test")
    counts = {split: Counter(data.index.types_of(data.division.rows_of(split))) for split in splits}
    names = [name for name, _ in sum(counts.values(), Counter[str]()).most_common()]
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    bottom = np.zeros(len(names))
    for split, found in counts.items():
        heights = np.array([found[name] for name in names])
        axes.bar(names, heights, bottom=bottom, label=split)
        bottom += heights
    axes.tick_params(axis="x", rotation=45)
    axes.set_ylabel("pictures")
    axes.legend()
    return figure


def rows_of_all_types(data: IMDDDataModule, count: int) -> list[int]:
    """Training rows, the types in turn."""
    rows = data.division.rows_of("train")
    by_type: dict[str, list[int]] = {}
    for row, name in zip(rows.tolist(), data.index.types_of(rows), strict=True):
        by_type.setdefault(name, []).append(row)
    turns = [
        found[turn] for turn in range(count) for found in by_type.values() if turn < len(found)
    ]
    return turns[:count]


def _sheet(samples: Iterable[Sample]) -> Figure:
    """Samples in rows of four."""
    shown = [
        (draw_overlay(pixels_of(one.image), one.mask.numpy(), []), one.caption) for one in samples
    ]
    rows = [shown[at : at + COLUMNS] for at in range(0, len(shown), COLUMNS)]
    return picture_rows(
        [[picture for picture, _ in row] for row in rows],
        titles=[[caption for _, caption in row] for row in rows],
    )
