"""Claims about loading a file from the web: whole and proven, or absent and to be continued."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datamodules.about import Download
from datamodules.fetching.downloads import download
from tests.datamodules.fetching.file_server import FileServer, serving

BODY = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
CUT = 1_250_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving(BODY) as running:
        yield running


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def break_off(server: FileServer, folder: Path, item: Download) -> None:
    """One transfer that ends after CUT bytes; the next one is whole, and bytes count anew."""
    server.break_after = CUT
    with pytest.raises(OSError, match="run the same command again to continue"):
        download(item, folder)
    server.break_after, server.sent_bytes = None, 0
    server.ranges.clear()


def test_a_file_arrives_whole_and_alone(server: FileServer, tmp_path: Path) -> None:
    path = download(server.item(SHA256, size_bytes=len(BODY)), tmp_path / "new")
    assert path.read_bytes() == BODY and names(path.parent) == ["set.zip"]


def test_a_whole_file_is_not_loaded_again(server: FileServer, tmp_path: Path) -> None:
    for _ in range(2):
        download(server.item(SHA256), tmp_path)
    assert len(server.ranges) == 1


def test_an_interrupted_transfer_goes_on_where_it_stopped(
    server: FileServer, tmp_path: Path
) -> None:
    item = server.item(SHA256)
    break_off(server, tmp_path, item)
    assert download(item, tmp_path).read_bytes() == BODY
    assert server.sent_bytes == len(BODY) - CUT and names(tmp_path) == ["set.zip"]


def test_an_interrupted_transfer_leaves_no_file_of_the_final_name(
    server: FileServer, tmp_path: Path
) -> None:
    break_off(server, tmp_path, server.item(SHA256))
    assert names(tmp_path) == ["set.zip.part", "set.zip.part.json"]


def test_a_transfer_goes_on_without_any_version_of_the_file(
    server: FileServer, tmp_path: Path
) -> None:
    server.etag = ""
    break_off(server, tmp_path, server.item(SHA256))
    download(server.item(SHA256), tmp_path)
    assert server.sent_bytes == len(BODY) - CUT


def test_a_server_without_ranges_starts_anew(server: FileServer, tmp_path: Path) -> None:
    server.has_ranges = False
    break_off(server, tmp_path, server.item(SHA256))
    assert download(server.item(SHA256), tmp_path).read_bytes() == BODY
    assert server.sent_bytes == len(BODY)


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_changed_meanwhile_starts_anew(
    server: FileServer, tmp_path: Path, honours_if_range: bool
) -> None:
    server.body, server.honours_if_range = OTHER, honours_if_range
    break_off(server, tmp_path, server.item(SHA256))
    server.body, server.etag = BODY, '"two"'
    assert download(server.item(SHA256), tmp_path).read_bytes() == BODY
    assert len(server.ranges) == (1 if honours_if_range else 2)


def test_an_answer_that_goes_on_elsewhere_starts_anew(server: FileServer, tmp_path: Path) -> None:
    break_off(server, tmp_path, server.item(SHA256))
    server.shift = 1000
    assert download(server.item(SHA256), tmp_path).read_bytes() == BODY


def test_remains_of_another_file_are_not_continued(server: FileServer, tmp_path: Path) -> None:
    break_off(server, tmp_path, server.item("1" * 64))
    download(server.item(SHA256), tmp_path)
    assert server.ranges == [""]


@pytest.mark.parametrize("size_bytes", [0, len(BODY)])
def test_a_transfer_stopped_after_the_last_byte_is_finished(
    server: FileServer, tmp_path: Path, size_bytes: int
) -> None:
    item = server.item(SHA256, size_bytes=size_bytes)
    break_off(server, tmp_path, item)
    (tmp_path / "set.zip.part").write_bytes(BODY)
    assert download(item, tmp_path).read_bytes() == BODY and server.sent_bytes == 0
    assert len(server.ranges) == (0 if size_bytes else 1)


def test_remains_longer_than_the_file_start_anew(server: FileServer, tmp_path: Path) -> None:
    break_off(server, tmp_path, server.item(SHA256))
    (tmp_path / "set.zip.part").write_bytes(BODY + b"more")
    assert download(server.item(SHA256), tmp_path).read_bytes() == BODY


def test_another_hash_is_refused_and_removed(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"has sha256 {SHA256}, expected {'1' * 64}: .*load it"):
        download(server.item("1" * 64), tmp_path)
    assert names(tmp_path) == []


def test_remains_that_were_tampered_with_are_refused_and_removed(
    server: FileServer, tmp_path: Path
) -> None:
    break_off(server, tmp_path, server.item(SHA256))
    (tmp_path / "set.zip.part").write_bytes(b"x" * CUT)
    with pytest.raises(ValueError, match="sha256"):
        download(server.item(SHA256), tmp_path)
    assert names(tmp_path) == []


def test_a_damaged_file_of_the_final_name_is_not_trusted(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "set.zip").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"remove .*set\.zip and run"):
        download(server.item(SHA256), tmp_path)


def test_a_file_of_another_size_is_not_begun(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3000000 bytes, expected 2999999"):
        download(server.item(SHA256, size_bytes=len(BODY) - 1), tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_never_stops_is_cut_at_the_known_size(
    server: FileServer, tmp_path: Path
) -> None:
    server.says_length, server.body = False, BODY * 4
    with pytest.raises(ValueError, match="sends more than 3000000 bytes"):
        download(server.item(SHA256, size_bytes=len(BODY)), tmp_path)
    assert names(tmp_path) == []


def test_a_short_answer_without_a_length_is_an_interruption(
    server: FileServer, tmp_path: Path
) -> None:
    server.says_length = False
    item = server.item(SHA256, size_bytes=len(BODY))
    break_off(server, tmp_path, item)
    assert download(item, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(("status", "remedy"), [(404, "homepage"), (503, "again to continue")])
def test_a_refusal_of_the_server_says_what_to_do(
    server: FileServer, tmp_path: Path, status: int, remedy: str
) -> None:
    server.status = status
    with pytest.raises(OSError, match=f"answered {status} .*{remedy}") as refused:
        download(server.item(SHA256), tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("address", ["file:///etc/hosts", "ftp://127.0.0.1/set.zip"])
def test_a_redirection_off_the_web_is_not_followed(
    server: FileServer, tmp_path: Path, address: str
) -> None:
    server.redirect_to = address
    with pytest.raises((ValueError, OSError), match=r"expected http|302 .*homepage"):
        download(server.item(SHA256), tmp_path)
    assert names(tmp_path) == []


def test_no_server_at_all_is_one_line_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(OSError, match=r"cannot load http.*again to continue"):
        download(Download("http://127.0.0.1:1/set.zip", SHA256), tmp_path)


def test_progress_ends_at_the_whole_file(server: FileServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download(server.item(SHA256), tmp_path, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (len(BODY), len(BODY)) and seen == sorted(seen)
