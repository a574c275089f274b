"""How one optimizer step's batch is shared by processes and accumulated, on any number of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Images in one forward pass of one process, and the passes of which one step is made."""

    device_batch_size: int
    accumulation: int


def plan_batches(global_batch_size: int, largest: int, process_count: int) -> BatchPlan:
    """The plan with the fewest passes that makes every step see `global_batch_size` images.

    largest: images that fit into one pass of one process. Raises ValueError where the processes
    cannot share the batch evenly.
    """
    share, left_over = divmod(global_batch_size, process_count)
    if left_over or not share:
        fitting = next(n for n in range(process_count, 0, -1) if global_batch_size % n == 0)
        raise ValueError(
            f"global_batch_size is {global_batch_size}, which {process_count} processes cannot "
            f"share evenly: use {fitting} of them, or a global batch that is a multiple of "
            f"{process_count}"
        )
    size = next(size for size in range(min(largest, share), 0, -1) if share % size == 0)
    return BatchPlan(size, share // size)
