"""Weights of small nets on disk, as a user would name them: a timm net's and a whole CLIP's."""

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

NET = "test_resnet"
LETTERS = [chr(code) for code in range(33, 127)]
WORDS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
SIDE_PX, PATCH_PX = 32, 8


def save_net(folder: Path, *, classes: int = 7) -> dict[str, Tensor]:
    """The weights of the net in half precision, now at folder/net.safetensors."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = timm.create_model(NET, num_classes=classes).state_dict()
    halves = {key: value.half() for key, value in state.items() if value.is_floating_point()}
    save_file(halves, folder / "net.safetensors")
    return halves


def write_small_clip(folder: Path) -> Path:
    """The folder, now with a random CLIP: two layers of 16 in each tower, 8 numbers in common."""
    tower = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    ends = {"bos_token_id": len(WORDS) - 2, "eos_token_id": len(WORDS) - 1}
    config = CLIPConfig(
        text_config={**tower, **ends, "vocab_size": len(WORDS), "pad_token_id": 1},
        vision_config={**tower, "image_size": SIDE_PX, "patch_size": PATCH_PX},
        projection_dim=8,
    )
    model = CLIPModel(config)
    # The library's own start is so near to zero that all images look alike.
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3) if weight.dim() > 1 else None
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: at for at, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder
