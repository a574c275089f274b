"""Claims about how rows become text."""

from io import StringIO

import pytest
from rich.console import Console

from experiments.tables import Table, format_cell, metrics_table, to_latex, to_markdown, to_rich


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (0.51234, "0.5123"),
        (1.0, "1.0"),
        (0.0, "0.0"),
        (120.0, "120"),
        (123.456, "123.5"),
        (1.5e-5, "1.5e-05"),
        (float("nan"), "-"),
        (None, "-"),
        (7, "7"),
    ],
)
def test_cell_has_four_significant_digits(cell: float | None, text: str) -> None:
    assert format_cell(cell) == text


def test_each_format_escapes_its_own_signs() -> None:
    assert to_markdown(Table("", ("a|b",), ((1.5,),))) == "| a\\|b |\n| --- |\n| 1.5000 |"
    text = to_latex(Table("IoU & 95 %", ("setting",), (("k_shot_5",),)))
    assert r"\caption{IoU \& 95 \%}" in text and r"k\_shot\_5" in text


def test_terminal_table_holds_every_metric() -> None:
    console = Console(width=60, record=True, file=StringIO())
    console.print(to_rich(metrics_table("results", {"mask/test/iou_image": 0.25})))
    assert "mask/test/iou_image" in console.export_text()
