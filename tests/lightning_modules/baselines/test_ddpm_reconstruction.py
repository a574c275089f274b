"""Holds the DDPM reconstruction to its loss, its way back and its map."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from datamodules.vocabulary import Vocabulary
from lightning_modules.baselines.ddpm_reconstruction import DdpmReconstruction
from lightning_modules.equations.distillation import distillation_map
from lightning_modules.nets.autoencoder import DctAutoencoder
from lightning_modules.nets.diffusion_model import NoiseSchedule
from tests.lightning_modules.small_parts import (
    NAMES,
    SIDE_PX,
    LossRecord,
    defect_batch,
    quiet_trainer,
    rows_of,
    small_denoiser,
    small_vae,
)


def small_ddpm(**settings: Any) -> DdpmReconstruction:
    """The system at its smallest, its scale fitted."""
    torch.manual_seed(0)
    given: dict[str, Any] = {"autoencoder": DctAutoencoder(), "denoiser": small_denoiser}
    given |= {"schedule": NoiseSchedule(100, "cosine"), "weights": "random"}
    given |= {"model_name": "test_resnet", "image_size_px": SIDE_PX, "blur_sigma_px": 0.0}
    model = DdpmReconstruction(**given | settings)
    model.measure(defect_batch().image)
    return model.eval()


awake = partial(small_ddpm, denoiser=partial(small_denoiser, zero_init=False))


def test_loss_is_that_of_noise_at_the_seeds_times() -> None:
    model, batch = awake(), defect_batch()
    model.log = lambda *_, **__: None  # type: ignore[method-assign]
    loss = model.training_step(batch, 0)
    generator = torch.Generator().manual_seed(batch.seeds[0])
    t = torch.randint(1, 101, (4,), generator=generator)
    z_0 = model.autoencoder.encode(batch.image)
    eps = torch.randn(z_0.shape, generator=generator)
    level = model.schedule.alpha_bar[t].view(4, 1, 1, 1)
    z_t = level.sqrt() * z_0 + (1 - level).sqrt() * eps
    torch.testing.assert_close(loss, functional.mse_loss(model.denoise(z_t, t), eps))


def test_way_back_is_ddims_from_the_noised_step_to_the_clean_one() -> None:
    model = awake(noised_to_step=40, reverse_steps=4)
    z_0 = model.autoencoder.encode(defect_batch().image)
    noise = torch.randn(z_0.shape[1:], generator=torch.Generator().manual_seed(0))
    level = model.schedule.alpha_bar
    z = level[40].sqrt() * z_0 + (1 - level[40]).sqrt() * noise
    for t, before in ((40, 30), (30, 20), (20, 10), (10, 0)):
        eps = model.denoise(z, torch.full((4,), t))
        clean = (z - (1 - level[t]).sqrt() * eps) / level[t].sqrt()
        z = level[before].sqrt() * clean + (1 - level[before]).sqrt() * eps
    torch.testing.assert_close(model.restore_latents(z_0), z, atol=1e-4, rtol=1e-4)


def knows(model: DdpmReconstruction, images: Tensor) -> None:
    """Gives it the perfect denoiser of these images (B, 3, s, s), or of one image for all."""
    z_0 = model.autoencoder.encode(images)

    def true_noise(z_t: Tensor, t: Tensor) -> Tensor:
        level = model.schedule.alpha_bar[t].view(-1, 1, 1, 1)
        return (z_t - level.sqrt() * z_0) / (1 - level).sqrt()

    model.denoise = true_noise  # type: ignore[method-assign]


def test_denoiser_that_knows_the_images_leaves_nothing_odd() -> None:
    model, images = awake(), defect_batch().image
    knows(model, images)
    maps, scores = model.score(images)
    assert maps.abs().max() < 1e-3 and scores.abs().max() < 1e-3


def test_denoiser_that_knows_good_parts_leaves_a_planted_square_alone() -> None:
    model = awake(blur_sigma_px=2.0)
    good = torch.full((1, 3, SIDE_PX, SIDE_PX), 0.1)
    knows(model, good)
    odd = good.repeat(2, 1, 1, 1)
    odd[0, :, 40:52, 8:20] = -0.9
    maps, scores = model.score(odd)
    row, column = divmod(int(maps[0].argmax()), SIDE_PX)
    assert 36 <= row < 56 and 4 <= column < 24
    assert scores[0] > 10 * scores[1]


def test_map_adds_pixels_and_features_to_what_the_autoencoder_alone_makes() -> None:
    model, images = awake(), defect_batch().image
    z_0 = model.autoencoder.encode(images)
    restored = model.autoencoder.decode(model.restore_latents(z_0))
    own = model.autoencoder.decode(z_0)
    expected = (own - restored).abs().mean(1)
    expected += distillation_map(model.features(own), model.features(restored), SIDE_PX)[:, 0]
    maps, scores = model.score(images)
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(scores, expected.flatten(1).amax(1))


def test_only_the_denoiser_learns_and_does(tmp_path: Path) -> None:
    model, record = small_ddpm(base_learning_rate=3e-3), LossRecord()
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    trained = {name.split(".")[0] for name, one in model.named_parameters() if one.requires_grad}
    assert trained == {"denoiser"}
    good = rows_of(defect_batch(), [3, 3, 3, 3])
    parts = [replace(good, seeds=[4 * turn, 0, 0, 0]) for turn in range(150)]
    trainer = quiet_trainer(tmp_path, callbacks=[record])
    trainer.fit(model.train(), DataLoader(parts, batch_size=None))  # type: ignore[arg-type]
    assert record.mean(140, 150) < 0.95 * record.mean(0, 5)


def test_takes_a_vae_of_stage_1() -> None:
    model = small_ddpm(autoencoder=small_vae())
    maps, _ = model.score(defect_batch().image)
    assert maps.shape == (4, SIDE_PX, SIDE_PX) and torch.isfinite(maps).all()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"image_size_px": 80}, "image_size_px is 80: expected a multiple of 32"),
        ({"noised_to_step": 101}, "got noised_to_step 101 and reverse_steps 10: expected 1 to 100"),
        ({"reverse_steps": 50}, "and no more back than forth"),
        ({"weights": ""}, "the backbone has no weights"),
    ],
)
def test_setting_that_is_none_is_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        small_ddpm(**settings)
    assert "\n" not in str(caught.value)
