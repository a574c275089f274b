"""Holds the image towers: shapes, modes, normalisation, missing weights."""

from pathlib import Path

import pytest
import torch

from lightning_modules.nets.image_encoder import (
    CLIP_MEAN,
    ClipImageEncoder,
    PretrainedTimmImageEncoder,
    TimmImageEncoder,
)
from tests.lightning_modules.small_weights import NET, save_net


def small_clip(folder: Path | str = "") -> ClipImageEncoder:
    return ClipImageEncoder(
        str(folder), width=8, image_size_px=32, patch_px=16, layers=1, heads=2, hidden_width=16
    )


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A timm classifier's random weights, half precision."""
    save_net(tmp_path)
    return str(tmp_path / "net.safetensors")


def test_timm_tower_starts_in_training_mode() -> None:
    # Lightning leaves the modes as they are: norms in evaluation would never see a statistic.
    assert all(module.training for module in TimmImageEncoder(NET).modules())


def test_pretrained_timm_tower_never_moves(weights: str, seed: int) -> None:
    encoder, image = PretrainedTimmImageEncoder(weights, NET), torch.randn(2, 3, 32, 32)
    encoder.load()
    before = encoder(image)
    torch.testing.assert_close(encoder.train()(image), before)
    assert not before.requires_grad
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_pretrained_timm_tower_normalises_as_timm_does(weights: str) -> None:
    encoder = PretrainedTimmImageEncoder(weights, NET)
    encoder.load()
    config, size = encoder.backbone.pretrained_cfg, (encoder.image_size_px,) * 2
    image = torch.full((1, 3, *size), 2 * 0.5 - 1)
    mean, deviation = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    expected = encoder.backbone((torch.full((1, 3, *size), 0.5) - mean) / deviation)
    torch.testing.assert_close(encoder(image), expected, rtol=1e-4, atol=1e-5)


def test_pretrained_timm_tower_that_timm_cannot_make_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"cannot be made .* expected a timm name") as caught:
        PretrainedTimmImageEncoder("", "test_resent")
    assert "\n" not in str(caught.value)


def test_clip_tower_sees_its_mean_colour_as_zero(tmp_path: Path) -> None:
    small_clip().tower.save_pretrained(tmp_path)
    encoder = small_clip(tmp_path)
    encoder.load()
    image = (2 * torch.tensor(CLIP_MEAN) - 1).view(1, 3, 1, 1).expand(1, 3, 40, 40)
    zero = encoder.tower(pixel_values=torch.zeros(1, 3, 32, 32)).image_embeds
    torch.testing.assert_close(encoder(image), zero, rtol=1e-4, atol=1e-5)
