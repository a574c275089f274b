"""Holds that a checkpoint is read whole, safely, or refused in one line."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_modules.saved_stage import (
    STAMP,
    find_checkpoint,
    load_part,
    read_stage,
    stamp,
)

ENTRIES = (("good", "normal"), ("crack", "fissure"))


def write(path: Path, **content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {STAMP: stamp("mask", ENTRIES), "state_dict": {"net.weight": torch.eye(2)}}
    torch.save({**own, **content}, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_stage(path)
    text = str(caught.value)
    assert "\n" not in text and str(path) in text and "expected" in text
    return text


def test_stage_vocabulary_and_weights_come_back(tmp_path: Path) -> None:
    saved = read_stage(write(tmp_path / "one.ckpt"))
    assert (saved.stage, saved.entries) == ("mask", ENTRIES)
    assert saved.state["net.weight"].equal(torch.eye(2))


@pytest.mark.parametrize("place", ["checkpoints/last.ckpt", "last.ckpt"])
def test_run_directory_stands_for_its_last_checkpoint(place: str, tmp_path: Path) -> None:
    file = write(tmp_path / place)
    assert find_checkpoint(tmp_path) == file
    assert read_stage(tmp_path).stage == "mask"


def test_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    assert "no checkpoint at" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_truncated_checkpoint_is_one_line(kept: float, tmp_path: Path) -> None:
    file = write(tmp_path / "one.ckpt")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole) if kept < 1 else kept)])
    assert "cannot be read" in refusal(file)


@pytest.mark.parametrize("content", [b"not a checkpoint at all", b"\x89PNG\r\n", b"PK\x03\x04"])
def test_another_kind_of_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "picture.ckpt"
    file.write_bytes(content)
    assert "cannot be read" in refusal(file)


class Bomb:
    """A pickle that makes a file when it is opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


@pytest.mark.parametrize("with_torch", [True, False])
def test_booby_trapped_pickle_is_refused_and_never_run(with_torch: bool, tmp_path: Path) -> None:
    file, trace = tmp_path / "trap.ckpt", tmp_path / "trace"
    if with_torch:
        write(file, trap=Bomb(trace))
    else:
        file.write_bytes(pickle.dumps(Bomb(trace)))
    assert "cannot be read" in refusal(file)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        torch.eye(2),
        {"state_dict": {}},
        {STAMP: stamp("mask", ENTRIES)},
        {STAMP: "mask", "state_dict": {}},
        {STAMP: {"stage": "mask"}, "state_dict": {}},
    ],
    ids=["tensor", "no stamp", "no weights", "stamp of another shape", "no vocabulary"],
)
def test_foreign_checkpoint_is_one_line(content: object, tmp_path: Path) -> None:
    file = tmp_path / "foreign.ckpt"
    torch.save(content, file)
    assert "not from this project" in refusal(file)


def test_part_takes_the_weights_under_its_prefix(tmp_path: Path) -> None:
    part = nn.Linear(2, 2, bias=False)
    load_part(part, "net.", read_stage(write(tmp_path / "one.ckpt")))
    assert part.weight.equal(torch.eye(2))


def test_weights_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    saved = read_stage(write(tmp_path / "one.ckpt"))
    with pytest.raises(ValueError, match=r"weights in .*one.ckpt do not fit.* expected") as caught:
        load_part(nn.Linear(3, 3), "net.", saved)
    assert "\n" not in str(caught.value)
