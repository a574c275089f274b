"""DDPM reconstruction: what a diffusion model of good parts makes of an image; the rest is odd.

This is what the DiffuseDefect paper says of DMAD, taken literally, from stage 1's own parts. The
published DMAD, which has no diffusion, is in `dmad.py`.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from datamodules.sample import Batch
from lightning_modules.anomaly_module import AnomalyModule
from lightning_modules.equations.anomaly_maps import blurred
from lightning_modules.equations.diffusion import add_noise, noise_loss
from lightning_modules.equations.distillation import distillation_map
from lightning_modules.nets.autoencoder import Autoencoder
from lightning_modules.nets.backbone_features import BackboneFeatures
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_model import NoiseSchedule
from lightning_modules.nets.sampler import draw_noise, seeded, stepper_of
from lightning_modules.optimizers import adamw, trainable

# The denoiser's text is one token of zeros: it knows one kind of images and is told nothing.
CONTEXT_WIDTH = 8


class DdpmReconstruction(AnomalyModule):
    """A U-Net that learned to denoise latents of good images restores noised ones; no text.

    noised_to_step: how far an image's latents are noised before they come back in `reverse_steps`
    without chance (DDIM). The map is what the restored image and what the autoencoder alone makes
    of the seen one differ in: pixels, and cosines of a frozen net's features (`weights`).
    """

    stage = "ddpm_reconstruction"

    def __init__(
        self,
        autoencoder: Autoencoder,
        denoiser: Callable[[int, int], Denoiser],
        schedule: NoiseSchedule,
        weights: str = "",
        model_name: str = "",
        layers: tuple[str, ...] = (),
        noised_to_step: int = 40,
        reverse_steps: int = 10,
        base_learning_rate: float = 1e-4,
        blur_sigma_px: float = 4.0,
        image_size_px: int = 256,
        batch_size: int = 8,
    ) -> None:
        net = denoiser(autoencoder.latent_channels, CONTEXT_WIDTH)
        stride = autoencoder.stride * 2 ** (len(net.unet.up_blocks) - 1)
        super().__init__(image_size_px, batch_size, stride=stride)
        if not 1 <= reverse_steps <= noised_to_step <= schedule.diffusion_steps:
            raise ValueError(
                f"got noised_to_step {noised_to_step} and reverse_steps {reverse_steps}: expected "
                f"1 to {schedule.diffusion_steps}, the schedule's own, and no more back than forth"
            )
        self.automatic_optimization = True
        self.autoencoder = autoencoder.requires_grad_(False)
        self.denoiser, self.schedule = net, schedule
        self.features = BackboneFeatures(weights, model_name, layers)
        self.noised_to_step, self.reverse_steps = noised_to_step, reverse_steps
        self.base_learning_rate, self.blur_sigma_px = base_learning_rate, blur_sigma_px

    def tags(self) -> dict[str, str]:
        """The net whose features are compared, and the steps there and back."""
        steps = f"{self.noised_to_step} in {self.reverse_steps}"
        return {**self.features.tags(), "noised_to_step": steps}

    def load(self) -> None:
        """Reads the weights that the parts name; FileNotFoundError, or ValueError."""
        for part in (self.autoencoder, self.denoiser, self.features):
            part.load()

    def measure(self, image: Tensor) -> None:
        """Fits the autoencoder's scale to training images (B, 3, H, W) in [-1, 1]."""
        self.autoencoder.measure(image)

    def denoise(self, z_t: Tensor, t: Tensor) -> Tensor:
        """Predicted noise (B, c, h, w) of latents z_t at times t (B,)."""
        context = z_t.new_zeros(len(z_t), 1, CONTEXT_WIDTH)
        return self.denoiser(z_t, t, context, torch.ones_like(context[..., 0], dtype=torch.bool))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The noise loss at times and noises that follow from the batch's first seed (eq. 12)."""
        z_0 = self.autoencoder.encode(batch.image)
        generator = torch.Generator().manual_seed(batch.seeds[0])
        t = torch.randint(
            1, self.schedule.diffusion_steps + 1, (len(z_0),), generator=generator
        ).to(z_0.device)
        eps = torch.randn(z_0.shape, generator=generator).to(z_0)
        z_t = add_noise(z_0, eps, t, self.schedule.alpha_bar)
        loss = noise_loss(self.denoise(z_t, t), eps)
        self.log("mask/train/loss", loss.detach(), batch_size=len(z_0))
        return loss

    @torch.no_grad()
    def restore_latents(self, z_0: Tensor) -> Tensor:
        """Latents (B, c, h, w) noised, by the same noise for each image, and denoised again."""
        alpha_bar, last = self.schedule.alpha_bar, self.noised_to_step
        times = torch.linspace(last, 0, self.reverse_steps + 1).round().int().tolist()
        eps = draw_noise(seeded([0]), z_0.shape[1:]).to(z_0).expand_as(z_0)
        z = add_noise(z_0, eps, torch.full((len(z_0),), last, device=z_0.device), alpha_bar)
        step = stepper_of("ddim", alpha_bar, times, [])
        for t, previous in pairwise(times):
            now = torch.full((len(z),), t, device=z.device)
            z = step(z, self.denoise(z, now), t, previous)
        return z

    @torch.no_grad()
    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Blurred maps of what was not restored, in pixels and in features, and their peaks."""
        z_0 = self.autoencoder.encode(images)
        seen, restored = (self.autoencoder.decode(z) for z in (z_0, self.restore_latents(z_0)))
        seen_features, features = self.features(seen), self.features(restored)
        maps = distillation_map(seen_features, features, images.shape[-1])[:, 0]
        maps = maps + (restored - seen).abs().mean(1)
        maps = blurred(maps, self.blur_sigma_px)
        return maps, maps.amax((1, 2))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW at one rate."""
        groups: list[dict[str, object]] = [{"params": list(trainable(self))}]
        return adamw(groups, lr=self.base_learning_rate, betas=(0.9, 0.999))
