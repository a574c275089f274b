"""Holds that weights which are missing, broken or of another shape end in one line."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from lightning_modules.nets.hub import load_from_hub


def small_tower(width: int = 16) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=64,
            hidden_size=width,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
    )


def refusal(folder: Path, like: nn.Module) -> str:
    with pytest.raises(ValueError) as caught:
        load_from_hub(CLIPTextModel, str(folder), "", like=like)
    text = str(caught.value)
    assert "\n" not in text and str(folder) in text
    return text


def test_weights_arrive_frozen_and_equal(tmp_path: Path) -> None:
    saved = small_tower()
    saved.save_pretrained(tmp_path)
    net = load_from_hub(CLIPTextModel, str(tmp_path), "", like=small_tower())
    for loaded, original in zip(net.parameters(), saved.parameters(), strict=True):
        assert loaded.equal(original) and not loaded.requires_grad


def test_missing_folder_is_one_line(tmp_path: Path) -> None:
    assert "expected a local folder" in refusal(tmp_path / "nowhere", small_tower())


def test_empty_folder_is_one_line(tmp_path: Path) -> None:
    assert "could not be read" in refusal(tmp_path, small_tower())


def test_weights_that_lack_a_part_are_one_line_and_not_made_up(tmp_path: Path) -> None:
    small_tower().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    kept = dict(list(load_file(file).items())[1:])
    save_file(kept, file, metadata={"format": "pt"})
    assert "lack 1 tensors of the net" in refusal(tmp_path, small_tower())


def test_weights_of_another_width_are_one_line(tmp_path: Path) -> None:
    small_tower(8).save_pretrained(tmp_path)
    assert "set the config's widths" in refusal(tmp_path, small_tower(16))


def test_truncated_weights_are_one_line(tmp_path: Path) -> None:
    small_tower().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])
    assert "could not be read" in refusal(tmp_path, small_tower())
