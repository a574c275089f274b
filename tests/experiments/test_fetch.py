"""Claims about the command that fetches a public data set, or says how to get it."""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from datamodules.about import About, Download
from datamodules.manifest import Source
from datamodules.sample import Record
from experiments.command import run_command
from experiments.fetch import known_sources, main, place, source_table
from tests.datamodules.fetching.archive_traps import zipped
from tests.datamodules.fetching.file_server import FileServer, serving

PICTURES = {"MT_Free/a.jpg", "MT_Free/b.jpg", "readme.txt"}
ARCHIVE = zipped(*sorted(PICTURES), content=b"picture")
BY_HAND = "accept the rules on the homepage, then unpack into RAW"


class Toy(Source):
    """A source with facts that each test sets."""

    name = "toy"

    def records(self, root: Path) -> list[Record]:
        """None."""
        return []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of ARCHIVE, and a source `toys.Toy` that is loaded from it."""
    monkeypatch.setenv("no_proxy", "*")
    module = ModuleType("toys")
    monkeypatch.setitem(sys.modules, "toys", module)
    monkeypatch.setattr(module, "Toy", Toy, raising=False)
    with serving(ARCHIVE) as running:
        offer(monkeypatch, running.item(sha256(ARCHIVE)))
        yield running


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def offer(monkeypatch: pytest.MonkeyPatch, *items: Download) -> None:
    """From now on the source is loaded from these."""
    about = About(
        title="Toy tiles",
        licence="CC-BY-4.0",
        licence_url="https://creativecommons.org/licenses/by/4.0/",
        citation="A. Author: Tiles (2020)",
        homepage="https://example.org/tiles",
        downloads=items,
        instructions=BY_HAND,
    )
    monkeypatch.setattr(Toy, "about", about, raising=False)


def fetch(out: Path, *more: str) -> int:
    return main(["--source", "toys.Toy", "--out", str(out), "--accept_licence", *more])


def files(folder: Path) -> set[str]:
    """What lies in the folder, hidden files and the receipt left out."""
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return {name for name in names if not name.startswith(".")} - {"SOURCE.json"}


def refusal(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """Standard output and the one line of standard error of a command that ends with code 2."""
    monkeypatch.setattr(sys, "argv", ["fetch", *words])
    with pytest.raises(SystemExit) as ended:
        run_command(main)
    out, error = capsys.readouterr()
    assert (ended.value.code, len(error.splitlines())) == (2, 1)
    return out, error


def test_a_set_arrives_in_its_original_layout(server: FileServer, tmp_path: Path) -> None:
    assert fetch(tmp_path / "raw") == 0
    assert files(tmp_path / "raw") == PICTURES


def test_title_licence_and_citation_are_shown(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(tmp_path / "raw")
    shown = capsys.readouterr().out
    for words in ("Toy tiles", "CC-BY-4.0 https://", "A. Author: Tiles (2020)"):
        assert words in shown


def test_the_receipt_tells_what_came_from_where(server: FileServer, tmp_path: Path) -> None:
    fetch(tmp_path)
    receipt = json.loads((tmp_path / "SOURCE.json").read_text(encoding="utf-8"))
    (row,) = receipt["downloads"]
    assert (row["sha256"], row["url"], row["files"]) == (*server_facts(server), 3)
    assert receipt["licence"] == "CC-BY-4.0" and receipt["title"] == "Toy tiles"
    assert len(receipt["date"]) == len("2020-01-31")


def server_facts(server: FileServer) -> tuple[str, str]:
    return sha256(ARCHIVE), f"http://127.0.0.1:{server.server_port}/set.zip"


def test_nothing_is_loaded_before_the_licence_is_accepted(
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--source", "toys.Toy", "--out", str(tmp_path / "raw")]
    _, error = refusal(words, monkeypatch, capsys)
    assert "CC-BY-4.0" in error and "--accept_licence" in error
    assert server.ranges == [] and list(tmp_path.iterdir()) == []


def test_a_set_that_may_not_be_fetched_comes_with_instructions(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch)
    out, error = refusal(["--source", "toys.Toy", "--accept_licence"], monkeypatch, capsys)
    assert BY_HAND in out and "is not fetched" in error


def test_a_source_that_says_nothing_of_itself_is_one_line(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(Toy, "about")
    _, error = refusal(["--source", "toys.Toy"], monkeypatch, capsys)
    assert "does not say where" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--source is missing"),
        (["--source", "mtdd"], "did you mean mtd"),
        (["--source", "toys.Toy", "--accept_licence"], "--out is missing"),
        (["--source", "pathlib.Path"], "expected a subclass of Source"),
        (["--sauce", "mtd"], "--sauce"),
    ],
)
def test_wrong_words_are_one_line(
    words: list[str],
    said: str,
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said in refusal(words, monkeypatch, capsys)[1]


def test_a_second_fetch_loads_nothing(server: FileServer, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetch(tmp_path) == 0
    assert len(server.ranges) == 1


def test_an_interrupted_fetch_goes_on(server: FileServer, tmp_path: Path) -> None:
    server.break_after = 100
    with pytest.raises(OSError, match="again to continue"):
        fetch(tmp_path)
    server.break_after, server.sent_bytes = None, 0
    fetch(tmp_path)
    assert files(tmp_path) == PICTURES and server.sent_bytes == len(ARCHIVE) - 100


def test_archives_are_kept_unless_told_otherwise(server: FileServer, tmp_path: Path) -> None:
    fetch(tmp_path / "kept")
    fetch(tmp_path / "gone", "--discard_archives")
    assert [p.name for p in (tmp_path / "kept" / ".archives").iterdir()] == ["set.zip"]
    assert not (tmp_path / "gone" / ".archives").exists()


def test_another_hash_is_not_unpacked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server.item("1" * 64))
    with pytest.raises(ValueError, match="has sha256"):
        fetch(tmp_path)
    assert files(tmp_path) == set() and not (tmp_path / "SOURCE.json").exists()


def test_a_trap_of_the_right_hash_is_not_unpacked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = zipped("good.txt", "../outside.txt")
    offer(monkeypatch, server.item(sha256(server.body)))
    with pytest.raises(ValueError, match="leads upwards"):
        fetch(tmp_path / "raw")
    assert files(tmp_path / "raw") == set() and [p.name for p in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("name", ["MT_Free", "readme.txt"])
def test_what_lies_there_is_not_overwritten(server: FileServer, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ValueError, match=f"{name} is in the way"):
        fetch(tmp_path)
    assert files(tmp_path) == {name} and (tmp_path / name).read_bytes() == b"mine"


def test_two_archives_go_where_each_belongs(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("one.zip", "two.zip")
    urls = [f"http://127.0.0.1:{server.server_port}/{name}" for name in names]
    offer(monkeypatch, *(Download(u, sha256(ARCHIVE), extract_to=u[-7:-4]) for u in urls))
    fetch(tmp_path)
    assert files(tmp_path) == {f"{part}/{name}" for part in ("one", "two") for name in PICTURES}


def test_a_receipt_of_other_files_is_not_replaced(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(tmp_path)
    offer(monkeypatch, server.item("1" * 64))
    with pytest.raises(ValueError, match="tells of other files"):
        fetch(tmp_path)


def test_an_archive_cannot_bring_its_own_receipt(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in the way"):
        place([(tmp_path / "a", tmp_path / "source.json")], receipt=tmp_path / "SOURCE.json")


def test_files_that_cannot_all_be_placed_go_back(tmp_path: Path) -> None:
    (tmp_path / "first").write_bytes(b"1")
    moves = [(tmp_path / name, tmp_path / "raw" / name) for name in ("first", "missing")]
    with pytest.raises(FileNotFoundError):
        place(moves, receipt=tmp_path / "raw" / "SOURCE.json")
    assert (tmp_path / "first").read_bytes() == b"1" and files(tmp_path) == {"first"}


def test_the_list_tells_licence_and_whether_a_set_is_fetched(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_set = Toy.about
    offer(monkeypatch)
    table = source_table({"open": open_set, "closed": Toy.about})
    assert list(table.columns[3].cells) == ["yes", "by hand"]
    assert list(table.columns[2].cells) == ["CC-BY-4.0"] * 2


def test_every_source_says_its_licence_and_how_to_get_it() -> None:
    abouts = known_sources()
    assert abouts and all(about.licence and about.title for about in abouts.values())
