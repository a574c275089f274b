"""Bytes that one training image keeps for the backward pass, and the memory of a step from them.

Counted on fake tensors of the full-width U-Net at 512 px: what autograd saves, each storage once,
weights left out. `half` is a net of 16-bit weights; `autocast` keeps them in 32 bits and casts as
CUDA's autocast does, whose norms are computed and kept in 32 bits. The peak of a real GPU, with
the kernels' own buffers, is measured in `stage1_ladder.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from experiments.benchmarks.stage1_flops import LATENT_SIDE, inputs
from experiments.measuring.measurements import BenchSettings, Measurement
from lightning_modules.nets.denoiser import Denoiser

VERB = "stage1"
GIGA = 1e9
# What such a U-Net is known to keep, GB an image: at 16 bits with fused attention.
KNOWN_GB = 0.937
PAPER_BATCH_SIZE = 32
PAPER_GB = 76.0  # of the paper's 80-GB cards at that batch, with checkpointing
# A weight in 32 bits, its gradient, Adam's two moments and the average.
BYTES_A_WEIGHT = 20


class NormsIn32Bits(TorchFunctionMode):
    """Under the CPU's autocast, casts the inputs of norms to float32, as CUDA's autocast does."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """The function's result, on the cast tensors where it is a norm."""
        if func in (functional.group_norm, functional.layer_norm):
            args = tuple(item.float() if isinstance(item, Tensor) else item for item in args)
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, slots=True)
class Kept:
    """GB kept per image, GB kept once (16-bit copies of the weights), and the number of weights."""

    per_image: float
    once: float
    parameters: int

    def step(self, batch_size: int) -> float:
        """GB of a whole step: weights, gradients, moments, average and activations."""
        return BYTES_A_WEIGHT * self.parameters / GIGA + self.once + batch_size * self.per_image


def measure(settings: BenchSettings) -> list[Measurement]:
    """What fused attention and checkpointing spare, and the memory of the paper's batch."""
    half, maps = keep(half=True), keep(half=True, sdpa=False)
    checkpointed, autocast = keep(half=True, gradient_checkpointing=True), keep(half=False)
    batch = f"batch {PAPER_BATCH_SIZE}"
    return [
        _row("half, beside the known figure", half.per_image, KNOWN_GB, limit=1.0),
        _row("half, beside attention that keeps its maps", half.per_image, maps.per_image),
        _row("half, checkpointing beside none", checkpointed.per_image, half.per_image),
        _row("autocast, beside half", autocast.per_image, half.per_image, limit=1.0),
        _row(
            f"computed step, {batch}, autocast, beside the paper's",
            autocast.step(PAPER_BATCH_SIZE),
            PAPER_GB,
            unit=f"GB, {batch}",
        ),
    ]


def keep(*, half: bool, sdpa: bool = True, gradient_checkpointing: bool = False) -> Kept:
    """What the U-Net of stage1.yaml keeps for its backward pass at 512 px.

    half: 16-bit weights; else 32-bit ones under autocast to bfloat16.
    """
    with FakeTensorMode(), default_dtype(torch.bfloat16 if half else torch.float32):
        denoiser = Denoiser(4, 768, sdpa=sdpa, gradient_checkpointing=gradient_checkpointing)
        with ExitStack() as casts:
            if not half:
                casts.enter_context(torch.autocast("cpu", torch.bfloat16))
                casts.enter_context(NormsIn32Bits())
            one, two = (saved_bytes(denoiser, size, side=LATENT_SIDE) for size in (1, 2))
        count = sum(weight.numel() for weight in denoiser.parameters())
    # What the second image adds is an image's share; the rest is kept once, whatever the batch.
    return Kept((two - one) / GIGA, (2 * one - two) / GIGA, count)


def saved_bytes(denoiser: Denoiser, batch_size: int, *, side: int) -> int:
    """Bytes that autograd saves in a forward pass, each storage once, without the weights."""
    width = denoiser.unet.config.cross_attention_dim
    read = inputs(batch_size, side=side, text_width=width)
    weights = {_identity(weight) for weight in denoiser.parameters()}
    saved: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if _identity(tensor) not in weights:
            # Held, so that no later storage takes its place and its number.
            saved.setdefault(_identity(tensor), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        denoiser(*read)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Parameters made inside the block have this type: fake ones cannot be cast afterwards."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _identity(tensor: Tensor) -> int:
    """A number of the tensor's memory, which its views share."""
    return tensor.untyped_storage()._cdata


def _row(
    name: str, ours: float, other: float, *, unit: str = "GB/image", limit: float | None = None
) -> Measurement:
    """A row of memory; the ratio is above 1 where ours is less."""
    words: dict[str, str | int | float] = {"px": 8 * LATENT_SIDE, "width": "full"}
    words |= {"counted": "on shapes"}
    return Measurement(f"memory: {name}", ours, other, unit, other / ours, limit, words)
