"""Holds the frozen features: shapes, stillness, both kinds of taps and modes, and their store."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMInverseScheduler
from torch import Tensor

from lightning_modules.nets.diffusion_features import (
    DiffusionFeatures,
    FeatureStore,
    invert_step_by_step,
    noise_at_once,
)
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition
from tests.lightning_modules.nets.test_taesd_autoencoder import write_random_weights
from tests.lightning_modules.small_parts import awake_diffusion, small_diffusion, small_vae

ROOMY = 10**9


def image(count: int = 2, side_px: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, side_px, side_px, generator=generator) * 2 - 1


def features_of(kind: str, folder: Path) -> DiffusionFeatures:
    """Taps of the U-Net alone, or of a small KL-VAE or a tiny autoencoder too."""
    if kind == "vae":
        small_vae().vae.save_pretrained(folder / "vae")
        diffusion = small_diffusion(small_vae(folder))
        diffusion.load()
    elif kind == "tiny":
        autoencoder = write_random_weights(folder, 4)
        autoencoder.load()
        diffusion = small_diffusion(autoencoder)
    else:
        diffusion = small_diffusion()
    return DiffusionFeatures(diffusion, 50, "unet" if kind == "unet" else "full")


@pytest.mark.parametrize("kind", ["unet", "vae", "tiny"])
def test_maps_have_the_strides_and_channels_said(kind: str, tmp_path: Path, seed: int) -> None:
    features = features_of(kind, tmp_path)
    extra = {"unet": [], "vae": [4, 8, 8, 4], "tiny": [2, 4, 8, 8, 4]}
    assert features.strides == [32, 16, 8, *extra[kind]]
    pairs = zip(features.channels, features.strides, strict=True)
    expected = [(channels, 64 // stride, 64 // stride) for channels, stride in pairs]
    assert [tuple(each.shape[1:]) for each in features(image())] == expected


def test_features_hang_on_the_image_alone_and_on_no_random_number(
    tmp_path: Path, seed: int
) -> None:
    features = features_of("unet", tmp_path)
    before = torch.get_rng_state()
    for batched, again, alone in zip(
        features(image(4)), features(image(4)), features(image(4)[2:3]), strict=True
    ):
        assert batched.equal(again)
        torch.testing.assert_close(batched[2:3], alone, rtol=1e-4, atol=1e-4)
    assert torch.get_rng_state().equal(before)


@pytest.fixture
def awake() -> DiffusionModel:
    return awake_diffusion()


@pytest.mark.parametrize("mode", ["single", "sequential"])
@pytest.mark.parametrize("context", ["implicit", "none"])
def test_features_are_of_the_mode_s_latents_under_the_context(
    awake: DiffusionModel, mode: str, context: str
) -> None:
    z_0, t = awake.encode(image()), torch.tensor([3, 3])
    implicit, null = implicit_condition(awake.caption(image())), awake.text_encoder(["", ""])
    text = implicit if context == "implicit" else null
    z_t = noise_at_once(awake, z_0, 3) if mode == "single" else None
    z_t = invert_step_by_step(awake, z_0, 3, text) if z_t is None else z_t
    expected = awake.denoiser.maps(z_t, t, text.tokens, text.mask)
    found = DiffusionFeatures(awake, 3, "unet", mode, context)(image())
    assert all(a.equal(b) for a, b in zip(found, expected, strict=True))
    other = DiffusionFeatures(awake, 900 if mode == "single" else 2, "unet", mode, context)
    assert not other(image())[0].equal(found[0])


def test_inversion_follows_the_library_s(awake: DiffusionModel) -> None:
    scheduler = DDIMInverseScheduler(1000, 1e-4, 2e-2, "linear", clip_sample=False)
    scheduler.set_timesteps(1000)
    generator = torch.Generator().manual_seed(0)
    start = expected = torch.randn(2, 32, 8, 8, generator=generator)
    text = implicit_condition(torch.randn(2, 16, generator=generator))
    for step in scheduler.timesteps[:5]:
        read = {"encoder_hidden_states": text.tokens, "encoder_attention_mask": text.mask}
        noise = awake.denoiser.unet(expected, step, **read).sample
        expected = scheduler.step(noise, int(step), expected).prev_sample
    ours = invert_step_by_step(awake, start, 6, text)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"taps": "some"}, "'some': expected full or unet"),
        ({"taps": "full"}, r"DctAutoencoder has no layers.* set taps: unet"),
        ({"mode": "several"}, "'several': expected single or sequential"),
        ({"context": "caption"}, "context is 'caption': expected implicit or none"),
        ({"feature_timestep": 0}, "is 0: expected 1 to 1000"),
        ({"feature_timestep": 1001}, "is 1001: expected 1 to 1000"),
    ],
)
def test_other_settings_are_refused_in_one_line(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        DiffusionFeatures(small_diffusion(), **{"feature_timestep": 50, "taps": "unet", **settings})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


class Taken:
    """Two maps of each image, and how many images they were taken of."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, image: Tensor) -> list[Tensor]:
        """The image, and every second pixel of it."""
        self.count += len(image)
        return [image, image[..., ::2, ::2]]


MAP_BYTES = 2 * (3 * 8 * 8 + 3 * 4 * 4)


def test_store_takes_each_variant_once_and_recalls_in_the_order_of_the_batch() -> None:
    taken, pixels = Taken(), image(3, 8)
    store = FeatureStore(taken, ROOMY)
    store(pixels[1:2], [8])
    first, order = store(pixels, [7, 8, 9]), [2, 0, 1]
    again = store(pixels[order], [9, 7, 8])
    assert taken.count == 3 and store.held_bytes == 3 * MAP_BYTES
    torch.testing.assert_close(first[0], pixels, rtol=1e-3, atol=1e-3)
    assert all(one[order].equal(other) for one, other in zip(first, again, strict=True))


def test_maps_are_the_same_whether_they_fit_or_not() -> None:
    taken, pixels = Taken(), image(3, 8)
    roomy, tight = FeatureStore(Taken(), ROOMY), FeatureStore(taken, 2 * MAP_BYTES)
    for _ in range(2):
        pairs = zip(roomy(pixels, [7, 8, 9]), tight(pixels, [7, 8, 9]), strict=True)
        assert all(one.equal(other) for one, other in pairs)
    assert taken.count == 4 and tight.held_bytes == 2 * MAP_BYTES


def test_features_beyond_half_precision_are_refused() -> None:
    with pytest.raises(ValueError, match=r"float16's range .* set feature_cache_gb: 0"):
        FeatureStore(Taken(), ROOMY)(1e6 * torch.ones(1, 3, 8, 8), [1])
