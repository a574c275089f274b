"""Holds that weights are read whole and safely, or refused in one line, and fit where they go."""

import pickle
import random
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from lightning_modules.weights_io import (
    MANIFEST_NAME,
    STAMP,
    check_manifest,
    fill,
    find_checkpoint,
    load_from_hub,
    load_part,
    read_checkpoint,
    read_stage,
    read_state_dict,
    read_tensors,
    stamp,
    write_manifest,
)

Read = Callable[[Path], object]
ENTRIES = (("good", "normal"), ("crack", "fissure"))
WEIGHTS = torch.arange(64.0)


def write(read: Read, file: Path) -> Path:
    """A whole file in the reader's form."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if read is read_tensors:
        save_file({"net.weight": WEIGHTS}, file)
    elif read is read_state_dict:
        torch.save({"net.weight": WEIGHTS}, file)
    else:
        state = {"net.weight": WEIGHTS}
        torch.save({STAMP: stamp("mask", ENTRIES), "state_dict": state, "step": 3}, file)
    return file


def refusal(
    work: Callable[[], object], path: Path | str, kind: type[Exception] = ValueError
) -> str:
    """The one line that the work is refused with, which names the path and what was expected."""
    with pytest.raises(kind) as caught:
        work()
    text = str(caught.value)
    assert "\n" not in text and "expected" in text and str(path) in text
    return text


def test_stage_vocabulary_and_weights_come_back_and_fill_the_part_under_their_prefix(
    tmp_path: Path,
) -> None:
    saved = read_stage(write(read_stage, tmp_path / "one.ckpt"))
    assert (saved.stage, saved.entries) == ("mask", ENTRIES)
    assert saved.state["net.weight"].equal(WEIGHTS)
    part = nn.Module()
    part.weight = nn.Parameter(torch.zeros(64))
    load_part(part, "net.", saved)
    assert part.weight.equal(WEIGHTS)


@pytest.mark.parametrize("place", ["checkpoints/last.ckpt", "last.ckpt"])
def test_run_directory_stands_for_its_last_checkpoint(place: str, tmp_path: Path) -> None:
    file = write(read_stage, tmp_path / place)
    assert find_checkpoint(tmp_path) == file


READERS = pytest.mark.parametrize("read", [read_stage, read_state_dict, read_tensors])


@READERS
def test_missing_truncated_and_other_files_are_one_line(read: Read, tmp_path: Path) -> None:
    refusal(lambda: read(tmp_path / "nowhere"), tmp_path / "nowhere", FileNotFoundError)
    file = write(read, tmp_path / "w")
    content = file.read_bytes()
    cut = [content[:kept] for kept in (0, 1, 100, len(content) // 2, int(0.99 * len(content)))]
    for other in (*cut, b"no weights at all", b"\x89PNG\r\n", b"PK\x03\x04"):
        file.write_bytes(other)
        assert "cannot be read" in refusal(lambda: read(file), file)


def test_changed_bytes_are_read_as_they_were_or_refused_in_one_line(tmp_path: Path) -> None:
    file = write(read_state_dict, tmp_path / "w")
    whole, draw = file.read_bytes(), random.Random(0)
    for _ in range(300):
        content = bytearray(whole)
        content[draw.randrange(len(content))] = draw.randrange(256)
        file.write_bytes(content)
        try:
            is_whole = read_state_dict(file)["net.weight"].equal(WEIGHTS)
        except ValueError as error:
            is_whole = "cannot be read" in str(error) and "\n" not in str(error)
        assert is_whole


def test_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    assert file.stat().st_size < 20_000
    assert "compressed" in refusal(lambda: read_checkpoint(file), file)


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
        torch.save({STAMP: stamp("mask", ENTRIES), "state_dict": {}, "trap": Bomb(trace)}, file)
    else:
        file.write_bytes(pickle.dumps(Bomb(trace)))
    assert "cannot be read" in refusal(lambda: read_stage(file), file)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        torch.eye(2),
        {"state_dict": {}},
        {STAMP: stamp("mask", ENTRIES)},
        {STAMP: "mask", "state_dict": {}},
        {STAMP: {"stage": "mask"}, "state_dict": {}},
        {STAMP: {"stage": "mask", "vocabulary": [["good"], [1]]}, "state_dict": {}},
    ],
    ids=["tensor", "no stamp", "no weights", "stamp of another shape", "no words", "no text"],
)
def test_foreign_checkpoint_is_one_line(content: object, tmp_path: Path) -> None:
    torch.save(content, file := tmp_path / "foreign.ckpt")
    assert "not from this project" in refusal(lambda: read_stage(file), file)


def test_other_things_than_tensors_are_no_state_dict(tmp_path: Path) -> None:
    torch.save({"a": 1}, file := tmp_path / "w")
    assert "tensors by name" in refusal(lambda: read_state_dict(file), file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.yaml").write_text("name: one\n")
    write_manifest(tmp_path)
    return tmp_path


def test_manifest_is_one_that_sha256sum_checks(folder: Path) -> None:
    command = ["sha256sum", "--check", "--strict", MANIFEST_NAME]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["config.yaml: OK", "unet/model.safetensors: OK"]
    check_manifest(folder)


@pytest.mark.parametrize("name", ["/etc/passwd", "../other", "unet/../../other"])
def test_manifest_never_leads_out_of_its_folder(name: str, folder: Path) -> None:
    with (folder / MANIFEST_NAME).open("a") as manifest:
        manifest.write(f"{'0' * 64}  {name}\n")
    assert "is missing, new" in refusal(lambda: check_manifest(folder), folder)


def test_half_precision_without_a_count_of_batches_fills_a_float_norm() -> None:
    net, state = nn.BatchNorm2d(2), nn.BatchNorm2d(2).half().state_dict()
    state["bias"] = torch.full((2,), 0.5).half()
    fill(net, {key: value for key, value in state.items() if "num" not in key}, Path("w"))
    assert net.bias.dtype == torch.float32 and net.bias.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("state", "claim"),
    [
        ({"weight": torch.zeros(1, 1)}, "lack 'bias' (1 such)"),
        ({"weight": torch.zeros(1, 1), "bias": torch.zeros(1), "c": torch.zeros(1)}, "unknown 'c'"),
        ({"weight": torch.zeros(2, 1), "bias": torch.zeros(1)}, "size mismatch for weight"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(state: dict[str, Tensor], claim: str) -> None:
    line = refusal(lambda: fill(nn.Linear(1, 1), state, Path("some.pt")), "some.pt")
    assert claim in line and "do not fit" in line


def small_tower(width: int = 16) -> CLIPTextModel:
    sizes = {"vocab_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    return CLIPTextModel(CLIPTextConfig(hidden_size=width, intermediate_size=16, **sizes))


def lose_a_tensor(file: Path) -> None:
    save_file(dict(list(load_file(file).items())[1:]), file, metadata={"format": "pt"})


def test_hub_weights_arrive_frozen_and_equal(tmp_path: Path) -> None:
    saved = small_tower()
    saved.save_pretrained(tmp_path)
    net = load_from_hub(CLIPTextModel, str(tmp_path), "", like=small_tower())
    for loaded, original in zip(net.parameters(), saved.parameters(), strict=True):
        assert loaded.equal(original) and not loaded.requires_grad


def test_hub_weights_in_16_bits_become_what_the_net_computes_in(tmp_path: Path) -> None:
    small_tower().half().save_pretrained(tmp_path)
    net = load_from_hub(CLIPTextModel, str(tmp_path), "", like=small_tower())
    assert {one.dtype for one in net.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("damage", "width", "claim"),
    [
        (Path.unlink, 16, "expected a local folder"),
        (lose_a_tensor, 16, "lack 1 tensors of the net"),
        (lambda file: file.write_bytes(file.read_bytes()[:2000]), 16, "could not be read"),
        (lambda file: None, 8, "set the config's widths"),
    ],
)
def test_hub_weights_at_fault_are_one_line(
    damage: Callable[[Path], object], width: int, claim: str, tmp_path: Path
) -> None:
    small_tower(width).save_pretrained(tmp_path)
    damage(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=claim) as caught:
        load_from_hub(CLIPTextModel, str(tmp_path), "", like=small_tower())
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
