"""Latency of a whole image at feature timesteps t = 10, 50, 100, each beside t = 10.

In a single pass (eq. 2) it does not depend on t; by inversion it grows with t, as the paper's
Table 1 does, 9.7 times from t = 10 to 100 (NOTES 12). Quarter width, 64 px, tensors in, masks out.
"""

import statistics
from functools import partial

import torch

from experiments.measuring.bare_loops import Sizes
from experiments.measuring.measurements import (
    FEWEST_REPEATS,
    BenchSettings,
    Measurement,
    time_in_turns,
)
from experiments.measuring.stage2_parts import (
    make_diffusion,
    make_stage2,
    name_defects,
    random_pictures,
)
from lightning_modules.mask_finetune import MaskFinetune

VERB = "inference"
SIZES = Sizes(batch_size=1, image_size_px=64)
TIMESTEPS = (10, 50, 100)
PAPER_MS = {10: 57.0, 50: 275.0, 100: 553.0}  # Table 1


def measure(settings: BenchSettings) -> list[Measurement]:
    """Milliseconds of both modes; the slow one is looked at as seldom as a median allows."""
    return [
        *measure_mode("single", SIZES, TIMESTEPS, repeats=settings.repeats),
        *measure_mode("sequential", SIZES, TIMESTEPS, repeats=FEWEST_REPEATS),
    ]


def measure_mode(
    mode: str, sizes: Sizes, timesteps: tuple[int, ...], *, repeats: int
) -> list[Measurement]:
    """The later timesteps beside the first; the limit is what the number of passes allows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = name_defects(make_stage2(make_diffusion(sizes), sizes, mode))
        image = random_pictures(sizes)[0]

    def predict_at(t: int) -> None:
        model.features.feature_timestep = t
        predict(model, image)

    calls = [partial(predict_at, t) for t in timesteps]
    medians = [1e3 * statistics.median(s) for s in time_in_turns(calls, repeats=repeats)]
    first, *later = zip(timesteps, medians, strict=True)
    return [
        Measurement(
            f"latency: {mode}, t = {t} beside t = {first[0]}",
            ms,
            first[1],
            "ms/image",
            first[1] / ms,
            1.0 if mode == "single" else first[0] / t,
            {
                "px": sizes.image_size_px,
                "ms a step of t": (ms - first[1]) / (t - first[0]),
                "paper's ratio": PAPER_MS[first[0]] / PAPER_MS[t] if t in PAPER_MS else "-",
                "repeats": repeats,
            },
        )
        for t, ms in later
    ]


@torch.no_grad()
def predict(model: MaskFinetune, image: torch.Tensor) -> None:
    """One image through the whole of stage 2."""
    model.predict_image(image)
