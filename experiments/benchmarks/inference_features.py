"""CPU time of the frozen features beside the ancestor's way to the same maps, at quarter width.

Same weights, noise and pictures of 256 px. One crop must give the same bits either way before
anything is timed, four in a batch the same up to rounding. A ratio on a CPU says nothing of a GPU;
the limit is the ratio of the counted work at this width.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from experiments.benchmarks.stage1_flops import count
from experiments.measuring.ancestor_features import AncestorFeatures
from experiments.measuring.bare_loops import Sizes
from experiments.measuring.measurements import (
    BenchSettings,
    Measurement,
    compare_times,
    time_in_turns,
)
from experiments.measuring.stage2_parts import make_diffusion, random_pictures
from lightning_modules.nets.diffusion_features import DiffusionFeatures
from lightning_modules.nets.diffusion_model import DiffusionModel

VERB = "inference"
TIMESTEP = 50
# Of a map's largest value: convolutions sum in another order where the batch is another.
BATCH_TOLERANCE = 1e-4
Maps = list[Tensor]


def measure(settings: BenchSettings) -> list[Measurement]:
    """One crop with and without decoder taps, and four at once, beside one after the other."""
    return measure_sizes(Sizes(), settings)


def measure_sizes(sizes: Sizes, settings: BenchSettings) -> list[Measurement]:
    """The same at given sizes; RuntimeError where the sides do not give the same maps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        diffusion, crops = make_diffusion(sizes), random_pictures(sizes)
    full, unet, ancestor = make_sides(diffusion)
    crop = crops[:1]
    sides = {
        "ancestor": lambda: ancestor(crop),
        "full": lambda: full(crop),
        "unet": lambda: unet(crop),
        "ancestor, batch": lambda: ancestor(crops),
        "one by one": lambda: [full(one) for one in crops.split(1)],
        "batch": lambda: full(crops),
    }
    parts_by = check_agreement(full, unet, ancestor, crops)
    seconds = dict(
        zip(sides, time_in_turns(list(sides.values()), repeats=settings.repeats), strict=True)
    )
    limits = work_ratios(sizes)
    batch = f"{len(crops)} crops at once"
    rows = (
        ("eight taps, stopped at the last, beside whole nets", "full", "ancestor", limits[0]),
        ("no decoder taps, beside whole nets", "unet", "ancestor", limits[1]),
        (f"{batch}, beside whole nets one by one", "batch", "ancestor, batch", limits[0]),
        (f"{batch}, beside ours one by one", "batch", "one by one", None),
    )
    return [
        compare_times(
            f"features: {name}",
            seconds[ours],
            seconds[reference],
            count=len(crops) if ours == "batch" else 1,
            unit="images/s per core",
            limit=limit,
            settings={
                "px": sizes.image_size_px,
                "U-Net": "x".join(map(str, sizes.unet_channels)),
                "one crop": "same bits",
                "batch parts by": f"{parts_by:.0e}",
            },
        )
        for name, ours, reference, limit in rows
    ]


def make_sides(
    diffusion: DiffusionModel,
) -> tuple[DiffusionFeatures, DiffusionFeatures, AncestorFeatures]:
    """Ours with all taps and with the U-Net's alone, and the ancestor's, over the same nets."""
    return (
        DiffusionFeatures(diffusion, TIMESTEP, "full"),
        DiffusionFeatures(diffusion, TIMESTEP, "unet"),
        AncestorFeatures(diffusion, TIMESTEP),
    )


def check_agreement(
    full: Callable[[Tensor], Maps],
    unet: Callable[[Tensor], Maps],
    ancestor: Callable[[Tensor], Maps],
    crops: Tensor,
) -> float:
    """How far a batch parts from single crops, as a share of a map's largest value.

    RuntimeError where one crop's maps differ in a bit or a batch's by more than the tolerance.
    """
    expected, found, few = ancestor(crops), full(crops), unet(crops[:1])
    first = full(crops[:1])
    same = [torch.equal(own, other[:1]) for own, other in zip(first, expected, strict=True)]
    same += [torch.equal(own, other[:1]) for own, other in zip(few, expected, strict=False)]
    pairs = zip(found, expected, strict=True)
    off = max(float((own - other).abs().max() / other.abs().max()) for own, other in pairs)
    if not all(same) or off > BATCH_TOLERANCE:
        raise RuntimeError(
            f"our maps are not the ancestor's: {same.count(False)} of {len(same)} differ for one "
            f"crop, a batch by {off:.1e}: expected the same bits, and {BATCH_TOLERANCE}"
        )
    return off


def work_ratios(sizes: Sizes) -> tuple[float, float]:
    """How many times our work the ancestor's is, with and without decoder taps, by count."""
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        sides, crop = make_sides(make_diffusion(sizes)), random_pictures(sizes)[:1]
        full, unet, ancestor = (count(partial(side, crop)) for side in sides)
    return ancestor / full, ancestor / unet
