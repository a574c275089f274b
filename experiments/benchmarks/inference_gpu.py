"""Milliseconds and memory of stage 2 on a GPU: the paper's scale, 512 px, from picture to masks.

Frozen parts in 16 bits, the rest under autocast; eager, compiled, and with CUDA graphs; one crop,
and a picture of 16. A step that does not fit or does not run is a row that says so. Without a GPU
there is one row, which says that nothing was measured.
"""

import time
from dataclasses import dataclass

import torch
from rich.console import Console

from experiments.benchmarks.inference_throughput import predict, random_picture
from experiments.benchmarks.stage1_ladder import release
from experiments.measuring.measurements import BenchSettings, Measurement
from experiments.measuring.stage2_parts import (
    PAPER_SIZES,
    make_paper_diffusion,
    make_stage2,
    name_defects,
)
from lightning_modules.mask_finetune import MaskFinetune

VERB = "inference"
CROPS_A_SIDE = (1, 4)
WARM_CALLS, TIMED_CALLS = 3, 20
DTYPE = torch.bfloat16  # float16 is as fast, but random weights of this depth run out of its range
# The paper on an A100, one image; and what its FLOPs need at an H100's or H200's peak rate.
PAPER_MS, LEAST_MS = 350.0, 2.7


@dataclass(frozen=True, slots=True)
class Rung:
    """A means of speed: `compile_mode` is torch's, "" for none."""

    name: str
    compile_mode: str = ""


RUNGS = (Rung("eager"), Rung("compiled", "default"), Rung("CUDA graphs", "reduce-overhead"))


def measure(settings: BenchSettings) -> list[Measurement]:
    """Every rung with one crop and with sixteen; one row without a GPU."""
    if not torch.cuda.is_available():
        words: dict[str, str | int | float] = {"outcome": "no GPU here: not measured"}
        return [Measurement("GPU: batch 1", None, PAPER_MS, "ms", None, None, words)]
    device = torch.device("cuda")
    with device:
        model = make_stage2(make_paper_diffusion(), PAPER_SIZES)
    name_defects(model).store_frozen_in(DTYPE)
    model.to(memory_format=torch.channels_last)
    rows = []
    for rung in RUNGS:
        for side in CROPS_A_SIDE:
            rows.append(measure_rung(model, rung, side))
            # Said at once: what was found outlives an interruption.
            Console(stderr=True).print(rows[-1].name, rows[-1].ours, rows[-1].settings)
    return rows


def measure_rung(model: MaskFinetune, rung: Rung, crops_a_side: int) -> Measurement:
    """The milliseconds of a picture of so many crops beside the paper's, or why it has none."""
    device, count = model.device, crops_a_side**2
    on_cuda = device.type == "cuda"
    words: dict[str, str | int | float] = {
        "card": torch.cuda.get_device_name(device) if on_cuda else device.type,
        "px": model.tile_px,
        "dtype": str(DTYPE).removeprefix("torch."),
    }
    ms = None
    try:
        ms, found = time_rung(model, rung, crops_a_side)
        words |= found | {"crops/s": 1000 * count / ms}
    except torch.OutOfMemoryError:
        words["outcome"] = "out of memory"
    except RuntimeError as error:
        # What a compiler or a driver refuses is found by trying, and the other rungs still count.
        words["outcome"] = str(error).strip().split("\n")[0]
    release(device)
    is_paper_size = model.tile_px == PAPER_SIZES.image_size_px and count == 1
    return Measurement(
        f"GPU: {rung.name}, batch {count}",
        ms,
        PAPER_MS if is_paper_size else None,
        "ms",
        PAPER_MS / ms if ms and is_paper_size else None,
        PAPER_MS / LEAST_MS if is_paper_size else None,
        words,
    )


def time_rung(
    model: MaskFinetune, rung: Rung, crops_a_side: int
) -> tuple[float, dict[str, str | int | float]]:
    """Milliseconds by the wall clock, and the peak memory with the weights."""
    device = model.device
    picture = random_picture(model, crops_a_side).to(device)
    score_tiles = model.score_tiles
    if rung.compile_mode:
        compiled = torch.compile(score_tiles, mode=rung.compile_mode)
        model.score_tiles = compiled  # type: ignore[method-assign]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with torch.autocast(device.type, DTYPE):
            start = time.perf_counter()
            for _ in range(WARM_CALLS):
                predict(model, picture)
            warm = time.perf_counter()
            # The masks lie on the host, so that each call waits for the device.
            for _ in range(TIMED_CALLS):
                predict(model, picture)
            seconds = time.perf_counter() - warm
    finally:
        model.score_tiles = score_tiles  # type: ignore[method-assign]
    found: dict[str, str | int | float] = {"first calls s": warm - start}
    if device.type == "cuda":
        found["peak GB"] = torch.cuda.max_memory_allocated(device) / 1e9
    return 1000 * seconds / TIMED_CALLS, found
