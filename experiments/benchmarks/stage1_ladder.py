"""Images a second and peak memory of the full-width step on a GPU, one means of speed at a time.

The ladder: attention that keeps its maps, fused attention, channels_last, compilation, fused AdamW
with foreach averages, CUDA graphs. Latents and text are synthetic, as if both were cached. A rung
that does not fit or does not run is a row that says so. Without a GPU there is one row, which says
that nothing was measured.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.training_utils import EMAModel
from rich.console import Console
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from callbacks.ema import WeightEma
from experiments.benchmarks.stage1_flops import count_passes, inputs
from experiments.measuring.bare_loops import (
    ADAM_BETAS,
    DIFFUSION_STEPS,
    EMA_DECAY,
    LEARNING_RATE,
    MOST_NORM,
    WEIGHT_DECAY,
    Average,
)
from experiments.measuring.measurements import BenchSettings, Measurement
from lightning_modules.equations.diffusion import add_noise, noise_loss
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_model import NoiseSchedule
from lightning_modules.optimizers import adamw

VERB = "stage1"
TEXT_WIDTH = 768
LATENT_STRIDE_PX, COARSEST_PX = 8, 64
BATCH_SIZES = (32, 64)
WARM_STEPS, TIMED_STEPS = 5, 20
PAPER_RATE = 60.0  # images a second and H100 at 512 px; the best public figure is 128, on an H200
PAPER_SIZE_PX = 512
PEAK_TF = 989.0  # dense 16-bit TF a second of an H100 or H200


@dataclass(frozen=True, slots=True)
class Rung:
    """The means of speed that are on; each is one of the denoiser's or the loop's."""

    name: str
    sdpa: bool = False
    channels_last: bool = False
    compiles: bool = False
    fused: bool = False
    graphs: bool = False
    checkpointing: bool = False


RUNGS = (
    Rung("checkpointing, eager attention", checkpointing=True),
    Rung("eager attention"),
    Rung("SDPA", sdpa=True),
    Rung("+ channels_last", sdpa=True, channels_last=True),
    Rung("+ compile", sdpa=True, channels_last=True, compiles=True),
    Rung("+ fused AdamW and EMA", sdpa=True, channels_last=True, compiles=True, fused=True),
    Rung("+ CUDA graphs", sdpa=True, channels_last=True, compiles=True, fused=True, graphs=True),
)
# float16 needs a loss scale, which makes each step wait for the GPU: two rungs show its price.
FLOAT16_RUNGS = (RUNGS[2], RUNGS[-2])
MakeDenoiser = Callable[..., Denoiser]


@dataclass(frozen=True, slots=True)
class Setup:
    """What all rungs share: the device, the net's constructor, and how long to look."""

    device: torch.device
    make_denoiser: MakeDenoiser
    side: int
    text_width: int
    tf_per_image: float
    warm_steps: int = WARM_STEPS
    timed_steps: int = TIMED_STEPS


class RungLoop:
    """The training step with a rung's means, on synthetic latents and text."""

    def __init__(self, setup: Setup, rung: Rung, batch_size: int, dtype: torch.dtype) -> None:
        device = setup.device
        with device:
            denoiser = setup.make_denoiser(
                4,
                setup.text_width,
                sdpa=rung.sdpa,
                channels_last=rung.channels_last,
                compile=rung.compiles and not rung.graphs,
                gradient_checkpointing=rung.checkpointing,
            )
            read = inputs(batch_size, side=setup.side, text_width=setup.text_width)
            self.z_0, self.t, self.text, self.mask = read
            self.eps = torch.randn_like(self.z_0)
            self.schedule = NoiseSchedule(DIFFUSION_STEPS)
        denoiser.speed_up(device)
        if rung.graphs:
            denoiser.unet.compile(mode="reduce-overhead")
        self.rung, self.denoiser, self.weights = rung, denoiser, list(denoiser.parameters())
        self.optimizer = make_optimizer(self.weights, fused=rung.fused)
        self.update_average = make_average(denoiser, fused=rung.fused)
        self.cast = torch.autocast(device.type, dtype)
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def step(self) -> Tensor:
        """The loss of one step, still on the device; the weights move."""
        if self.rung.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with self.cast:
            z_t = add_noise(self.z_0, self.eps, self.t, self.schedule.alpha_bar)
            loss = noise_loss(self.denoiser(z_t, self.t, self.text, self.mask), self.eps)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        clip_grad_norm_(self.weights, MOST_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.update_average()
        return loss.detach()


def make_optimizer(weights: list[nn.Parameter], *, fused: bool) -> AdamW:
    """Stage 1's fused AdamW, or torch's as it comes."""
    group: dict[str, object] = {"params": weights, "weight_decay": WEIGHT_DECAY}
    if fused:
        return adamw([group], lr=LEARNING_RATE, betas=ADAM_BETAS)
    return AdamW([group], lr=LEARNING_RATE, betas=ADAM_BETAS)


def make_average(denoiser: Denoiser, *, fused: bool) -> Callable[[], None]:
    """Stage 1's averages, or diffusers' as they come; the call averages once more."""
    if fused:
        return Average(denoiser, WeightEma(EMA_DECAY)).update
    average, weights = EMAModel(denoiser.parameters(), decay=EMA_DECAY), list(denoiser.parameters())
    return lambda: average.step(weights)


def measure(settings: BenchSettings) -> list[Measurement]:
    """Every rung at both batch sizes in bfloat16, two of them in float16; one row without a GPU."""
    if not torch.cuda.is_available():
        words: dict[str, str | int | float] = {"outcome": "no GPU here: not measured"}
        return [Measurement("ladder", None, PAPER_RATE, "images/s", None, None, words)]
    side = latent_side(settings.image_size_px)
    with FakeTensorMode():
        work = count_passes(Denoiser(4, TEXT_WIDTH), side=side)[1]
    setup = Setup(torch.device("cuda"), Denoiser, side, TEXT_WIDTH, work)
    plan = [(rung, size, torch.bfloat16) for size in BATCH_SIZES for rung in RUNGS]
    plan += [(rung, BATCH_SIZES[0], torch.float16) for rung in FLOAT16_RUNGS]
    rows = []
    for rung, batch_size, dtype in plan:
        rows.append(measure_rung(setup, rung, batch_size, dtype))
        # Said at once: a rung takes up to minutes, and what was found outlives an interruption.
        Console(stderr=True).print(rows[-1].name, rows[-1].ours, rows[-1].settings)
    return rows


def latent_side(image_size_px: int) -> int:
    """The latents' side; ValueError for pictures that the U-Net cannot halve often enough."""
    if image_size_px % COARSEST_PX:
        raise ValueError(
            f"--image_size_px is {image_size_px}: expected a multiple of {COARSEST_PX}, the "
            "coarsest stride of the U-Net"
        )
    return image_size_px // LATENT_STRIDE_PX


def measure_rung(setup: Setup, rung: Rung, batch_size: int, dtype: torch.dtype) -> Measurement:
    """The rung's images a second beside the paper's, or why it has none."""
    rate, words = None, describe(setup)
    try:
        rate, found = time_rung(setup, rung, batch_size, dtype)
        words |= found
    except torch.OutOfMemoryError:
        words["outcome"] = "out of memory"
    except RuntimeError as error:
        # What a compiler or a driver refuses is found by trying, and the other rungs still count.
        words["outcome"] = str(error).strip().split("\n")[0]
    release(setup.device)
    is_paper_size = setup.side * LATENT_STRIDE_PX == PAPER_SIZE_PX
    paper_rate = PAPER_RATE if is_paper_size else None
    return Measurement(
        f"ladder: {rung.name}, {str(dtype).removeprefix('torch.')}, batch {batch_size}",
        rate,
        paper_rate,
        "images/s",
        rate / paper_rate if rate and paper_rate else None,
        PEAK_TF / setup.tf_per_image / paper_rate if paper_rate else None,
        words,
    )


def time_rung(
    setup: Setup, rung: Rung, batch_size: int, dtype: torch.dtype
) -> tuple[float, dict[str, str | int | float]]:
    """Images a second by the wall clock; peak memory and share of the card's peak rate."""
    on_cuda = setup.device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(setup.device)
    loop = RungLoop(setup, rung, batch_size, dtype)
    start = time.perf_counter()
    for _ in range(setup.warm_steps):
        float(loop.step())  # reading the loss waits for the device
    warm = time.perf_counter()
    for _ in range(setup.timed_steps):
        loss = loop.step()
    final_loss = float(loss)
    seconds = time.perf_counter() - warm
    rate = batch_size * setup.timed_steps / seconds
    found: dict[str, str | int | float] = {
        "ms a step": 1000 * seconds / setup.timed_steps,
        "MFU": rate * setup.tf_per_image / PEAK_TF,
        "first steps s": warm - start,
        "loss": final_loss,
    }
    if on_cuda:
        found["peak GB"] = torch.cuda.max_memory_allocated(setup.device) / 1e9
    return rate, found


def release(device: torch.device) -> None:
    """Gives back what a rung has compiled and allocated."""
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def describe(setup: Setup) -> dict[str, str | int | float]:
    """What was measured on, in words."""
    on_cuda = setup.device.type == "cuda"
    card = torch.cuda.get_device_name(setup.device) if on_cuda else setup.device.type
    return {"card": card, "px": setup.side * LATENT_STRIDE_PX, "steps": setup.timed_steps}
