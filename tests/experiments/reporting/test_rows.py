"""Holds that ours and the paper's share a row only where they are of one thing."""

import math

import pytest

from experiments.reporting.report import bars
from experiments.reporting.rows import (
    MEASURED,
    NO_ANSWER,
    NOT_RUN,
    PAPER_ONLY,
    PaperFigure,
    PaperTable,
    Row,
    estimate,
    paper_figure,
)
from experiments.tables import to_csv

PAPER = PaperFigure(0.529, "Table 6", "zero_shot", "mvtec_ad")
OURS = estimate([0.4, 0.5])


def row(setting: str, data: str) -> Row:
    return Row({"t": "50"}, "iou_image", OURS, setting=setting, data=data, scale="tiny")


@pytest.mark.parametrize(
    ("setting", "data"), [("full", "mvtec_ad"), ("zero_shot", "visa"), ("", "")]
)
def test_figure_of_another_setting_or_data_is_refused(setting: str, data: str) -> None:
    with pytest.raises(AssertionError, match="nothing of each other"):
        Row({"t": "50"}, "iou_image", OURS, PAPER, setting=setting, data=data)


@pytest.mark.parametrize(
    ("ours", "statuses"),
    [
        (row("zero_shot", "mvtec_ad"), [MEASURED]),
        (row("full", "neu_seg"), [MEASURED, PAPER_ONLY]),
        (Row({"t": "50"}, "iou_image", None), [PAPER_ONLY]),
        (Row({"t": "50"}, "iou_image", None, runs=("r1",)), [NO_ANSWER, PAPER_ONLY]),
    ],
)
def test_papers_figure_stands_beside_ours_or_below(ours: Row, statuses: list[str]) -> None:
    rows = ours.beside(PAPER)
    assert [one.status for one in rows] == statuses
    assert rows[-1].paper == PAPER and rows[-1].labels == ours.labels
    assert ours.beside(None) == [ours]
    assert Row({}, "iou_image").status == NOT_RUN


def test_papers_figure_is_found_by_its_labels_among_ours() -> None:
    labels = {"train": "imdd_1m", "test": "mvtec_ad", "protocol": "leak_free"}
    assert paper_figure("table_6", labels, "iou_image") == PAPER
    assert paper_figure("table_6", {**labels, "test": "mtd"}, "iou_image") is None
    assert paper_figure("", labels, "iou_image") is None


def test_table_says_of_each_figure_what_it_is() -> None:
    table = PaperTable("table_6", "Table 6", ("t",), tuple(row("full", "neu_seg").beside(PAPER)))
    lines = to_csv(table.as_table()).splitlines()
    spread = '"95 % interval, or both seeds"'
    assert lines[0] == f"t,figure,ours,{spread},seeds,paper,status,data,setting,scale"
    assert lines[1] == "50,iou_image,0.45,0.4000 and 0.5000,2,,measured,neu_seg,full,tiny"
    assert lines[2] == "50,iou_image,,,0,0.529,paper only,mvtec_ad,zero_shot,"


def test_interval_of_three_seeds_is_students() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found is not None
    # t(0.975, 2) = 4.3027, standard error 1 / sqrt(3)
    half = pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert (found.mean, found.high - found.mean, found.mean - found.low) == (2.0, half, half)


def test_bars_reach_to_both_values_of_two_seeds_and_show_nothing_of_one() -> None:
    two, one = estimate([0.1, 0.9]), estimate([0.5])
    assert two and one and two.ends == (0.1, 0.9)
    (axes,) = bars({"two": two, "one": one}, y="u").axes
    assert [bar.get_height() for bar in axes.patches] == [0.5, 0.5]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "spread", "words"),
    [
        ([0.1, math.nan], "", "+0.100; one seed, nothing can be said"),
        ([0.11, 0.10], "0.1100 and 0.1000", "+0.105 (+0.110 and +0.100)"),
        ([0.1, 0.3], "0.1000 and 0.3000", "+0.200 (+0.100 and +0.300), which may be nothing"),
        ([0.1, 0.11, 0.12], "0.0852 to 0.1348", "+0.110 (+0.085 to +0.135)"),
        ([0.005] * 2, "0.0050 and 0.0050", "+0.005 under each of 2 seeds; their spread is unknown"),
        ([-0.1, 0.1, 0.3], "-0.3968 to 0.5968", "+0.100 (-0.397 to +0.597), which may be nothing"),
    ],
)
def test_mean_is_told_with_what_it_is_worth(values: list[float], spread: str, words: str) -> None:
    found = estimate(values)
    assert found and (found.spread(), found.in_words()) == (spread, words)
    assert found.excludes_zero == words.endswith(")")
    assert estimate([math.nan]) is None
