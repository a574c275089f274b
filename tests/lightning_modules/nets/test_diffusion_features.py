"""Holds the frozen features: their shapes, their stillness, and both kinds of taps."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.diffusion_features import DiffusionFeatures
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.text_encoder import HashedTextEncoder
from tests.lightning_modules.small_parts import small_denoiser, small_diffusion, small_tower


def image(count: int = 2, side_px: int = 64) -> Tensor:
    return (
        torch.rand(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(1)) * 2 - 1
    )


def small_vae(folder: Path | str = "") -> KlAutoencoder:
    return KlAutoencoder(str(folder), block_channels=(8, 16, 24, 32), norm_groups=4)


def full_features(folder: Path | str = "") -> DiffusionFeatures:
    """The eight taps over a small KL-VAE."""
    diffusion = DiffusionModel(
        small_vae(folder), HashedTextEncoder(16), small_tower(), denoiser=small_denoiser
    )
    return DiffusionFeatures(diffusion, 50, "full")


def shapes_said(features: DiffusionFeatures, side_px: int) -> list[tuple[int, int, int]]:
    pairs = zip(features.channels, features.strides, strict=True)
    return [(channels, side_px // stride, side_px // stride) for channels, stride in pairs]


def test_unet_maps_have_the_strides_and_channels_said(seed: int) -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet")
    maps = features(image())
    assert features.strides == [32, 16, 8]
    assert [tuple(each.shape[1:]) for each in maps] == shapes_said(features, 64)


def test_full_maps_have_the_strides_and_channels_said(seed: int) -> None:
    features = full_features()
    maps = features(image())
    assert features.strides == [32, 16, 8, 4, 8, 8, 4]
    assert [tuple(each.shape[1:]) for each in maps] == shapes_said(features, 64)


def test_full_maps_are_still_there_after_weights_were_read(tmp_path: Path, seed: int) -> None:
    small_vae().vae.save_pretrained(tmp_path / "vae")
    features = full_features(tmp_path)
    features.diffusion.load()
    map_count = len(features(image()))
    assert map_count == len(features.channels)


def test_same_image_has_the_same_features_twice(seed: int) -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet")
    for one, other in zip(features(image()), features(image()), strict=True):
        assert one.equal(other)


def test_features_of_an_image_do_not_depend_on_its_batch(seed: int) -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet")
    for batched, alone in zip(features(image(4)), features(image(4)[2:3]), strict=True):
        torch.testing.assert_close(batched[2:3], alone, rtol=1e-4, atol=1e-4)


def test_features_draw_nothing_from_the_global_random_numbers(seed: int) -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet")
    before = torch.get_rng_state()
    features(image())
    assert torch.get_rng_state().equal(before)


def test_features_carry_no_gradient_and_freeze_the_model(seed: int) -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet")
    picture = image().requires_grad_()
    assert not any(each.requires_grad for each in features(picture))
    assert not any(weight.requires_grad for weight in features.parameters())


def test_frozen_model_stays_in_evaluation_mode() -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet").train()
    assert not any(module.training for module in features.modules())


def test_time_of_noising_changes_the_features(seed: int) -> None:
    diffusion = small_diffusion()
    early, late = (DiffusionFeatures(diffusion, t, "unet")(image())[0] for t in (1, 900))
    assert not torch.allclose(early, late)


def test_hooks_are_gone_after_a_pass(seed: int) -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet")
    features(image())
    assert not any(tap._forward_pre_hooks for tap in features.tapped_modules()[0])


def test_full_taps_of_a_dct_are_refused_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"DctAutoencoder has no layers.* set taps: unet"
    ) as caught:
        DiffusionFeatures(small_diffusion(), 50, "full")
    assert "\n" not in str(caught.value)


def test_unknown_taps_are_refused() -> None:
    with pytest.raises(ValueError, match="'some': expected full or unet"):
        DiffusionFeatures(small_diffusion(), 50, "some")


def test_side_that_the_unet_cannot_halve_is_refused() -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet")
    with pytest.raises(ValueError, match=r"48 x 48 px: expected multiples of 32"):
        features(image(side_px=48))
