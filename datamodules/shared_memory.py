"""Shared memory, through which the processes that read ahead hand over their batches.

Where it is too small, PyTorch drops a batch and waits for it for ever: what is needed is compared
with what is free before, and a process that can't hand over a batch ends.
"""

import os
import sys
from multiprocessing.queues import Queue
from pathlib import Path

PLACE = Path("/dev/shm")
PREFETCHED_BATCHES = 2  # of each process, as DataLoader has it
AUTO = -1
# How PyTorch says that a process of a loader is gone, and that it met an exception.
READER_ENDED, READERS_FAULT = "DataLoader worker (pid", "in DataLoader worker process"
REMEDY = (
    "give the container more (docker run --shm-size 8g), or read with fewer processes "
    "(--data.init_args.num_workers 0, or -1 for as many as fit)"
)


def free_bytes() -> int:
    """What is free, the largest number where the system has no such place."""
    found = os.statvfs(PLACE) if PLACE.is_dir() else None
    return found.f_bavail * found.f_frsize if found else sys.maxsize


def checked_workers(count: int, batch_bytes: int, *, trainers: int = 1) -> int:
    """As many processes as asked for, or for AUTO as many as cores and shared memory allow.

    trainers: processes on this machine that each have so many. Raises ValueError where the batches
    that they read ahead, and the one in use, do not fit.
    """
    if count < AUTO:
        raise ValueError(f"num_workers is {count}: expected 0 or more, or -1 for what fits")
    free, each = free_bytes(), max(1, batch_bytes * trainers)
    cores = (os.cpu_count() or 1) // trainers
    fitting = max(0, (free // each - 1) // PREFETCHED_BATCHES)
    if count == AUTO:
        return min(cores, fitting)
    if count > fitting:
        needed = (count * PREFETCHED_BATCHES + 1) * each
        raise ValueError(
            f"num_workers {count} needs {needed / 2**20:.0f} MiB of shared memory for batches of "
            f"{batch_bytes / 2**20:.1f} MiB, but {PLACE} has {free / 2**20:.0f} MiB free, enough "
            f"for {fitting}: {REMEDY}"
        )
    return count


def begin_reading(_: int) -> None:
    """Lets a process that reads ahead end where it can't hand over a batch, instead of waiting.

    Ctrl-C and what else stops a whole group of processes is left to the run, which needs the batch
    under way to save.
    """
    os.setpgrp()
    Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end(error: Exception, _: object) -> None:
    print(f"a batch is lost: {error}", file=sys.stderr, flush=True)
    os._exit(1)
