"""Holds the charts of a test: one picture each, by one process, of what the module counted."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from PIL import Image

from callbacks.evaluation_charts import (
    EvaluationCharts,
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_types,
    pixels_of_figure,
)

CURVES = SimpleNamespace(
    names=("good", "crack", "stain"),
    confusion=torch.tensor([[5, 1, 0], [0, 3, 2], [0, 0, 0]]),
    precision_recall={
        "pixels": torch.tensor([[0.5, 1.0], [1.0, 0.4]]),
        "images": torch.empty(0, 2),
    },
    reliability={"image": torch.tensor([[0.2, 0.1, 7.0], [0.9, 1.0, 4.0]])},
)


class Counts:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def curves(self, split: str) -> SimpleNamespace:
        """The same curves each time."""
        self.asked.append(split)
        return CURVES


@pytest.mark.parametrize(("is_first", "count"), [(True, 4), (False, 0)])
def test_each_process_asks_and_the_first_draws(is_first: bool, count: int, tmp_path: Path) -> None:
    counts = Counts()
    trainer = SimpleNamespace(
        is_global_zero=is_first, global_step=7, default_root_dir=tmp_path, loggers=[]
    )
    module = cast(LightningModule, SimpleNamespace(evaluation=counts))
    EvaluationCharts().on_test_epoch_end(cast(Trainer, trainer), module)
    assert counts.asked == ["test"]
    kinds = ("confusion", "precision_recall", "reliability", "types")
    names = [f"{kind}_7.png" for kind in kinds]
    found = sorted(path.name for path in tmp_path.rglob("*.png"))
    assert found == names[:count]
    for path in tmp_path.rglob("*.png"):
        assert np.asarray(Image.open(path)).std() > 10


def test_confusion_writes_the_counts_and_the_names_of_both_sides() -> None:
    (axes,) = draw_confusion(CURVES.names, CURVES.confusion).axes
    assert sorted(text.get_text() for text in axes.texts) == ["1", "2", "3", "5"]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["good", "crack", "stain"]


def test_types_that_do_not_occur_have_no_bar() -> None:
    (axes,) = draw_types(CURVES.names, CURVES.confusion).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "crack"]
    assert [text.get_text() for text in axes.texts] == ["5 of 6", "3 of 5"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([5 / 6, 3 / 5])


def test_curve_without_points_is_left_out() -> None:
    (axes,) = draw_precision_recall(CURVES.precision_recall).axes
    assert [line.get_label() for line in axes.lines] == ["pixels"]
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 1.0], [1.0, pytest.approx(0.4)]]


def test_reliability_says_how_many_scores_it_rests_on() -> None:
    figure = draw_reliability(CURVES.reliability)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["image (11 scores)"]
    assert pixels_of_figure(figure).shape == (600, 600, 3)
