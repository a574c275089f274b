"""On which device a command's net works, and the one line where it cannot."""

from typing import TypeVar

import torch
from torch import nn

from lightning_modules.weights_io import first_line

Net = TypeVar("Net", bound=nn.Module)


def default_device() -> str:
    """The first GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def on_device(net: Net, device: str) -> Net:
    """The net on `device`; ValueError where there is no such device."""
    try:
        return net.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {device!r} cannot be used ({first_line(error)}): try --device cpu"
        ) from error
