"""Holds the frozen features: their shapes, their stillness, and both kinds of taps."""

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.diffusion_features import (
    FEATURE_MODES,
    DiffusionFeatures,
    invert_step_by_step,
)
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition
from lightning_modules.nets.text_encoder import HashedTextEncoder
from tests.lightning_modules.nets.test_taesd_autoencoder import write_random_weights
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


def test_frozen_pass_keeps_nothing_for_a_gradient(seed: int) -> None:
    features, kept = full_features(), []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        maps = features(image().requires_grad_())
    assert not kept and not any(each.requires_grad for each in maps)


def test_layers_that_learn_may_keep_the_maps(seed: int) -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet")
    finest = features(image())[-1]
    layer = torch.nn.Conv2d(finest.shape[1], 4, 1)
    layer(finest).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.any()


def test_no_image_is_decoded_and_no_noise_predicted(seed: int) -> None:
    features, calls = full_features(), []
    vae = cast(KlAutoencoder, features.diffusion.autoencoder).vae
    for module in (features.diffusion.denoiser.unet.conv_out, vae.decoder.conv_out):
        module.register_forward_pre_hook(lambda *_: calls.append(1))
    features(image())
    assert not calls


def test_sequential_features_are_of_the_inverted_latents(seed: int) -> None:
    diffusion = small_diffusion()
    once, inverted = (DiffusionFeatures(diffusion, 3, "unet", mode) for mode in FEATURE_MODES)
    assert not once(image())[0].equal(inverted(image())[0])
    z_0, text = diffusion.encode(image()), implicit_condition(diffusion.caption(image()))
    z_t, t = invert_step_by_step(diffusion, z_0, 3, text), torch.tensor([3, 3])
    expected = diffusion.denoiser.maps(z_t, t, text.tokens, text.mask)
    assert all(a.equal(b) for a, b in zip(inverted(image()), expected, strict=True))


def test_unknown_context_is_refused() -> None:
    with pytest.raises(ValueError, match="context is 'caption': expected implicit or none"):
        DiffusionFeatures(small_diffusion(), 50, "unet", context="caption")


def test_full_taps_of_a_tiny_autoencoder_reach_stride_2(tmp_path: Path, seed: int) -> None:
    autoencoder = write_random_weights(tmp_path, 4)
    autoencoder.load()
    text, tower = HashedTextEncoder(16), small_tower()
    diffusion = DiffusionModel(autoencoder, text, tower, denoiser=small_denoiser)
    features = DiffusionFeatures(diffusion, 50, "full")
    assert features.strides == [32, 16, 8, 2, 4, 8, 8, 4]
    assert [tuple(each.shape[1:]) for each in features(image())] == shapes_said(features, 64)


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


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'several': expected single or sequential"):
        DiffusionFeatures(small_diffusion(), 50, "unet", "several")


@pytest.mark.parametrize("timestep", [0, 1001])
def test_time_outside_the_schedule_is_refused(timestep: int) -> None:
    with pytest.raises(ValueError, match=f"is {timestep}: expected 1 to 1000"):
        DiffusionFeatures(small_diffusion(), timestep, "unet")
