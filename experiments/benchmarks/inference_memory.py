"""Peak memory of stage 2 at the paper's scale, 512 px, counted on fake tensors: no GPU, no noise.

Weights in 16 bits and the rest under autocast as CUDA has it, whose norms are in 32 bits. The text
tower, which has spoken once the names are set, and what kernels take for themselves are left out;
the peak of a real GPU is measured in `inference_gpu.py`.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from experiments.benchmarks.stage1_activations import NormsIn32Bits, default_dtype
from experiments.measuring.ancestor_features import AncestorFeatures
from experiments.measuring.live_memory import LiveMemory
from experiments.measuring.measurements import BenchSettings, Measurement
from experiments.measuring.stage2_parts import (
    PAPER_SIZES,
    make_paper_diffusion,
    make_stage2,
    name_defects,
)

VERB = "inference"
GIGA = 1e9
BATCH_SIZES = (1, 16)
# The paper's whole pipeline on an A100, and what we aim at there.
PAPER_GB, AIM_GB = 18.7, 3.0


def measure(settings: BenchSettings) -> list[Measurement]:
    """GB of one image and of sixteen."""
    return measure_batches(BATCH_SIZES)


def measure_batches(batch_sizes: tuple[int, ...]) -> list[Measurement]:
    """GB of the features beside the ancestor's, and of the whole beside the paper's."""
    side_px = PAPER_SIZES.image_size_px
    # Names are set outside: metrics copy their states, and texts are numbers, not shapes.
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake, default_dtype(torch.bfloat16):
        model = make_stage2(make_paper_diffusion(), PAPER_SIZES)
    name_defects(model)
    ancestor = AncestorFeatures(model.features.diffusion, model.features.feature_timestep)
    weights = sum(t.nbytes for t in [*model.parameters(), *model.buffers()]) / GIGA
    rows = []
    with fake, torch.no_grad(), torch.autocast("cpu", torch.bfloat16), NormsIn32Bits():
        for batch_size in batch_sizes:
            image = torch.zeros(batch_size, 3, side_px, side_px)
            sides = (model.features, ancestor, model.score_tiles)
            ours, theirs, whole = (peak(partial(side, image)) for side in sides)
            rows += [
                _row("features, beside whole nets one by one", batch_size, weights, ours, theirs),
                _row("tensors in, masks out, beside the paper's", batch_size, weights, whole, None),
            ]
    return rows


def peak(work: Callable[[], object]) -> float:
    """GB of the tensors that were alive at once at most while the work ran."""
    with LiveMemory() as memory:
        work()
    return memory.peak_bytes / GIGA


def _row(
    name: str, batch_size: int, weights: float, activations: float, theirs: float | None
) -> Measurement:
    """Weights and activations together beside the ancestor's on the same weights, or the paper's.

    The paper's figure is of one image.
    """
    ours = weights + activations
    reference = weights + theirs if theirs is not None else PAPER_GB if batch_size == 1 else None
    return Measurement(
        f"memory: {name}, batch {batch_size}",
        ours,
        reference,
        "GB",
        reference / ours if reference else None,
        None,
        {
            "px": PAPER_SIZES.image_size_px,
            "width": "full",
            "counted": "on shapes",
            "weights GB": weights,
            "activations GB": activations,
            "aim GB, batch 1": AIM_GB,
        },
    )
