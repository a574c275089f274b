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

    limit: the ratio that is thought possible, None where nobody knows; settings: in words.
    """

    name: str
    ours: float
    reference: float
    unit: str
    ratio: float
    limit: float | None = None
    settings: dict[str, str | int | float] = field(default_factory=dict)


def time_alternately(
    ours: Callable[[], object], reference: Callable[[], object], *, repeats: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of both, called in turns (ours, reference, ours, ...) after one call each.

    In turns, so that a neighbour's load on the machine falls on both alike.
    """
    times: tuple[list[float], list[float]] = ([], [])
    with one_thread():
        for turn in range(repeats + 1):
            for seconds, call in zip(times, (ours, reference), strict=True):
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
    per_second = [count / statistics.median(seconds) for seconds in times]
    ratios = [theirs / own for own, theirs in zip(*times, strict=True)]
    found = {"repeats": repeats, "lowest ratio": min(ratios), "highest ratio": max(ratios)}
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
