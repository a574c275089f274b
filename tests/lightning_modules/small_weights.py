"""Weights of a small timm net on disk, as a user would name them."""

from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

NET = "test_resnet"


def save_net(folder: Path, *, classes: int = 7) -> dict[str, Tensor]:
    """The weights of the net in half precision, now at folder/net.safetensors."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = timm.create_model(NET, num_classes=classes).state_dict()
    halves = {key: value.half() for key, value in state.items() if value.is_floating_point()}
    save_file(halves, folder / "net.safetensors")
    return halves
