"""Holds both image towers: shapes, modes, normalisation, missing weights."""

from pathlib import Path

import pytest
import torch

from lightning_modules.nets.image_encoder import CLIP_MEAN, ClipImageEncoder, TimmImageEncoder


def small_timm() -> TimmImageEncoder:
    return TimmImageEncoder("test_resnet")


def small_clip(folder: Path | str = "") -> ClipImageEncoder:
    return ClipImageEncoder(
        str(folder), width=8, image_size_px=32, patch_px=16, layers=1, heads=2, hidden_width=16
    )


@pytest.mark.parametrize("side_px", [64, 96])
def test_timm_width_is_what_comes_out(side_px: int) -> None:
    encoder = small_timm()
    assert encoder(torch.zeros(2, 3, side_px, side_px)).shape == (2, encoder.width)


def test_timm_tower_starts_in_training_mode() -> None:
    # Lightning leaves the modes as they are: norms in evaluation would never see a statistic.
    assert all(module.training for module in small_timm().modules())


def test_timm_embedding_differs_between_images(seed: int) -> None:
    encoder = small_timm()
    one, other = encoder(torch.rand(2, 3, 64, 64) * torch.tensor([0.2, 1]).view(2, 1, 1, 1))
    assert (one - other).abs().max() > 1e-2


def test_gradient_reaches_every_weight_of_the_timm_tower(seed: int) -> None:
    encoder = small_timm()
    encoder(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters())


def test_clip_tower_reads_weights_and_resizes_any_image(tmp_path: Path) -> None:
    small_clip().tower.save_pretrained(tmp_path)
    encoder = small_clip(tmp_path)
    encoder.load()
    assert encoder(torch.zeros(2, 3, 50, 70)).shape == (2, 8)
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_clip_tower_sees_its_mean_colour_as_zero(tmp_path: Path) -> None:
    small_clip().tower.save_pretrained(tmp_path)
    encoder = small_clip(tmp_path)
    encoder.load()
    image = (2 * torch.tensor(CLIP_MEAN) - 1).view(1, 3, 1, 1).expand(1, 3, 40, 40)
    zero = encoder.tower(pixel_values=torch.zeros(1, 3, 32, 32)).image_embeds
    torch.testing.assert_close(encoder(image), zero, rtol=1e-4, atol=1e-5)


def test_clip_tower_without_weights_says_so() -> None:
    with pytest.raises(RuntimeError, match="call load"):
        small_clip()(torch.zeros(1, 3, 32, 32))


def test_clip_tower_from_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.* expected a local folder") as caught:
        small_clip(tmp_path / "nowhere").load()
    assert "\n" not in str(caught.value)
