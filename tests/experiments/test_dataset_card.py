"""The card tells what is in a manifest."""

from collections import Counter
from pathlib import Path

import pytest

from datamodules.about import About
from datamodules.manifest import COLUMNS
from datamodules.preparing.leakage import LeftOut
from datamodules.preparing.preparation import Preparation
from experiments.dataset_card import CARD_NAME, write_card
from tests.experiments.audits.small_manifest import small_manifest

ABOUT = About("Small parts", "CC0-1.0", "https://example.org/cc0", "Us 2026", "", (), "made here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a prepared set of nine parts and its card."""
    refused = [LeftOut("bad.png", "parts", "truncated")]
    done = Preparation(small_manifest(tmp_path), refused, [], Counter({"blank mask": 2}))
    write_card(tmp_path, done, about=ABOUT)
    return tmp_path


def test_card_tells_licence_counts_and_what_was_left_out(folder: Path) -> None:
    text = (folder / CARD_NAME).read_text(encoding="utf-8")
    for words in ("CC0-1.0", "9 images in 5 groups", "1 unusable, 0 copies", "2 x blank mask"):
        assert words in text


def test_card_explains_every_column(folder: Path) -> None:
    text = (folder / CARD_NAME).read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in COLUMNS)


def test_second_card_replaces_the_first(folder: Path) -> None:
    done = Preparation(small_manifest(folder, count=6), [], [], Counter())
    write_card(folder, done, about=ABOUT)
    assert "6 images" in (folder / CARD_NAME).read_text(encoding="utf-8")
    assert not list(folder.glob("*.unfinished"))
