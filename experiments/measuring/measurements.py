"""What a benchmark gives: a figure of ours beside a reference's, taken alternately, and its table.

The benchmarks are `benchmarks/<name>.py`; the command that runs them is `bench.py`.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import torch

from experiments.tables import Table

FEWEST_REPEATS = 3
NOTE = "CPU time of one process with one thread; the machine was shared"


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What the command asks of every benchmark; each takes what concerns it.

    images: a folder of pictures, None for rendered ones. Raises ValueError for what cannot be.
    """

    images: Path | None = None
    image_size_px: int = 512
    repeats: int = 7

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
    settings: dict[str, str | int | float] = field(default_factory=dict)


def time_alternately(
    ours: Callable[[], object], reference: Callable[[], object], *, repeats: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of both, called in turns (ours, reference, ours, ...) after one call each."""
    own, theirs = time_in_turns((ours, reference), repeats=repeats)
    return own, theirs


def time_in_turns(
    calls: Sequence[Callable[[], object]], *, repeats: int
) -> tuple[list[float], ...]:
    """CPU seconds of all, called one after the other, again and again, after one call each.

    In turns, so that a neighbour's load on the machine falls on all alike.
    """
    times: tuple[list[float], ...] = tuple([] for _ in calls)
    with one_thread():
        for turn in range(repeats + 1):
            for seconds, call in zip(times, calls, strict=True):
                start = time.process_time()
                call()
                if turn:
                    seconds.append(time.process_time() - start)
    return times


def throughput(
    name: str,
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    count: int,
    unit: str,
    repeats: int,
    limit: float | None = None,
    settings: dict[str, str | int | float] | None = None,
) -> Measurement:
    """The medians of `count` things a second on either side; the ratios' range is in settings."""
    times = time_alternately(ours, reference, repeats=repeats)
    return compare_times(name, *times, count=count, unit=unit, limit=limit, settings=settings)


def compare_times(
    name: str,
    ours: Sequence[float],
    reference: Sequence[float],
    *,
    count: int,
    unit: str,
    limit: float | None = None,
    settings: dict[str, str | int | float] | None = None,
) -> Measurement:
    """The same for seconds that were taken in turns, `count` things each."""
    per_second = [count / statistics.median(seconds) for seconds in (ours, reference)]
    ratios = [theirs / own for own, theirs in zip(ours, reference, strict=True)]
    found = {"repeats": len(ours), "lowest ratio": min(ratios), "highest ratio": max(ratios)}
    return Measurement(
        name=name,
        ours=per_second[0],
        reference=per_second[1],
        unit=unit,
        ratio=per_second[0] / per_second[1],
        limit=limit,
        settings={**(settings or {}), **found},
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV and torch on one thread, without pauses of the garbage collector."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def to_table(title: str, measurements: Sequence[Measurement]) -> Table:
    """One row per measurement, settings in words."""
    columns = ("measured", "ours", "reference", "unit", "ratio", "limit", "settings")
    rows = tuple(
        (m.name, m.ours, m.reference, m.unit, m.ratio, m.limit, _in_words(m.settings))
        for m in measurements
    )
    return Table(title, columns, rows)


def _in_words(settings: dict[str, str | int | float]) -> str:
    return ", ".join(
        f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
    )
