"""A whole CLIP with random weights and a tokenizer of letters, written as a hub folder."""

import json
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel

LETTERS = [chr(code) for code in range(33, 127)]
WORDS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
SIDE_PX, PATCH_PX = 32, 8


def write_small_clip(folder: Path) -> Path:
    """The folder, with two layers of 16 in each tower and 8 numbers in common."""
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
