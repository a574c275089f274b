"""The report needs nothing beside it and lets no word of a user become markup."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments.inference import report_page
from experiments.predictor import Result
from tests.experiments.inference.small_results import (
    GOOD_PART,
    RING,
    SIZE_PX,
    blot_mask,
    given,
    instance,
    result_with,
)

EVIL = "</script><img src=x onerror=alert(1)>'\"&"


class Elements(HTMLParser):
    """The attributes of each element by its tag, and scripts by their text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[dict[str, str]]] = {}
        self.scripts: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.found.setdefault(tag, []).append({name: value or "" for name, value in attrs})

    def handle_data(self, data: str) -> None:
        if self._tag == "script" and data.strip():
            self.scripts.append(data)


def page_of(tmp_path: Path, names: tuple[str, ...], **results: Result) -> str:
    with report_page.report_page(tmp_path / "report.html", names) as add:
        for name, result in results.items():
            add(given(f"{name}.png"), result)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_cards_carry_what_the_filters_read(tmp_path: Path) -> None:
    unsure = result_with(instance(2, 0.5, blot_mask()), needs_review=True)
    found = Elements(page_of(tmp_path, RING.names, a=RING, b=GOOD_PART, c=unsure)).found
    assert [one["value"] for one in found["option"]] == ["", "0", "1", "2", "", "1", "2"]
    fields = ("image", "answer", "types", "score", "review")
    assert [tuple(card[f"data-{name}"] for name in fields) for card in found["figure"]] == [
        ("a.png", "1", "1 2", "0.9000", "0"),
        ("b.png", "0", "", "0.1000", "0"),
        ("c.png", "2", "2", "0.9000", "1"),
    ]
    assert f"0 0 {SIZE_PX[1]} {SIZE_PX[0]}" in (tmp_path / "report.html").read_text()
    assert len(found["path"]) == 3
    assert "<title>pit 0.80, or burr (25%)</title>" in (tmp_path / "report.html").read_text()


def test_no_word_of_a_user_becomes_markup_and_the_page_loads_nothing(tmp_path: Path) -> None:
    named = replace(instance(1, 0.9, blot_mask()), name=EVIL, runners_up=((EVIL, 0.25),))
    result = replace(result_with(named), names=("good", EVIL))
    page = page_of(tmp_path, ("good", EVIL), **{EVIL: result})
    parsed = Elements(page)
    assert [image["src"][:10] for image in parsed.found["img"]] == ["data:image"]
    assert parsed.found["figure"][0]["data-image"] == f"{EVIL}.png"
    attributes = [name for tags in parsed.found.values() for tag in tags for name in tag]
    assert not [name for name in attributes if name.startswith("on")]
    (script,) = parsed.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert f"default-src 'none'; img-src data:; {policy}" in page
    assert not re.search(r"https?:|@import|url\(|<link", page)


def test_cards_beyond_the_limit_link_to_their_overlay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_page, "MAX_THUMBNAILS", 1)
    page = page_of(tmp_path, RING.names, a=RING, b=RING)
    parsed = Elements(page).found
    assert len(parsed["img"]) == 1
    assert [link["href"] for link in parsed["a"]] == ["overlays/a.png", "overlays/b.png"]
    assert "1 images are without thumbnail" in page
