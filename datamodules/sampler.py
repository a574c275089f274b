"""A deterministic, resumable, distributed order of samples, and the loader that keeps its place.

The whole order follows from (seed, epoch); (seed, epoch, consumed) is a place in it. Augmentation
seeds come with each Draw, so a resumed epoch yields the very samples of an uninterrupted one.
`plan_batches` shares one optimizer step's batch between processes and passes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from datamodules.sample import Batch, Sample, collate
from datamodules.shared_memory import READER_ENDED, READERS_FAULT, begin_reading


class Draw(NamedTuple):
    """One sample to open: its row in the manifest, and the how-many-eth time it is drawn."""

    row: int
    turn: int


class ResumableSampler(DistributedSampler[Draw]):
    """The Draws of one rank in one epoch of `rows`, from the place where the last state stood.

    Is a DistributedSampler so that Lightning leaves it in place under DDP (a replaced sampler
    would lose the state). With `draws_per_epoch` an epoch is a stretch of an endless row of
    permutations: no item comes again before all others came. With `even_ranks` all ranks get
    equally many draws, also of what a resumed epoch has left, in whole steps of `step_size` draws
    over all ranks; the few left over are dropped. Without it none is dropped. data: the hash of
    what the rows are of, which a resume must find again.
    """

    def __init__(
        self,
        rows: np.ndarray,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
        draws_per_epoch: int | None = None,
        even_ranks: bool = True,
        step_size: int = 1,
        data: str = "",
    ) -> None:
        if not len(rows):
            raise ValueError("there is nothing to sample from: expected at least 1 record")
        if draws_per_epoch is not None and draws_per_epoch < world_size:
            raise ValueError(
                f"draws_per_epoch is {draws_per_epoch}, expected at least one per process "
                f"({world_size})"
            )
        super().__init__(
            range(len(rows)),  # type: ignore[arg-type]
            num_replicas=world_size,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
        )
        self.rows, self.length = rows, len(rows)
        self.draws_per_epoch = draws_per_epoch or len(rows)
        self.data = data
        self.even_ranks = even_ranks and self.draws_per_epoch >= world_size
        self.step_size = max(step_size, world_size)
        self.consumed = 0

    @property
    def total(self) -> int:
        """The place where this epoch ends for all ranks."""
        return self._end(self.consumed)

    def __len__(self) -> int:
        """The draws of this rank in a whole epoch, wherever the epoch stands."""
        return len(range(self.rank, self._end(0), self.num_replicas))

    def __iter__(self) -> Iterator[Draw]:
        """The draws of this rank that are left in this epoch."""
        start = self.epoch * self.draws_per_epoch
        positions = range(self.consumed + self.rank, self.total, self.num_replicas)
        turn, order = -1, np.empty(0, dtype=np.int64)
        for position in positions:
            if (start + position) // self.length != turn:
                turn = (start + position) // self.length
                order = self._order(turn)
            row = int(self.rows[order[(start + position) % self.length]])
            # What is read in its own order looks the same in every epoch.
            yield Draw(row, turn if self.shuffle else 0)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`; the place is kept where it already is the current one."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.consumed = 0

    def _end(self, start: int) -> int:
        """The end of an epoch that goes on at `start`.

        Another number of ranks may have stopped there: with uneven shares of what is left, one
        rank would wait for the others' gradients for ever.
        """
        left_over = (self.draws_per_epoch - start) % self.step_size if self.even_ranks else 0
        return self.draws_per_epoch - left_over

    def _order(self, turn: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.length)
        return np.random.default_rng([self.seed, turn]).permutation(self.length)


class ResumableLoader(DataLoader[Sample]):
    """A DataLoader of Batches whose state is the number of samples handed out, not prefetched.

    Lightning saves and loads that state with each checkpoint. A second `iter` without
    `load_state_dict` begins the next epoch.
    """

    def __init__(
        self,
        dataset: Dataset[Sample],
        sampler: ResumableSampler,
        *,
        batch_size: int,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=sampler,  # type: ignore[arg-type]
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collate,
            persistent_workers=num_workers > 0,
            worker_init_fn=begin_reading,
        )
        self.order = sampler
        self._resumed = False

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The batches that are left in the epoch, or those of the next one."""
        # A generator, so that all this happens at the first batch: Lightning calls iter() before
        # it tells the sampler the epoch.
        order = self.order
        finished = order.consumed >= order.total
        if finished or (order.consumed > 0 and not self._resumed):
            order.set_epoch(order.epoch + 1)
        self._resumed = False
        epoch, start = order.epoch, order.consumed
        try:
            for count, batch in enumerate(super().__iter__(), start=1):
                handed_out = count * (self.batch_size or 1) * order.num_replicas
                if order.epoch == epoch:
                    order.consumed = min(order.total, start + handed_out)
                yield batch
        except (EOFError, OSError) as error:
            if not self.num_workers or READERS_FAULT in str(error):
                raise
            raise RuntimeError(f"{READER_ENDED} unknown) took its batches with it") from error

    def state_dict(self) -> dict[str, int | str]:
        """The place in the order over all ranks; the same numbers on each rank."""
        order = self.order
        return {
            "seed": order.seed,
            "epoch": order.epoch,
            "consumed": order.consumed,
            "length": order.length,
            "sha256": order.data,
        }

    def load_state_dict(self, state_dict: Mapping[str, int | str]) -> None:
        """Continue at a saved place; ValueError where it is a place in another order."""
        order = self.order
        own = (("seed", order.seed), ("length", order.length), ("sha256", order.data))
        for name, value in own:
            saved = state_dict.get(name, value)  # older checkpoints have no hash
            if saved != value:
                raise ValueError(
                    f"the checkpoint was made with data {name} {saved}, expected {value}: "
                    "resume with the same manifest and seed, or start a new run from its weights"
                )
        order.epoch = int(state_dict["epoch"])
        order.consumed = int(state_dict["consumed"])
        self._resumed = True


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
