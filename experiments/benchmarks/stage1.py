"""Stage 1: work of a training step of the paper's nets, and its speed beside diffusers' own loop.

The two loops train the same weights on the same batch and noise.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from callbacks.ema import WeightEma
from experiments.benchmarks.measurement import (
    BenchSettings,
    Measurement,
    Words,
    compare_times,
    count_tf,
    counted,
    threads,
    time_in_turns,
    time_on_gpu,
)
from experiments.config import load_config, parse_stage
from lightning_modules.equations.diffusion import add_noise, noise_loss
from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_model import DiffusionModel, NoiseSchedule
from lightning_modules.nets.image_encoder import ClipImageEncoder
from lightning_modules.nets.text_encoder import ClipTextEncoder
from lightning_modules.optimizers import adamw

CONFIG, TEXT_WIDTH, LATENT_SIDE = "stage1.yaml", 768, 64
# What SD-1.5's parts are known to cost at 512 px, TF an image.
KNOWN_TF = {
    "U-Net forward": 0.803,
    "U-Net forward + backward": 2.470,
    "KL-VAE encoding": 1.117,
    "text tower": 0.0133,
}
KNOWN_PARAMETERS = 859_520_964
DIFFUSION_STEPS = 1000
LEARNING_RATE, ADAM_BETAS, WEIGHT_DECAY = 1e-4, (0.9, 0.999), 1e-4
EMA_DECAY, MOST_NORM = 0.9999, 1.0
LOSS_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths of the nets and the batch; the defaults are SD-1.5's divided by four."""

    unet_channels: tuple[int, ...] = (80, 160, 320, 320)
    vae_channels: tuple[int, ...] = (32, 64, 128, 128)
    text_width: int = 192
    norm_groups: int = 16
    batch_size: int = 4
    image_size_px: int = 256


def measure_work(settings: BenchSettings) -> list[Measurement]:
    """TF of one training image: each part beside what it is known to cost, online beside cached."""
    with fake_diffusion(CONFIG) as model:
        text, tower = model.text_encoder, model.image_encoder
        assert isinstance(text, ClipTextEncoder) and isinstance(tower, ClipImageEncoder)
        read = random_unet_inputs(1, side=LATENT_SIDE, text_width=TEXT_WIDTH)
        step = count_tf(lambda: model.denoiser(*read).square().mean().backward())
        encoding = count_tf(lambda: model.encode(torch.zeros(1, 3, 512, 512)))
        ids = torch.zeros(1, text.max_tokens, dtype=torch.int64)
        with torch.no_grad():
            forward = count_tf(lambda: model.denoiser(*read))
            words = count_tf(lambda: text.tower(input_ids=ids))
            pixels = torch.zeros(1, 3, tower.image_size_px, tower.image_size_px)
            image_tower = count_tf(lambda: tower.tower(pixel_values=pixels))
        parameters = float(sum(weight.numel() for weight in model.denoiser.parameters()))
    cached = step + words
    online = cached + encoding + image_tower
    work = dict(zip(KNOWN_TF, (forward, step, encoding, words), strict=True))
    row = partial(counted, unit="TF/image")
    return [
        *(row(f"work: {name}", work[name], known, limit=1.0) for name, known in KNOWN_TF.items()),
        row("work: whole step, cached latents beside online", cached, online),
        counted("work: U-Net parameters", parameters, KNOWN_PARAMETERS, "weights", limit=1.0),
    ]


@contextmanager
def fake_diffusion(config: str) -> Iterator[DiffusionModel]:
    """The diffusion model of a shipped config, and all made inside the block, without memory.

    The model alone: metrics copy their state, and a copy of a fake tensor can end the process.
    """
    model = parse_stage(load_config([config])).model
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(DiffusionModel, "diffusion")
    node = parser.parse_object({"diffusion": model.init_args.diffusion})
    with FakeTensorMode():
        yield parser.instantiate(node).diffusion


def random_unet_inputs(
    batch_size: int, *, side: int, text_width: int, tokens: int = 77
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a denoiser reads: latents, times, text and its mask."""
    return (
        torch.randn(batch_size, 4, side, side),
        torch.randint(1, 1001, (batch_size,)),
        torch.randn(batch_size, tokens, text_width),
        torch.ones(batch_size, tokens, dtype=torch.bool),
    )


PAPER_SIZES = Sizes(
    unet_channels=(320, 640, 1280, 1280),
    vae_channels=(128, 256, 512, 512),
    text_width=768,
    norm_groups=32,
    batch_size=32,
    image_size_px=512,
)


class Parts:
    """Nets with random weights, the autoencoder frozen, and a random batch with its text.

    They are made on torch's default device.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.autoencoder = KlAutoencoder(
            block_channels=sizes.vae_channels, norm_groups=sizes.norm_groups
        )
        self.autoencoder.requires_grad_(False).eval()
        self.denoiser = Denoiser(
            4,
            sizes.text_width,
            block_channels=sizes.unet_channels,
            norm_groups=sizes.norm_groups,
            zero_init=False,  # with zero outputs most weights would get no gradient at first
        )
        count, side_px = sizes.batch_size, sizes.image_size_px
        self.pixels = torch.rand(count, 3, side_px, side_px) * 2 - 1
        side = side_px // self.autoencoder.stride
        self.noise, self.t, self.text, self.text_mask = random_unet_inputs(
            count, side=side, text_width=sizes.text_width
        )

    @torch.no_grad()
    def latents(self) -> Tensor:
        """The images' latents."""
        return self.autoencoder.encode(self.pixels)


def our_step(
    parts: Parts, denoiser: Denoiser, latents: Callable[[], Tensor]
) -> Callable[[], Tensor]:
    """A training step of stage 1's equations, fused AdamW and averages; it gives the loss."""
    alpha_bar = NoiseSchedule(DIFFUSION_STEPS).alpha_bar
    weights: list[Tensor] = list(denoiser.parameters())
    group: dict[str, object] = {"params": weights, "weight_decay": WEIGHT_DECAY}
    optimizer = adamw([group], lr=LEARNING_RATE, betas=ADAM_BETAS)
    decay = WeightEma(EMA_DECAY).decay_at(1)
    averages = [weight.detach().clone() for weight in weights]

    def step() -> Tensor:
        z_t = add_noise(latents().float(), parts.noise, parts.t, alpha_bar)
        loss = noise_loss(denoiser(z_t, parts.t, parts.text, parts.text_mask), parts.noise)
        loss.backward()
        clip_grad_norm_(weights, MOST_NORM)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - decay)
        return loss.detach()

    return step


def diffusers_step(parts: Parts, unet: nn.Module) -> Callable[[], Tensor]:
    """The step of diffusers' text-to-image script, with AdamW and EMAModel as they come.

    Departs from the script: it takes the latent's mean, as ours does, not a draw.
    """
    vae = parts.autoencoder.vae
    scheduler = DDPMScheduler(
        DIFFUSION_STEPS, beta_start=1e-4, beta_end=2e-2, beta_schedule="linear"
    )
    optimizer = AdamW(
        unet.parameters(), lr=LEARNING_RATE, betas=ADAM_BETAS, weight_decay=WEIGHT_DECAY
    )
    average = EMAModel(unet.parameters(), decay=EMA_DECAY)

    def step() -> Tensor:
        with torch.no_grad():
            latents = vae.encode(parts.pixels).latent_dist.mode() * vae.config.scaling_factor
        noisy = scheduler.add_noise(latents, parts.noise, parts.t - 1)
        predicted = unet(noisy, parts.t - 1, parts.text, return_dict=False)[0]
        loss = functional.mse_loss(predicted, parts.noise)
        loss.backward()
        clip_grad_norm_(unet.parameters(), MOST_NORM)
        optimizer.step()
        optimizer.zero_grad()
        average.step(unet.parameters())
        return loss.detach()

    return step


def measure_step(settings: BenchSettings, sizes: Sizes | None = None) -> list[Measurement]:
    """CPU time of a step beside a plain diffusers loop with the same weights, batch and noise.

    RuntimeError where the two do not compute the same. A ratio on a CPU says nothing of a GPU.
    """
    sizes = sizes or Sizes()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = Parts(sizes)
    first, second = copy.deepcopy(parts.denoiser), copy.deepcopy(parts.denoiser)
    stored = parts.latents().half()  # as the cache keeps them
    online, cached = our_step(parts, first, parts.latents), our_step(parts, second, lambda: stored)
    unet = copy.deepcopy(parts.denoiser.unet)
    plain = diffusers_step(parts, unet)
    with threads(1):
        # The later losses are those of weights that each has trained on its own.
        off = max(abs(float(online()) / float(plain()) - 1) for _ in range(3))
    if off > LOSS_TOLERANCE:
        raise RuntimeError(
            f"the losses of our step and of diffusers' part by {off:.1e}, expected {LOSS_TOLERANCE}"
        )
    words: Words = {
        "losses part by": f"{off:.0e}",
        "px": sizes.image_size_px,
        "batch": sizes.batch_size,
    }
    times = time_in_turns((online, cached, plain), repeats=settings.repeats)
    limits = {"online": 1.0, "cached": work_ratio(sizes)}
    return [
        compare_times(
            f"step: {name} latents, beside plain diffusers",
            seconds,
            times[-1],
            count=sizes.batch_size,
            unit="images/s per core",
            limit=limit,
            settings=words,
        )
        for (name, limit), seconds in zip(limits.items(), times, strict=False)
    ]


def work_ratio(sizes: Sizes) -> float:
    """How many times the work of a step from cached latents an online step is, by count."""
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        parts = Parts(sizes)
        read = (parts.noise, parts.t, parts.text, parts.text_mask)
        rest = count_tf(lambda: parts.denoiser(*read).square().mean().backward())
        return 1 + count_tf(parts.latents) / rest


def measure_gpu(
    settings: BenchSettings, sizes: Sizes = PAPER_SIZES, device: torch.device | None = None
) -> list[Measurement]:
    """Images a second and memory of the paper's step from cached latents on a GPU, bf16.

    Ours is laid out and compiled as a run does it; plain diffusers, which also encodes, before it.
    """

    def plain(device: torch.device) -> Callable[[], object]:
        with device:
            parts = Parts(sizes)
        return under_autocast(diffusers_step(parts, parts.denoiser.unet), device)

    def ours(device: torch.device, *, is_online: bool) -> Callable[[], object]:
        with device:
            parts = Parts(sizes)
            stored = parts.latents()
        parts.denoiser.speed_up(device)
        latents = parts.latents if is_online else lambda: stored
        with device:
            return under_autocast(our_step(parts, parts.denoiser, latents), device)

    measure = partial(time_on_gpu, count=sizes.batch_size, device=device)
    reference = measure("GPU: plain diffusers, online latents", plain, None)
    return [
        reference,
        measure("GPU: online latents", partial(ours, is_online=True), reference.ours),
        measure("GPU: cached latents", partial(ours, is_online=False), reference.ours),
    ]


def under_autocast(step: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """The step with its matrix products in bfloat16."""

    def cast() -> object:
        with torch.autocast(device.type, torch.bfloat16):
            return step()

    return cast


PARTS = {"work": measure_work, "step": measure_step, "gpu": measure_gpu}
