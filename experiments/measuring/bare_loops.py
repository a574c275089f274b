"""A training step of stage 1 without a Trainer: ours, and that of diffusers' own script.

Both start from the same `Parts` and see the same batch and noise, so that benchmarks may set one
beside the other (`benchmarks/stage1_step.py`).
"""

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, DDPMScheduler
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from transformers import CLIPTextConfig, CLIPTextModel

from callbacks.ema import TrainableWeights, WeightEma
from lightning_modules.equations.diffusion import add_noise, noise_loss
from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_model import NoiseSchedule
from lightning_modules.optimizers import adamw

LEARNING_RATE, ADAM_BETAS, WEIGHT_DECAY = 1e-4, (0.9, 0.999), 1e-4
EMA_DECAY, MOST_NORM = 0.9999, 1.0
TEXT_TOKENS = 77
DIFFUSION_STEPS = 1000
Cast = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths of the nets and the batch; the defaults are SD-1.5's divided by four."""

    unet_channels: tuple[int, ...] = (80, 160, 320, 320)
    vae_channels: tuple[int, ...] = (32, 64, 128, 128)
    text_width: int = 192
    text_layers: int = 12
    text_heads: int = 3
    norm_groups: int = 16
    batch_size: int = 4
    image_size_px: int = 256


@dataclass(frozen=True, slots=True)
class Parts:
    """The nets that every side starts from, and the batch that every side sees."""

    autoencoder: KlAutoencoder
    text: CLIPTextModel
    denoiser: Denoiser
    pixels: Tensor
    ids: Tensor
    noise: Tensor
    t: Tensor


def make_parts(sizes: Sizes) -> Parts:
    """Nets with random weights, frozen but the denoiser, and a random batch."""
    autoencoder = KlAutoencoder(block_channels=sizes.vae_channels, norm_groups=sizes.norm_groups)
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=sizes.text_width,
            num_hidden_layers=sizes.text_layers,
            num_attention_heads=sizes.text_heads,
            intermediate_size=4 * sizes.text_width,
        )
    )
    denoiser = Denoiser(
        autoencoder.latent_channels,
        sizes.text_width,
        block_channels=sizes.unet_channels,
        norm_groups=sizes.norm_groups,
        zero_init=False,  # with zero outputs most weights would get no gradient in the first steps
    )
    batch_size, side_px = sizes.batch_size, sizes.image_size_px
    side = side_px // autoencoder.stride
    return Parts(
        autoencoder.requires_grad_(False).eval(),
        text.requires_grad_(False).eval(),
        denoiser,
        pixels=torch.rand(batch_size, 3, side_px, side_px) * 2 - 1,
        ids=torch.randint(0, text.config.vocab_size, (batch_size, TEXT_TOKENS)),
        noise=torch.randn(batch_size, autoencoder.latent_channels, side, side),
        t=torch.randint(1, DIFFUSION_STEPS + 1, (batch_size,)),
    )


class Average:
    """The averages that WeightEma keeps of a module's weights."""

    def __init__(self, module: nn.Module, ema: WeightEma) -> None:
        self.live = TrainableWeights(module).shares
        self.ema, self.update_count = ema, 0
        self.values = [share.clone() for share in self.live]

    def update(self) -> None:
        """Average once more; the first time, the weights are taken as they are."""
        decay = self.ema.decay_at(self.update_count) if self.update_count else 0.0
        torch._foreach_lerp_(self.values, self.live, 1 - decay)
        self.update_count += 1


class OurLoop:
    """Our step: equations, denoiser, fused AdamW and averages as stage 1 has them."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.denoiser = parts, copy.deepcopy(parts.denoiser)
        self.schedule = NoiseSchedule(DIFFUSION_STEPS)
        group = {"params": list(self.denoiser.parameters()), "weight_decay": WEIGHT_DECAY}
        self.optimizer = adamw([group], lr=LEARNING_RATE, betas=ADAM_BETAS)
        self.average = Average(self.denoiser, WeightEma(EMA_DECAY))

    @torch.no_grad()
    def encode(self) -> Tensor:
        """Latents computed from the pictures."""
        return self.parts.autoencoder.encode(self.parts.pixels)

    def step(self, latents: Callable[[], Tensor], cast: Cast = nullcontext) -> Tensor:
        """The loss of one step on those latents; the weights move."""
        parts = self.parts
        with cast():
            z_0 = latents().float()
            with torch.no_grad():
                text = parts.text(input_ids=parts.ids).last_hidden_state
            z_t = add_noise(z_0, parts.noise, parts.t, self.schedule.alpha_bar)
            mask = torch.ones_like(parts.ids, dtype=torch.bool)
            eps_predicted = self.denoiser(z_t, parts.t, text, mask)
            loss = noise_loss(eps_predicted, parts.noise)
        loss.backward()
        clip_grad_norm_(self.denoiser.parameters(), MOST_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update()
        return loss.detach()

    def weights(self) -> tuple[Tensor, Tensor]:
        """All weights and all averages, each as one vector."""
        return flat(self.denoiser.parameters()), flat(self.average.values)


@dataclass(frozen=True, slots=True)
class Frozen:
    """What diffusers' loop only reads; in 16 bits where the loop is."""

    vae: AutoencoderKL
    text: CLIPTextModel

    def half(self) -> "Frozen":
        """The same in bfloat16."""
        return Frozen(copy.deepcopy(self.vae).bfloat16(), copy.deepcopy(self.text).bfloat16())


class DiffusersLoop:
    """The step of diffusers' text-to-image script; `tuned`: fused AdamW, foreach averages.

    Departs from the script: it takes the latent's mean, as ours does, not a draw.
    """

    def __init__(self, parts: Parts, *, tuned: bool) -> None:
        self.parts, self.unet = parts, copy.deepcopy(parts.denoiser.unet)
        self.scheduler = DDPMScheduler(
            DIFFUSION_STEPS, beta_start=1e-4, beta_end=2e-2, beta_schedule="linear"
        )
        self.optimizer = AdamW(
            self.unet.parameters(),
            lr=LEARNING_RATE,
            betas=ADAM_BETAS,
            weight_decay=WEIGHT_DECAY,
            fused=True if tuned else None,
        )
        self.average = EMAModel(self.unet.parameters(), decay=EMA_DECAY, foreach=tuned)

    def step(self, frozen: Frozen, cast: Cast = nullcontext) -> Tensor:
        """The loss of one step; the weights move."""
        parts, vae = self.parts, frozen.vae
        with torch.no_grad():
            latents = vae.encode(parts.pixels.to(vae.dtype)).latent_dist.mode()
            latents = latents * vae.config.scaling_factor
            text = frozen.text(parts.ids, return_dict=False)[0]
        timesteps, noise = parts.t - 1, parts.noise.to(latents.dtype)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        with cast():
            predicted = self.unet(noisy, timesteps, text, return_dict=False)[0]
        loss = functional.mse_loss(predicted.float(), noise.float())
        loss.backward()
        clip_grad_norm_(self.unet.parameters(), MOST_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.step(self.unet.parameters())
        return loss.detach()

    def weights(self) -> tuple[Tensor, Tensor]:
        """All weights and all averages, each as one vector."""
        return flat(self.unet.parameters()), flat(self.average.shadow_params)


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All values one after the other, without gradient."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
