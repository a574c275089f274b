"""Files and folders appear whole, or what was there before stays."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from datamodules.whole_files import whole, write_whole


def test_content_replaces_what_was_there_and_parents_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "é\n")
    write_whole(path, b"2")
    assert path.read_bytes() == b"2"
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]


def write_half(path: Path, *, is_folder: bool) -> None:
    with whole(path) as unfinished:
        if is_folder:
            unfinished.mkdir()
        (unfinished / "b" if is_folder else unfinished).write_text("half")
        raise OSError("the disk is full")


@pytest.mark.parametrize("is_folder", [False, True])
def test_failed_writing_leaves_nothing_new(tmp_path: Path, is_folder: bool) -> None:
    write_whole(tmp_path / "a", "before")
    with pytest.raises(OSError, match="full"):
        write_half(tmp_path / "a", is_folder=is_folder)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("a", "before")]


def test_folder_takes_its_name_at_the_end(tmp_path: Path) -> None:
    with whole(tmp_path / "a") as unfinished:
        unfinished.mkdir()
        (unfinished / "b").write_text("1")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "b").read_text() == "1"


def test_two_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    meeting = Barrier(2, timeout=10)

    def write(text: str) -> None:
        with whole(tmp_path / "a") as unfinished:
            meeting.wait()
            unfinished.write_text(text)
            meeting.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["one", "two"]))
    assert (tmp_path / "a").read_text() in ("one", "two")
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
