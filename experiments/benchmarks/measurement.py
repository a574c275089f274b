"""A figure of ours beside a reference's from the same run: settings, rows, timing and counting.

Work and memory are counted on fake tensors: no clock, no GPU, no noise, valid for any machine.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import torch
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

FEWEST_REPEATS = 3
WARM_CALLS, TIMED_CALLS = 5, 20
GIGA, TERA = 1e9, 1e12
Work = Callable[[], object]
Words = dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What the command asks of every benchmark; each takes what concerns it.

    images: a folder of images, None for rendered ones; checkpoint: a trained student, None for
    random weights. Raises ValueError for what cannot be.
    """

    images: Path | None = None
    image_size_px: int = 512
    repeats: int = 7
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        if self.repeats < FEWEST_REPEATS:
            raise ValueError(
                f"--repeats is {self.repeats}: expected {FEWEST_REPEATS} or more for a median"
            )
        if self.image_size_px < 1:
            raise ValueError(f"--image_size_px is {self.image_size_px}: expected 1 or more")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row: our figure, the reference's, and how many times better ours is (`ratio`).

    limit: the ratio that is thought possible; settings: in words. None is what nobody knows or
    what could not be measured here, for the reason that is in the settings.
    """

    name: str
    ours: float | None
    reference: float | None
    unit: str
    ratio: float | None
    limit: float | None = None
    settings: Words = field(default_factory=dict)


def counted(
    name: str, ours: float, reference: float | None, unit: str, *, limit: float | None = None
) -> Measurement:
    """A row that was counted on shapes of 512 px, where less is better."""
    ratio = reference / ours if reference else None
    words: Words = {"px": 512, "width": "full", "counted": "on shapes"}
    return Measurement(name, ours, reference, unit, ratio, limit if reference else None, words)


def compare_times(
    name: str,
    ours: Sequence[float],
    reference: Sequence[float],
    *,
    count: int,
    unit: str,
    limit: float | None = None,
    settings: Words | None = None,
) -> Measurement:
    """The medians of `count` things a second, from seconds that were taken in turns.

    The range of the turns' ratios is in the settings.
    """
    own, other = (count / statistics.median(seconds) for seconds in (ours, reference))
    ratios = [theirs / own_s for own_s, theirs in zip(ours, reference, strict=True)]
    found = {"repeats": len(ours), "lowest ratio": min(ratios), "highest ratio": max(ratios)}
    return Measurement(name, own, other, unit, own / other, limit, {**(settings or {}), **found})


def time_in_turns(calls: Sequence[Work], *, repeats: int, cores: int = 1) -> list[list[float]]:
    """Seconds of all, called one after the other, again and again, after one call each.

    On one core those of the processor, on several those of the wall. In turns, so that a
    neighbour's load on the machine falls on all alike.
    """
    clock = time.process_time if cores == 1 else time.perf_counter
    times: list[list[float]] = [[] for _ in calls]
    with threads(cores):
        for turn in range(repeats + 1):
            for seconds, call in zip(times, calls, strict=True):
                start = clock()
                call()
                if turn:
                    seconds.append(clock() - start)
    return times


@contextmanager
def threads(count: int) -> Iterator[None]:
    """OpenCV and torch on so many threads."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(count)
    torch.set_num_threads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def time_on_gpu(
    name: str,
    make: Callable[[torch.device], Work],
    reference: float | None,
    *,
    count: int,
    device: torch.device | None = None,
) -> Measurement:
    """`count` images a second of a piece of work on the GPU beside a reference's, with its memory.

    make: the work, its nets on the device. A row without figures says why there are none: no GPU
    here, out of memory, or what a compiler refused. device: another one, for tests.
    """
    unit, rate = "images/s", None
    words: Words = {}
    device = device or torch.device("cuda")
    is_cuda = device.type == "cuda"
    if is_cuda and not torch.cuda.is_available():
        return Measurement(name, None, reference, unit, None, None, {"outcome": "no GPU here"})
    try:
        if is_cuda:
            words["card"] = torch.cuda.get_device_name(device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        work = make(device)
        for turn in range(WARM_CALLS + TIMED_CALLS):
            if turn == WARM_CALLS:
                start = _moment(device)
            work()
        rate = count * TIMED_CALLS / (_moment(device) - start)
        if is_cuda:
            words["peak GB"] = torch.cuda.max_memory_allocated(device) / GIGA
    except RuntimeError as error:  # out of memory is one
        words["outcome"] = str(error).strip().split("\n", maxsplit=1)[0]
    ratio = rate / reference if rate and reference else None
    return Measurement(name, rate, reference, unit, ratio, None, words)


def _moment(device: torch.device) -> float:
    """The clock's seconds once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def count_tf(work: Work) -> float:
    """TF (1e12 FLOP, a multiply-add is 2) of a piece of work, by torch's own counter."""
    aten = torch.ops.aten
    # The CPU's fused attention, which fake tensors take, has no formula in torch's own list.
    formulas = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda query, key, value, *_, **__: (
            sdpa_flop_count(query, key, value)
        ),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: (
            lambda gradient, query, key, value, *_, **__: sdpa_backward_flop_count(
                gradient, query, key, value
            )
        ),
    }
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        work()
    return counter.get_total_flops() / TERA


def count_peak_gb(work: Work) -> float:
    """GB of the tensors that are alive at once, weights included, at most, in a piece of work."""
    with MemTracker() as tracker:
        work()
    return sum(device["Total"] for device in tracker.get_tracker_snapshot("peak").values()) / GIGA
