"""What a step costs inside the Trainer beside the same step in a bare loop, at tiny scale.

Both run the parts of stage1_tiny.yaml on the same batches: loss, backward, clipping, AdamW,
schedule and averages. The Trainer's also logs to CSV. A small batch makes the overhead visible,
the config's own says what it is worth.
"""

import copy
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import torch
from jsonargparse import Namespace
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from callbacks.ema import WeightEma
from callbacks.finite_guard import FiniteGuard
from callbacks.progress import PlainProgress
from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from experiments.configuration import build_stage, load_layers, parse_stage
from experiments.measuring.bare_loops import Average
from experiments.measuring.measurements import BenchSettings, Measurement, one_thread
from experiments.running.expected_warnings import expected_warnings_hidden
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.optimizers import adamw, trainable, warm_up_cosine

VERB = "stage1"
CONFIG = "stage1_tiny.yaml"
SKIPPED_STEPS = 2


@dataclass(frozen=True, slots=True)
class Shape:
    """Images of a batch, their side, and the timed steps of one turn."""

    batch_size: int
    side_px: int
    steps: int


# What the config trains with, and so little that the overhead shows. The aim is a ratio of 0.95.
SHAPES = (Shape(32, 128, 5), Shape(1, 64, 25))


class RandomBatches(LightningDataModule):
    """The same batches in each epoch, made beforehand, so that no reading is timed."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.vocabulary = Vocabulary.from_names(["crack", "stain"])
        self.train_transform = SimpleNamespace(size_px=shape.side_px)
        count = shape.steps + SKIPPED_STEPS
        self.batches = [random_batch(shape.batch_size, shape.side_px) for _ in range(count)]

    def batches_per_epoch(self, process_count: int) -> int:
        """As many as there are."""
        return len(self.batches)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Them in order."""
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


def random_batch(batch_size: int, side_px: int) -> Batch:
    """Noise with captions, as many words as real ones have."""
    return Batch(
        image=torch.rand(batch_size, 3, side_px, side_px) * 2 - 1,
        mask=torch.zeros(batch_size, side_px, side_px, dtype=torch.int64),
        has_mask=torch.ones(batch_size, dtype=torch.bool),
        is_box=torch.zeros(batch_size, dtype=torch.bool),
        captions=[f"{'steel plate with a long crack ' * 7}{row}" for row in range(batch_size)],
        class_ids=[(1,)] * batch_size,
        row=torch.arange(batch_size),
        seeds=list(range(batch_size)),
    )


class StepClock(Callback):
    """CPU seconds of each step, from the end of the one before, all other callbacks included."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note the time."""
        self.ends.append(time.process_time())


def measure(settings: BenchSettings) -> list[Measurement]:
    """Microseconds a step at both sizes, with few and with all callbacks, beside a bare loop."""
    stage = build_stage(parse_stage(load_layers([CONFIG])))
    model = stage.model
    assert isinstance(model, DiffusionPretrain)
    with torch.random.fork_rng(devices=[]), one_thread(), quiet():
        return [
            row
            for shape in SHAPES
            for row in measure_shape(model, stage.trainer, shape, repeats=settings.repeats)
        ]


def measure_shape(
    model: DiffusionPretrain, trainer: Namespace, shape: Shape, *, repeats: int
) -> list[Measurement]:
    """Medians over all steps of all turns, the first steps of a turn left out."""
    data = RandomBatches(shape)
    model.measure(data.batches[0].image)
    few, many, bare = (copy.deepcopy(model) for _ in range(3))
    seconds: tuple[list[float], ...] = ([], [], [])
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            seconds[0].extend(differences(fit(few, data, trainer, folder, ())))
            seconds[1].extend(differences(fit(many, data, trainer, folder, callbacks_of_a_run())))
            seconds[2].extend(differences(run_bare(bare, data)))
    medians = [statistics.median(side) * 1e6 for side in seconds]
    names = ("the config's callbacks", "all that a run has")
    return [
        Measurement(
            f"trainer: step with {name}, batch {shape.batch_size}, {shape.side_px} px",
            ours,
            medians[-1],
            "us/step",
            medians[-1] / ours,
            1.0,
            {"of": CONFIG, "overhead us": ours - medians[-1], "steps": len(seconds[0])},
        )
        for name, ours in zip(names, medians, strict=False)
    ]


def callbacks_of_a_run() -> tuple[Callback, ...]:
    """What every run adds to its config's callbacks and acts on each step."""
    return FiniteGuard(), PlainProgress(), LearningRateMonitor("step")


def fit(
    model: DiffusionPretrain,
    data: RandomBatches,
    settings: Namespace,
    folder: str,
    added: Sequence[Callback],
) -> list[float]:
    """CPU seconds at the ends of the steps of one epoch in the Trainer."""
    clock = StepClock()
    arguments = {key: value for key, value in settings.as_dict().items() if value is not None}
    arguments |= {
        "max_epochs": 1,
        "callbacks": [*arguments["callbacks"], *added, clock],
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    Trainer(**arguments, logger=CSVLogger(folder), default_root_dir=folder).fit(model, data)
    return clock.ends


def run_bare(model: DiffusionPretrain, data: RandomBatches) -> list[float]:
    """CPU seconds at the ends of the steps of one epoch in a loop without a Trainer."""
    groups: list[dict[str, object]] = [
        {"params": list(trainable(model)), "weight_decay": model.weight_decay}
    ]
    optimizer = adamw(groups, lr=model.base_learning_rate, betas=model.adam_betas)
    curve = partial(
        warm_up_cosine,
        warmup_steps=model.warmup_steps,
        total_steps=len(data.batches),
        start=model.warmup_start_learning_rate / model.base_learning_rate,
        floor=model.final_learning_rate / model.base_learning_rate,
    )
    scheduler = LambdaLR(optimizer, curve)
    average = Average(model, WeightEma())
    ends = []
    for index, batch in enumerate(data.train_dataloader()):
        loss = model.training_step(batch, index)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        average.update()
        ends.append(time.process_time())
    return ends


def differences(ends: Sequence[float]) -> list[float]:
    """Seconds of the steps after the first ones."""
    return [after - before for before, after in pairwise(ends[SKIPPED_STEPS - 1 :])]


@contextmanager
def quiet() -> Iterator[None]:
    """Hides what Lightning says at the start and the end of each fit, and of no logger."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with expected_warnings_hidden():
            for message in ("You are trying to `self.log", "You defined a `validation_step`"):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(before)
