"""Claims about checkpoint files: whole and hashed, or not there."""

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from callbacks import checkpoint_file
from callbacks.checkpoint_file import (
    publish_last,
    remove_older,
    remove_unfinished,
    step_of,
    step_path,
    write_checkpoint,
)

CONTENT: dict[str, object] = {"weight": torch.arange(100_000), "step": 7}


@contextmanager
def disk_of(byte_count: int) -> Iterator[None]:
    """Inside, no file can become longer, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def hash_beside(path: Path) -> tuple[str, str]:
    """Hash and name in the file beside a checkpoint."""
    digest, name = path.with_name(path.name + ".sha256").read_text().split()
    return digest, name


def test_written_file_holds_the_content_and_no_pickle_that_runs_code(tmp_path: Path) -> None:
    path = step_path(tmp_path / "new", 7)
    write_checkpoint(CONTENT, path)
    read = torch.load(path, weights_only=True)
    assert torch.equal(read["weight"], CONTENT["weight"]) and read["step"] == 7  # type: ignore[arg-type]


def test_hash_beside_the_file_is_the_files(tmp_path: Path) -> None:
    path = step_path(tmp_path, 7)
    digest = write_checkpoint(CONTENT, path)
    assert hash_beside(path) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
    assert hash_beside(path)[0] == digest


def test_last_is_the_same_file_under_another_name_with_its_own_hash(tmp_path: Path) -> None:
    path = step_path(tmp_path, 7)
    publish_last(path, write_checkpoint(CONTENT, path))
    assert path.samefile(tmp_path / "last.ckpt")
    assert hash_beside(tmp_path / "last.ckpt") == (hash_beside(path)[0], "last.ckpt")


def test_last_is_a_copy_where_the_disk_has_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.link", refuse)
    path = step_path(tmp_path, 7)
    publish_last(path, write_checkpoint(CONTENT, path))
    assert (tmp_path / "last.ckpt").read_bytes() == path.read_bytes()


def test_full_disk_leaves_the_old_file_and_nothing_half_written(tmp_path: Path) -> None:
    path = step_path(tmp_path, 7)
    write_checkpoint({"step": 6}, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with disk_of(50_000), pytest.raises(OSError, match="large"):
        write_checkpoint(CONTENT, path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_file_that_reads_back_otherwise_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_file, "file_sha256", lambda _: "0" * 64)
    with pytest.raises(OSError, match="other bytes than were written"):
        write_checkpoint(CONTENT, step_path(tmp_path, 7))
    assert not list(tmp_path.iterdir())


def test_older_files_go_with_their_hashes(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_checkpoint({"step": step}, step_path(tmp_path, step))
    remove_older(tmp_path, 3, keep=2)
    assert sorted(step_of(path) for path in tmp_path.glob("*.ckpt")) == [2, 3]
    assert len(list(tmp_path.glob("*.sha256"))) == 2


def test_file_of_a_later_step_does_not_push_out_a_good_one(tmp_path: Path) -> None:
    for step in (1, 2, 9):
        write_checkpoint({"step": step}, step_path(tmp_path, step))
    remove_older(tmp_path, 2, keep=2)
    assert sorted(step_of(path) for path in tmp_path.glob("*.ckpt")) == [1, 2, 9]


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".step_00000007.ckpt.unfinished").write_bytes(b"half")
    write_checkpoint(CONTENT, step_path(tmp_path, 6))
    remove_unfinished(tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("name", "step"), [("step_00000012.ckpt", 12), ("last.ckpt", -1)])
def test_name_tells_the_step(name: str, step: int) -> None:
    assert step_of(Path(name)) == step
