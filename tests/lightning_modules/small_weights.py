"""Weights of small nets on disk, as a user would name them: a timm net's, a whole CLIP's, and a
model's that answers in words about images.
"""

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    CLIPConfig,
    CLIPModel,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

NET = "test_resnet"
LETTERS = [chr(code) for code in range(33, 127)]
WORDS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
SIDE_PX, PATCH_PX = 32, 8
SIGNS = {
    "pad_token_id": "<|endoftext|>",
    "eos_token_id": "<|im_end|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
}
CHAT = (
    "{% for said in messages %}<|im_start|>{{ said.role }}\n{% for part in said.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


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


def write_small_qwen(folder: Path, *, family: str = "qwen2_vl") -> Path:
    """The folder, now with a random Qwen2-VL whose words are bytes: two layers in each tower.

    family: `qwen2_5_vl` for a Qwen2.5-VL.
    """
    names = [*SIGNS.values(), "<|im_start|>"]
    words = {word: at for at, word in enumerate([*sorted(ByteLevel.alphabet()), *names])}
    ids = {key: words[sign] for key, sign in SIGNS.items()}
    tokenizer = Qwen2Tokenizer(words, [], eos_token="<|im_end|>", additional_special_tokens=names)
    text = {
        **{"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": len(words)},
        **{key: ids.pop(key) for key in ("pad_token_id", "eos_token_id")},
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
    }
    newer = {"hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 64}
    older = {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
    vision = {"depth": 2, "num_heads": 2, **(newer if family == "qwen2_5_vl" else older)}
    config = AutoConfig.for_model(family, text_config=text, vision_config=vision, **ids)
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    images = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112)
    videos = Qwen2VLVideoProcessor()
    Qwen2VLProcessor(images, tokenizer, videos, chat_template=CHAT).save_pretrained(folder)
    return folder
