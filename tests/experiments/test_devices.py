"""Holds that a device that is not there ends in one line, for all commands alike."""

import pytest
import torch
from torch import nn

from experiments.devices import default_device, on_device


@pytest.mark.parametrize("device", ["cuda:99", "teapot"])
def test_device_that_is_not_there_is_one_line_with_a_remedy(device: str) -> None:
    with pytest.raises(ValueError, match=f"device '{device}' cannot be used .*--device cpu") as why:
        on_device(nn.Linear(1, 1), device)
    assert "\n" not in str(why.value)


def test_default_device_can_be_used() -> None:
    net = on_device(nn.Linear(1, 1), default_device())
    assert net.weight.device.type == torch.device(default_device()).type
