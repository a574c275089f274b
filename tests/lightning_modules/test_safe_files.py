"""Holds that a damaged, swollen or foreign file of weights is refused in one line."""

import random
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.safe_files import (
    MANIFEST_NAME,
    check_manifest,
    read_checkpoint,
    read_manifest,
    read_tensors,
    sha256_of,
    write_manifest,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    torch.save({"weight": torch.arange(64.0), "step": 3}, path)
    return path


def fault_of(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert "\n" not in text and "expected" in text and str(path) in text
    return text


def flip_a_weight(path: Path) -> None:
    content = path.read_bytes()
    weights = torch.arange(64.0).numpy().tobytes()
    place = content.index(weights) + 17
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def write_hash(path: Path, digest: str) -> None:
    path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")


def test_flipped_bit_is_found_where_no_hash_was_written(file: Path) -> None:
    flip_a_weight(file)
    torch.load(file, weights_only=True)  # torch itself takes it for a weight
    assert "damaged" in fault_of(file)


def test_hash_beside_the_file_is_held_to(file: Path) -> None:
    write_hash(file, sha256_of(file))
    read_checkpoint(file)
    flip_a_weight(file)
    assert "last.ckpt.sha256" in fault_of(file) and "another checkpoint" in fault_of(file)


@pytest.mark.parametrize("text", ["", "none", "0" * 63 + "  last.ckpt", "\x00"])
def test_hash_that_is_none_is_one_line(text: str, file: Path) -> None:
    file.with_name("last.ckpt.sha256").write_text(text)
    assert "holds no hash" in fault_of(file)


def test_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    assert path.stat().st_size < 20_000
    assert "compressed" in fault_of(path)


def outcome(path: Path) -> object:
    """What the file holds, or the line it is refused with."""
    try:
        return read_checkpoint(path)
    except ValueError as error:
        return str(error)


def test_changed_bytes_are_read_as_they_were_or_refused_in_one_line(file: Path) -> None:
    whole, draw = file.read_bytes(), random.Random(0)
    for _ in range(300):
        content = bytearray(whole)
        content[draw.randrange(len(content))] = draw.randrange(256)
        file.write_bytes(content)
        got = outcome(file)
        if isinstance(got, str):
            assert "cannot be read" in got and "\n" not in got
        else:
            assert isinstance(got, dict) and got["weight"].equal(torch.arange(64.0))


@pytest.mark.parametrize("kept", [0, 5, 100])
def test_truncated_safetensors_file_is_one_line(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(64)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model.safetensors cannot be read.*get the") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


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


def test_unchanged_folder_passes(folder: Path) -> None:
    check_manifest(folder)


@pytest.mark.parametrize("name", ["/etc/passwd", "../other", "unet/../../other"])
def test_manifest_never_leads_out_of_its_folder(name: str, folder: Path) -> None:
    with (folder / MANIFEST_NAME).open("a") as manifest:
        manifest.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(ValueError, match="is broken"):
        read_manifest(folder / MANIFEST_NAME)
