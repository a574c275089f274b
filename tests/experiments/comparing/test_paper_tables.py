"""Holds that ours and the paper's stand in one row only where they are of one thing."""

import pytest

from experiments.comparing.estimates import estimate
from experiments.comparing.paper_tables import (
    MEASURED,
    NO_ANSWER,
    NOT_RUN,
    PAPER_ONLY,
    PaperFigure,
    PaperTable,
    Row,
    rows_of,
)
from experiments.tables import to_csv, to_latex

PAPER = PaperFigure(0.529, "Table 6", "zero_shot", "mvtec_ad")
OURS = estimate([0.4, 0.5])


def row(setting: str, data: str) -> Row:
    return Row({"t": "50"}, "iou_image", OURS, setting=setting, data=data, scale="tiny")


@pytest.mark.parametrize(
    ("setting", "data"), [("full", "mvtec_ad"), ("zero_shot", "visa"), ("", "")]
)
def test_figure_of_another_setting_or_data_is_refused(setting: str, data: str) -> None:
    with pytest.raises(ValueError, match="expected the same"):
        Row({"t": "50"}, "iou_image", OURS, PAPER, setting=setting, data=data)


def test_same_setting_and_data_share_a_row() -> None:
    (both,) = rows_of(row("zero_shot", "mvtec_ad"), PAPER)
    assert (both.ours, both.paper, both.status) == (OURS, PAPER, MEASURED)


def test_others_get_rows_of_their_own() -> None:
    ours, paper = rows_of(row("full", "neu_seg"), PAPER)
    assert (ours.paper, ours.status) == (None, MEASURED)
    assert (paper.ours, paper.status) == (None, PAPER_ONLY)
    assert paper.labels == ours.labels


def test_what_has_not_run_leaves_the_papers_word() -> None:
    (left,) = rows_of(Row({}, "iou_image", None), PAPER)
    assert left.status == PAPER_ONLY
    assert Row({}, "iou_image", None).status == NOT_RUN


def test_table_says_of_each_figure_what_it_is() -> None:
    table = PaperTable("table_6", "Table 6", ("t",), rows_of(row("full", "neu_seg"), PAPER))
    lines = to_csv(table.as_table()).splitlines()
    assert lines[0] == "t,figure,ours,95 % interval,seeds,paper,status,data,setting,scale"
    assert lines[1].startswith("50,iou_image,0.45,") and lines[1].endswith("neu_seg,full,tiny")
    assert lines[2] == "50,iou_image,,-,0,0.529,paper only,mvtec_ad,zero_shot,-"


def test_latex_escapes_what_it_would_read_as_its_own() -> None:
    table = PaperTable("table_6", "IoU & 95 %", ("t",), (row("k_shot_5", "neu_seg"),))
    text = to_latex(table.as_table())
    assert r"\caption{IoU \& 95 \%}" in text and r"k\_shot\_5" in text


def test_figure_that_a_run_cannot_give_is_not_called_not_run() -> None:
    assert Row({}, "iou_image", None, runs=("r1",)).status == NO_ANSWER
    assert Row({}, "iou_image", None).status == NOT_RUN
