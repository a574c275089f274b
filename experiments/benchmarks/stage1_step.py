"""CPU time of one training step beside a plain diffusers loop, same weights, batch and noise.

A quarter-width SD-1.5 at 256 px, batch 4; the loops are in `measuring/bare_loops.py`. The plain
loop has AdamW and EMAModel as they come, the tuned one all flags that its user could set. The
sides must agree in loss, weights and averages before anything is timed. A ratio on a CPU says
nothing of a GPU.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from experiments.benchmarks.stage1_flops import count
from experiments.measuring.bare_loops import (
    DiffusersLoop,
    Frozen,
    OurLoop,
    Parts,
    Sizes,
    flat,
    make_parts,
)
from experiments.measuring.measurements import (
    BenchSettings,
    Measurement,
    compare_times,
    one_thread,
    time_in_turns,
)

VERB = "stage1"
AGREEING_STEPS = 2
# Of losses; and of weights and averages, as a share of the way that they went: Adam divides a
# gradient by its size, so that the rounding of near-zero ones shows at once.
LOSS_TOLERANCE, WAY_TOLERANCE = 1e-4, 1e-2
Words = dict[str, str | int | float]


def measure(settings: BenchSettings) -> list[Measurement]:
    """Steps online, from cached latents and in bfloat16, beside the plain and the tuned loop."""
    return measure_sizes(Sizes(), settings)


def measure_sizes(sizes: Sizes, settings: BenchSettings) -> list[Measurement]:
    """The same at given sizes; RuntimeError where the sides do not compute the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = make_parts(sizes)
    frozen = Frozen(parts.autoencoder.vae, parts.text)
    ours = OurLoop(parts)
    plain, tuned = (DiffusersLoop(parts, tuned=flag) for flag in (False, True))
    words = describe(sizes, parts) | check_agreement(ours, (plain, tuned), frozen)
    seconds = time_sides(ours, plain, tuned, frozen, repeats=settings.repeats)
    spared = work_ratio(sizes)

    def row(own: str, other: str, limit: float) -> Measurement:
        return compare_times(
            f"step: {own}, beside {other} diffusers",
            seconds[own],
            seconds[other],
            count=sizes.batch_size,
            unit="images/s per core",
            limit=limit,
            settings=words,
        )

    return [
        row("online latents", "plain", 1.0),
        row("cached latents", "plain", spared),
        row("cached latents, bf16", "plain", 2 * spared),
        row("online latents", "tuned", 1.0),
        row("cached latents", "tuned", spared),
        row("cached latents, bf16", "tuned bf16", spared),
    ]


def time_sides(
    ours: OurLoop, plain: DiffusersLoop, tuned: DiffusersLoop, frozen: Frozen, *, repeats: int
) -> dict[str, list[float]]:
    """CPU seconds of a step of every side, taken in turns."""
    half = frozen.half()
    stored = ours.encode().half()  # as the cache keeps them
    sides = {
        "plain": lambda: plain.step(frozen),
        "tuned": lambda: tuned.step(frozen),
        "tuned bf16": lambda: tuned.step(half, in_bfloat16),
        "online latents": lambda: ours.step(ours.encode),
        "cached latents": lambda: ours.step(lambda: stored),
        "cached latents, bf16": lambda: ours.step(lambda: stored, in_bfloat16),
    }
    return dict(zip(sides, time_in_turns(list(sides.values()), repeats=repeats), strict=True))


def check_agreement(ours: OurLoop, others: Sequence[DiffusersLoop], frozen: Frozen) -> Words:
    """How far the sides part in their first steps; RuntimeError where it is too far."""
    start, _ = ours.weights()
    with one_thread():
        losses = [ours.step(ours.encode) for _ in range(AGREEING_STEPS)]
        theirs = [[other.step(frozen) for _ in losses] for other in others]
    found = ours.weights()
    way = (found[0] - start).norm()
    pairs = [pair for row in theirs for pair in zip(losses, row, strict=True)]
    vectors = [pair for other in others for pair in zip(found, other.weights(), strict=True)]
    loss_off = max(float((loss / other - 1).abs()) for loss, other in pairs)
    way_off = max(float((one - other).norm() / way) for one, other in vectors)
    if loss_off > LOSS_TOLERANCE or way_off > WAY_TOLERANCE:
        raise RuntimeError(
            f"our step and diffusers' part by {loss_off:.1e} in the loss and {way_off:.1e} of the "
            f"way in the weights: expected {LOSS_TOLERANCE} and {WAY_TOLERANCE}"
        )
    return {"losses part by": f"{loss_off:.0e}", "weights by": f"{way_off:.0e} of their way"}


def work_ratio(sizes: Sizes) -> float:
    """How many times the work of a step from cached latents an online step is, by count."""
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        parts = make_parts(sizes)
        text = parts.text(input_ids=parts.ids).last_hidden_state
        read = (parts.noise, parts.t, text, torch.ones_like(parts.ids, dtype=torch.bool))
        encoding = count(lambda: parts.autoencoder.encode(parts.pixels))
        rest = count(lambda: parts.text(input_ids=parts.ids))
        rest += count(lambda: parts.denoiser(*read).square().mean().backward())
    return 1 + encoding / rest


def in_bfloat16() -> AbstractContextManager[object]:
    """The CPU's autocast to bfloat16."""
    return torch.autocast("cpu", torch.bfloat16)


def describe(sizes: Sizes, parts: Parts) -> Words:
    """What was measured on, in words."""
    millions = flat(parts.denoiser.parameters()).numel() / 1e6
    return {"weights": f"{millions:.1f} M", "px": sizes.image_size_px, "batch": sizes.batch_size}
