"""`fetch` loads a public data set, or says how to get it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datamodules.about import About, Download
from experiments import fetch as module
from experiments.cli import call_command
from experiments.fetch import fetch, move
from tests.datamodules.file_server import FileServer, serving
from tests.datamodules.test_download import zipped

IMAGES = {"MT_Free/a.jpg", "MT_Free/b.jpg", "readme.txt"}
ARCHIVE = zipped(*sorted(IMAGES), content=b"image")
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """A function: from now on the data set mtd is loaded from these addresses."""

    def offer_these(*items: Download) -> None:
        about = About(
            title="Toy tiles",
            licence="CC-BY-4.0",
            licence_url="https://creativecommons.org/licenses/by/4.0/",
            citation="A. Author: Tiles (2020)",
            downloads=items,
            instructions="accept the rules, then unpack into RAW",
        )
        monkeypatch.setattr(module, "about_of", lambda name: about)

    return offer_these


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, offer: Offer) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving(ARCHIVE) as running:
        offer(running.item(SHA256))
        yield running


def run(out: Path, *more: str) -> int:
    return call_command(fetch, ["--source", "mtd", "--out", str(out), "--accept_licence", *more])


def files(folder: Path) -> set[str]:
    """What lies in the folder, hidden files and the receipt left out."""
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return {name for name in found if not name.startswith(".")} - {"SOURCE.json"}


def test_a_set_arrives_in_its_original_layout_once(server, tmp_path, capsys):
    for _ in range(2):
        assert run(tmp_path / "raw") == 0
    assert files(tmp_path / "raw") == IMAGES and server.request_count == 1
    shown = capsys.readouterr().out
    for words in ("Toy tiles", "CC-BY-4.0 https://", "A. Author: Tiles (2020)", "3 files in"):
        assert words in shown
    assert [p.name for p in (tmp_path / "raw" / ".archives").iterdir()] == ["set.zip"]
    run(tmp_path / "gone", "--discard_archives")
    assert not (tmp_path / "gone" / ".archives").exists()


def test_the_receipt_tells_what_came_from_where_and_is_not_replaced(server, offer, tmp_path):
    run(tmp_path)
    receipt = json.loads((tmp_path / "SOURCE.json").read_text(encoding="utf-8"))
    (row,) = receipt["downloads"]
    assert (row["sha256"], row["url"]) == (SHA256, server.item(SHA256).url)
    assert (receipt["source"], receipt["licence"]) == ("mtd", "CC-BY-4.0")
    assert len(receipt["date"]) == len("2020-01-31")
    offer(server.item("1" * 64))
    with pytest.raises(ValueError, match="tells of other files"):
        run(tmp_path)
    with pytest.raises(ValueError, match="in the way"):
        move([tmp_path / "a" / "source.json"], tmp_path)  # nor by an archive's own


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected a data set or --list"),
        (["--source", "mtdd"], "did you mean mtd"),
        (["--source", "mtd"], "CC-BY-4.0: read https.* add --accept_licence"),
        (["--source", "mtd", "--accept_licence"], "--out is missing"),
        (["--sauce", "mtd"], "--sauce"),
    ],
)
def test_wrong_words_are_one_line_before_anything_is_loaded(server, words, said):
    with pytest.raises(ValueError, match=said):
        call_command(fetch, words)
    assert server.request_count == 0


def test_a_set_that_may_not_be_fetched_comes_with_instructions(offer, tmp_path, capsys):
    assert call_command(fetch, ["--list"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("mvtec_ad", "by hand", "yes", "CC-BY-NC-SA-4.0"))
    offer()
    with pytest.raises(ValueError, match="is not fetched"):
        run(tmp_path)
    assert "accept the rules, then unpack into RAW" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "sha256", "words"),
    [(ARCHIVE, "1" * 64, "has sha256"), (zipped("good", "../outside"), "", "leads upwards")],
)
def test_another_hash_or_a_trap_is_not_unpacked(server, offer, tmp_path, body, sha256, words):
    server.body = body
    offer(server.item(sha256 or hashlib.sha256(body).hexdigest()))
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "raw")
    assert files(tmp_path / "raw") == set() and [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_what_lies_there_is_not_overwritten(server, tmp_path):
    (tmp_path / "MT_Free").write_bytes(b"mine")
    with pytest.raises(ValueError, match="MT_Free is in the way"):
        run(tmp_path)
    assert files(tmp_path) == {"MT_Free"} and (tmp_path / "MT_Free").read_bytes() == b"mine"
