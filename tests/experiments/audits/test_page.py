"""The page needs nothing beside it and lets no word of the data become markup."""

import re
from pathlib import Path

from experiments.audits.findings import Finding, Section
from experiments.audits.page import PAIRS_OF_A_KIND, to_page
from experiments.audits.report import to_text
from experiments.tables import Table
from tests.experiments.audits.small_manifest import small_manifest

EVIL = "<script>alert(1)</script>'\"|`.png"


def section(*findings: Finding) -> Section:
    table = Table("Pictures per type", ("type", "all"), ((EVIL, 3), ("crack $x^2", 5)))
    return Section(EVIL, {"pictures": 2.0}, [table], list(findings), EVIL)


def test_words_of_the_data_are_escaped(tmp_path: Path) -> None:
    page = to_page(EVIL, [section(Finding("leak", EVIL, EVIL, EVIL))], tmp_path)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    pair = Finding("leak", manifest[0].image, "exact", manifest[1].image)
    page = to_page("parts", [section(pair)], manifest.root)
    assert re.findall(r"src='(?!data:image)", page) == []
    assert not re.search(r"https?://|@import|<link", page)
    assert page.count("data:image/jpeg") == 2


def test_missing_picture_is_said_and_stops_nothing(tmp_path: Path) -> None:
    page = to_page("parts", [section(Finding("leak", "a.png", "exact", "b.png"))], tmp_path)
    assert "a.png is missing" in page


def test_long_lists_say_how_much_was_left_out(tmp_path: Path) -> None:
    pairs = [Finding("leak", f"{k}.png", "exact", "b.png") for k in range(PAIRS_OF_A_KIND + 7)]
    page = to_page("parts", [section(*pairs)], tmp_path)
    assert "and 7 more pairs" in page


def test_markdown_keeps_a_finding_on_one_line() -> None:
    finding = Finding("leak", "a`b|c\nd.png", "two\nlines", "e.png")
    lines = to_text("parts", [section(finding)]).splitlines()
    assert "- `a'b/c d.png` - `e.png`: two lines" in lines
