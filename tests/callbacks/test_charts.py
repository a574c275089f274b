"""Holds what the charts of a test show."""

from types import SimpleNamespace

import pytest
import torch

from callbacks.charts import (
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
    pixels = pixels_of_figure(figure)
    assert pixels.shape == (600, 600, 3) and pixels.std() > 10
