"""IMDDDataModule: the one DataModule of both stages and all baselines, over any source."""

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.dataset import DefectDataset
from datamodules.language.caption_choice import CaptionChoice
from datamodules.latents import LatentDataset, LatentStore
from datamodules.manifest import Manifest, Source
from datamodules.preparing.preparation import Copies, Protocol, prepare
from datamodules.sample import GOOD, UNLABELLED, Sample
from datamodules.sampler import BatchPlan, Draw, ResumableLoader, ResumableSampler, plan_batches
from datamodules.shared_memory import checked_workers
from datamodules.splits import FewShots, TypeDivision, spread_over_types
from datamodules.transforms import NativeCrop, Transform, Unchanged
from datamodules.vocabulary import Vocabulary

LOGGER = logging.getLogger(__name__)
ONLINE = "online"


class IMDDDataModule(LightningDataModule):
    """Batches of a source in its original layout, or of a manifest that prepare wrote.

    source, root: read, verified and split here (`preparation.py` tells of protocol and copies),
    the manifest goes to `manifest_folder`. manifest: used as it is; `root` then replaces its data
    folder where it is given. allow_leakage: train although alike images are in training and
    test; the run records it. shots_per_type, image_budget: train on so many images of each type,
    or in all (`splits.py`), `split_seed` chooses. use_unlabelled: train on unlabelled images
    too, which stage 1 and a student can use. train_on: `good`, for what learns from good parts:
    training images without a defect alone. held_out_types: names kept out of training; test_types:
    `all`, `seen` or `held_out`, what the test shows and asks for (`splits.py`). labels: further
    words for the types, such as "scratch, scuff; crack".
    captions: `built`, `released` or `both` (`caption_choice.py`). latents: `online`, or the folder
    that experiments.cache_latents wrote, which stage 1 then trains on instead of images.
    batch_size: images in one pass of one process; global_batch_size: in one step of all processes
    and passes (`sampler.py`). draws_per_epoch: all training images once where None.
    max_val_images: validate on so many only, the mix of types kept; val_transform: cuts them, each
    always at the same place; whole ones where None.
    num_workers: processes that read ahead, by way of shared memory; -1: as many as it and the
    cores allow.
    Under DDP each rank loads its share by itself, whatever `use_distributed_sampler` says.
    """

    _division: TypeDivision | None = None

    # The manifest that a run has kept, which is read as it is: nothing is prepared anew.
    kept: Path | None = None

    def __init__(
        self,
        source: Source | None = None,
        root: str = "",
        manifest: str = "",
        manifest_folder: str = "mlruns/data",
        train_transform: Transform | None = None,
        val_transform: Transform | None = None,
        batch_size: int = 32,
        global_batch_size: int | None = None,
        draws_per_epoch: int | None = None,
        eval_batch_size: int = 1,
        num_workers: int = 0,
        train_fraction: float = 0.6,
        val_fraction: float = 0.15,
        test_fraction: float = 0.25,
        split_seed: int = 0,
        protocol: Protocol = "published",
        copies: Copies = "drop",
        allow_leakage: bool = False,
        shots_per_type: int | None = None,
        image_budget: int | None = None,
        use_unlabelled: bool = False,
        train_on: Literal["all", "good"] = "all",
        held_out_types: tuple[str, ...] = (),
        test_types: str = "all",
        labels: str = "",
        captions: str = "built",
        latents: str = "online",
        seed: int = 0,
        max_val_images: int | None = None,
        in_memory: bool = True,
    ) -> None:
        super().__init__()
        _check_origin(source, root, manifest)
        _check_numbers(batch_size, eval_batch_size, global_batch_size or 1)
        _check_unlabelled(use_unlabelled, held_out_types, train_on)
        self.source, self.root, self.num_workers = source, root, num_workers
        self.manifest, self.manifest_folder, self.train_on = manifest, manifest_folder, train_on
        self.train_transform = train_transform or NativeCrop()
        self.val_transform = val_transform or Unchanged()
        self.batch_size, self.global_batch_size = batch_size, global_batch_size
        self.draws_per_epoch, self.eval_batch_size = draws_per_epoch, eval_batch_size
        self.fractions = (train_fraction, val_fraction, test_fraction)
        self.split_seed, self.protocol, self.copies = split_seed, protocol, copies
        self.allow_leakage, self.use_unlabelled = allow_leakage, use_unlabelled
        self.few_shots = FewShots(shots_per_type, image_budget, split_seed)
        self.held_out_types, self.test_types, self.labels = held_out_types, test_types, labels
        self.caption_choice, self.latents = CaptionChoice(captions), latents
        self.seed, self.max_val_images, self.in_memory = seed, max_val_images, in_memory

    @property
    def division(self) -> TypeDivision:
        """Which rows and names train and which are tested; it is there after `setup`."""
        if self._division is None:
            raise RuntimeError("the data is not set up: call prepare_data() and setup() first")
        return self._division

    @property
    def index(self) -> Manifest:
        """The manifest in use; it is there after `setup`."""
        return self.division.index

    @property
    def vocabulary(self) -> Vocabulary:
        """The class names that training and validation know."""
        return self.division.training

    def plan(self, process_count: int) -> BatchPlan:
        """How the processes share a step's batch; ValueError where they cannot."""
        if self.global_batch_size is None:
            return BatchPlan(self.batch_size, 1)
        return plan_batches(self.global_batch_size, self.batch_size, process_count)

    @property
    def samples_per_epoch(self) -> int:
        """Training samples of one epoch over all processes; ValueError for less than one step."""
        samples, whole = self.draws_per_epoch or len(self._training_rows()), self.global_batch_size
        if whole is None:
            return samples
        if samples < whole:
            raise ValueError(
                f"an epoch has {samples} training images, expected at least global_batch_size "
                f"{whole}: lower it, or set draws_per_epoch"
            )
        return samples - samples % whole

    def batches_per_epoch(self, process_count: int) -> int:
        """Training batches of one process in one epoch."""
        size = self.plan(process_count).device_batch_size
        return math.ceil(self.samples_per_epoch // process_count / size)

    def training_images(self, count: int) -> Tensor:
        """`count` augmented training images of all types, one tensor (N, 3, H, W) in [-1, 1]."""
        rows = self._training_rows()
        rows = spread_over_types(rows, self.index.types_of(rows), count)
        dataset = self._dataset(rows, self.train_transform)
        turns = [divmod(place, len(rows)) for place in range(count)]
        return torch.stack([dataset[Draw(int(rows[k]), turn)].image for turn, k in turns])

    def training_dataset(self) -> DefectDataset:
        """The augmented training images themselves, also where latents are cached."""
        return self._dataset(self._training_rows(), self.train_transform)

    def prepare_data(self) -> None:
        """Write the manifest of the source, on one process; only new images are opened.

        Raises FileNotFoundError or ValueError for data that is missing, broken or leaking.
        """
        if self.source is None or self.kept is not None:
            return
        done = prepare(
            self.source,
            Path(self.root),
            self._manifest_path(),
            fractions=self.fractions,
            split_seed=self.split_seed,
            protocol=self.protocol,
            copies=self.copies,
        )
        for title, left_out in (("unusable", done.unusable), ("copied", done.copies)):
            if left_out:
                LOGGER.warning(
                    "%d %s images of %s are left out, the first is %s (%s)",
                    len(left_out),
                    title,
                    self.source.name,
                    left_out[0].image,
                    left_out[0].reason,
                )
        for kind, lost, _ in done.leftovers.lost:
            if lost:
                LOGGER.warning("%d %s are left over, the first is %s", len(lost), kind, lost[0])

    def setup(self, stage: str | None = None) -> None:
        """Open the manifest; the same on every process. ValueError for a leaking one."""
        if self._division is None:
            index = Manifest.open(self._manifest_path(), self.root or None)
            if not self.allow_leakage:
                _check_leaks(index)
            self._division = TypeDivision(index, self.held_out_types, self.test_types, self.labels)

    def check(self, splits: Sequence[str], *, learns_types: bool) -> None:
        """ValueError, before anything trains, where one of these splits cannot be used.

        Each needs images, and of one size where several make a batch; `learns_types`: training
        must show the types that are tested (`TypeDivision.check_types`).
        """
        for split in splits:
            dataset, batch_size = self._reading(split)
            sizes_px = dataset.sizes_px
            if batch_size > 1 and len(sizes_px) > 1:
                raise ValueError(
                    f"{split} images are whole and of {len(sizes_px)} sizes ({sizes_px[0]}, "
                    f"{sizes_px[-1]} px), which make no batch of {batch_size}: expected one size; "
                    f"set data.init_args.{'' if split == 'train' else 'eval_'}batch_size to 1"
                )
            if split != "train" or self.latents == ONLINE:
                self._workers(dataset, batch_size)
        if learns_types:
            if self.train_on == GOOD:
                raise ValueError(
                    "train_on is good, and this system learns from defects: set "
                    "data.init_args.train_on to all"
                )
            self.division.check_types()

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled, augmented training batches, whose place in the order is part of checkpoints."""
        images, size = self._reading("train")
        dataset: Dataset[Sample] = images
        rows, workers = images.rows, self.num_workers
        if self.latents != ONLINE:
            store = LatentStore.open(self.latents)
            dataset = LatentDataset(self.index, rows, store, seed=self.seed)
        else:
            workers = self._workers(images, size)
        rank, world_size = self._rank()
        sampler = ResumableSampler(
            rows,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            draws_per_epoch=self.draws_per_epoch,
            step_size=self.global_batch_size or 1,
            data=self.index.sha256,
        )
        return ResumableLoader(dataset, sampler, batch_size=size, num_workers=workers)

    def val_dataloader(self) -> ResumableLoader:
        """Validation images in the order of their rows."""
        return self._eval_loader(self._reading("val")[0])

    def whole_images(self, split: str) -> ResumableLoader:
        """Whole images of a split in the order of their rows, in the names of training."""
        return self._eval_loader(self._dataset(self.division.rows_of(split), Unchanged()))

    def test_dataloader(self) -> ResumableLoader:
        """Whole test images in the order of their rows."""
        return self._eval_loader(self._reading("test")[0])

    def fit_captions(self, count_tokens: Callable[[str], int], token_limit: int) -> None:
        """Shorten the captions to what a text encoder reads, the defect's words last of all."""
        self.caption_choice = CaptionChoice(self.caption_choice.choice, count_tokens, token_limit)

    def _manifest_path(self) -> Path:
        """The manifest's place; its name holds the settings, so that two runs never share one."""
        if self.kept is not None:
            return self.kept
        if self.source is None:
            return Path(self.manifest)
        settings = sorted(vars(self.source).items()) if hasattr(self.source, "__dict__") else ()
        chosen = (self.fractions, self.split_seed, self.protocol, self.copies)
        identity = repr((Path(self.root).resolve(), settings, *chosen))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
        return Path(self.manifest_folder) / f"{self.source.name}-{digest}.parquet"

    def _training_rows(self) -> np.ndarray:
        rows = self.division.rows_of("train")
        if self.train_on == GOOD:
            rows = rows[[name == GOOD for name in self.index.types_of(rows)]]
            if not len(rows):
                raise ValueError(
                    f"manifest {self.index.path} has no good training images, expected some to "
                    "learn from: add images of good parts, or set data.init_args.train_on to all"
                )
        rows = self.few_shots.choose(self.index, rows)
        if not self.use_unlabelled:
            return rows
        groups = self.index.column("group")
        held_out = {groups[row] for split in ("val", "test") for row in self.index.rows_of(split)}
        unlabelled = [r for r in self.index.rows_of(UNLABELLED) if groups[r] not in held_out]
        return np.union1d(rows, np.array(unlabelled, dtype=np.int64))

    def _reading(self, split: str) -> tuple[DefectDataset, int]:
        """What a split is read as, and how many samples make a batch of one process."""
        if split == "train":
            return self.training_dataset(), self.plan(self._rank()[1]).device_batch_size
        rows = self.division.rows_of(split)
        if split == "test":
            return self._dataset(rows, Unchanged(), self.division.tested), self.eval_batch_size
        if self.max_val_images is not None:
            rows = spread_over_types(rows, self.index.types_of(rows), self.max_val_images)
        return self._dataset(rows, self.val_transform), self.eval_batch_size

    def _workers(self, dataset: DefectDataset, batch_size: int) -> int:
        """How many processes read ahead for one loader; ValueError for more than fit."""
        trainers = 1 if self.trainer is None else self.trainer.num_devices
        size_bytes = batch_size * dataset.largest_bytes if self.num_workers else 0
        return checked_workers(self.num_workers, size_bytes, trainers=trainers)

    def _rank(self) -> tuple[int, int]:
        """This process and the number of processes; (0, 1) without a trainer."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _dataset(
        self, rows: np.ndarray, transform: Transform, vocabulary: Vocabulary | None = None
    ) -> DefectDataset:
        return DefectDataset(
            self.index,
            rows,
            transform,
            seed=self.seed,
            in_memory=self.in_memory,
            caption_choice=self.caption_choice,
            vocabulary=vocabulary or self.vocabulary,
        )

    def _eval_loader(self, dataset: DefectDataset) -> ResumableLoader:
        rank, world_size = self._rank()
        if len(dataset) < world_size:
            # A process without any would let the others wait for ever.
            raise ValueError(
                f"there are {len(dataset)} images to evaluate for {world_size} processes, expected "
                "at least one each: raise the split's fraction or max_val_images, or use fewer "
                "processes"
            )
        sampler = ResumableSampler(
            dataset.rows, shuffle=False, rank=rank, world_size=world_size, even_ranks=False
        )
        size, workers = self.eval_batch_size, self._workers(dataset, self.eval_batch_size)
        return ResumableLoader(dataset, sampler, batch_size=size, num_workers=workers)


def _check_origin(source: Source | None, root: str, manifest: str) -> None:
    """Nothing for exactly one of source and manifest; ValueError otherwise."""
    if (source is None) == (not manifest):
        got = "neither" if source is None else "both"
        raise ValueError(
            f"the data has {got} of source and manifest, expected exactly one: name a source "
            "with its root, or a manifest that experiments.prepare wrote"
        )
    if source is not None and not root:
        raise ValueError(f"source {source.name} has no root: give the folder with its data")


def _check_numbers(*batch_sizes: int) -> None:
    if min(batch_sizes) < 1:
        got = " and ".join(map(str, batch_sizes))
        raise ValueError(f"batch sizes are {got}, expected 1 or more")


def _check_unlabelled(use_unlabelled: bool, held_out_types: tuple[str, ...], train_on: str) -> None:
    if use_unlabelled and train_on == GOOD:
        raise ValueError(
            "use_unlabelled is true and train_on good: unlabelled images may show defects, set "
            "only one of both"
        )
    if use_unlabelled and held_out_types:
        raise ValueError(
            f"use_unlabelled is true and held_out_types names {', '.join(held_out_types)}: "
            "unlabelled images may show them, set only one of both"
        )


def _check_leaks(index: Manifest) -> None:
    """ValueError for a manifest that must not be trained on."""
    if not index.leaks:
        return
    found = f"{index.leaks} pairs of alike images are in different splits"
    if index.leaks < 0:
        found = "nobody has looked for alike images in its splits"
    raise ValueError(
        f"manifest {index.path}: {found}; expected none: prepare it again with --copies drop, or "
        "set data.init_args.allow_leakage to true, which the run will record"
    )
