"""A run from its configuration to its results: data and net made ready, fit, calibrated, tested."""

import logging
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import lightning
import yaml
from filelock import FileLock
from jsonargparse import Namespace
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.model_helpers import is_overridden
from rich.console import Console

from callbacks.checkpoint import (
    FOLDER_NAME,
    LAST_NAME,
    RunStopped,
    SafeCheckpoint,
    StopSignal,
)
from callbacks.finite_guard import FiniteGuard
from callbacks.progress import PlainProgress
from callbacks.run_record import RunRecord
from datamodules.imdd import ONLINE, IMDDDataModule
from datamodules.latents import LatentStore
from experiments.checkpoints import (
    CONFIG_NAME,
    THRESHOLDS_NAME,
    keep_manifest,
    load_stage,
    read_thresholds,
    reopen,
    write_configuration,
    write_thresholds,
)
from experiments.config import build_stage
from experiments.inference.changes import report_changes
from experiments.inference.new_words import keep_seen_regions, use_new_words
from experiments.latent_store import latent_index
from experiments.resume import AUTO, NEVER, metrics_of_the_end, run_directory
from experiments.run_logger import SPOOL_NAME, RunLogger
from experiments.seen_images import count_seen
from experiments.tables import metrics_table, to_rich
from experiments.tracking import (
    RESULTS_NAME,
    TrackerError,
    initialise_tracking,
    read_results,
    tracking_uri,
    write_results,
)
from lightning_modules.anomaly_module import AnomalyModule
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.student import Student
from lightning_modules.weights_io import read_stage

logger = logging.getLogger(__name__)

MEASURED_IMAGES = 256
# What Lightning says of any run like ours: frozen parts evaluate on purpose, and the data is read
# by the process itself at tiny scale.
EXPECTED_WARNINGS = (
    ".*LeafSpec.*",
    "Found .* module.s. in eval mode",
    ".*does not have many workers",
    ".*number of training batches .* is smaller than the logging interval",
    # A system that learns from good parts without gradients.
    ".*fit will run with no optimizer",
    "You have overridden `on_after_batch_transfer`",
    # A sharded image tower of timm; its answer is not written to.
    ".*returned a view tensor.*",
    # Validation metrics are reduced already; training losses are the first process's own.
    ".*sync_dist=True.*",
)


def train(
    stage: Namespace,
    *,
    resume: str = NEVER,
    start: Path | None = None,
    weights: Path | None = None,
    thresholds: Path | None = None,
) -> None:
    """Fit, calibrate and test the stage in its run directory, and print what came out.

    resume: the run to go on with, see `resume.py`; start: a run whose weights training begins
    with, and beside which the new ones are then shown (`inference/changes.py`); weights: a run
    whose weights are tested, nothing is trained; thresholds: with it, a file of thresholds, nothing
    is calibrated. Raises FileNotFoundError or ValueError, one line, for what stage, data or weights
    refuse, RunStopped with the word for --resume as its note where a signal stopped it.
    """
    with run_directory(stage, resume) as (directory, checkpoint):
        if (directory / RESULTS_NAME).is_file():
            deliver_spool(stage, directory)
            return report(read_results(directory), directory, Path(stage.output))
        objects = prepare_stage(stage, weights, thresholds, start, checkpoint and directory)
        data, model = objects.data, objects.model
        log = tracked_run(stage, directory, data=data, model=model)
        stop = StopSignal()
        trainer = build_trainer(objects.trainer, directory, data=data, stop=stop, log=log)
        note_settings(stage, directory, data, log)
        results: dict[str, float] = {}
        try:
            with expected_warnings_hidden(), stop.listening(), log.watching_machine():
                data.trainer = trainer
                if isinstance(model, SegmentationModule):
                    # What so many processes can't share is refused now.
                    data.test_dataloader()
                    model.check_processes(trainer.world_size)
                if weights is None and is_overridden("training_step", model):
                    done = metrics_of_the_end(checkpoint, trainer)
                    if checkpoint is not None and done:
                        # Lightning would leave the weights that train in place of their averages.
                        model.restore(read_stage(checkpoint))
                    else:
                        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
                    for name, value in (done or trainer.callback_metrics).items():
                        if not name.endswith(("_step", "_epoch")):  # Lightning has both
                            results[name] = float(value)
                if weights is None:
                    keep_seen_regions(model, data, directory)
                    trainer.strategy.barrier()  # what the first process wrote, all read
                use_new_words(model, weights or directory)
                results |= calibrate_and_test(trainer, model, data, thresholds)
                if weights is not None:
                    results |= count_seen(weights, data, log)
                if start is not None and isinstance(model, SegmentationModule):
                    report_changes(start, model, data, directory, Path(stage.tags["corrected"]))
        except BaseException as error:
            log.close("KILLED" if isinstance(error, RunStopped) else "FAILED")
            if isinstance(error, RunStopped):
                is_saved = (directory / FOLDER_NAME / LAST_NAME).is_file()
                # Before a run saves there is nothing that a named directory could go on from.
                error.add_note(str(directory) if is_saved else AUTO)
            raise
        finish(results, directory, log)
        report(results, directory, Path(stage.output))


def prepare_stage(
    stage: Namespace,
    weights: Path | None = None,
    thresholds: Path | None = None,
    start: Path | None = None,
    begun: Path | None = None,  # a run that goes on with the data that it has kept
) -> Namespace:
    """The stage's `data`, `model` and `trainer` settings, data and weights read, ready to run."""
    lightning.seed_everything(stage.seed, workers=True, verbose=False)
    objects = build_stage(stage)
    data: IMDDDataModule = objects.data
    model: DiffusionPretrain | SegmentationModule = objects.model
    reopen(data, begun)
    prepare_alone(data)
    data.setup("fit")
    finds_masks, trains = isinstance(model, SegmentationModule), weights is None
    uses = {"train": trains, "val": thresholds is None, "test": finds_masks}
    learns_types = trains and isinstance(model, SegmentationModule) and model.learns_types
    data.check([split for split, is_used in uses.items() if is_used], learns_types=learns_types)
    if weights is None:
        data.batches_per_epoch(1)  # an epoch of less than one step is refused here
        if isinstance(model, Student):
            model.learn_from(load_stage(model.teacher_path))
        begin_with(start, model, data)
    elif isinstance(model, SegmentationModule):
        model.restore(read_stage(weights))
    else:
        raise ValueError(
            f"{type(model).__name__} finds no masks to test: expected a stage 2 or a baseline"
        )
    if isinstance(model, SegmentationModule):
        model.set_vocabulary(data.vocabulary)
        # A closed list of names refuses those of the test here, before anything trains.
        model.check_vocabulary(data.division.tested)
        if thresholds is not None:
            model.post_processing.calibrate(read_thresholds(thresholds))
    else:
        text_encoder = model.diffusion.text_encoder
        data.fit_captions(text_encoder.token_counter(), text_encoder.max_tokens)
        if data.latents != ONLINE:
            store = LatentStore.open(data.latents)
            made = store.index
            store.check(
                latent_index(model, data, variants=made.variants, per_shard=made.samples_per_shard)
            )
    return objects


def begin_with(
    start: Path | None, model: DiffusionPretrain | SegmentationModule, data: IMDDDataModule
) -> None:
    """Fills the model for its training, from an older run where one is given."""
    if start is None:
        return load_and_measure(model, data)
    if isinstance(model, AnomalyModule):
        kind = type(model).__name__
        raise ValueError(f"--from {start}: a {kind} learns good parts anew; leave --from out")
    model.restore(read_stage(start))


def load_and_measure(model: DiffusionPretrain | SegmentationModule, data: IMDDDataModule) -> None:
    """Load the weights that the model's settings name, and what it reads off training images."""
    model.load()
    if isinstance(model, DiffusionPretrain) or is_overridden(
        "measure", model, parent=SegmentationModule
    ):
        model.measure(data.training_images(MEASURED_IMAGES))


def tracked_run(
    stage: Namespace,
    directory: Path,
    *,
    data: IMDDDataModule,
    model: DiffusionPretrain | SegmentationModule,
) -> RunLogger:
    """The tracked run of the directory, a new one with the settings; config.yaml is written."""
    tags = {
        "stage": type(model).__name__,
        "setting": stage.setting,
        "scale": stage.scale,
        "seed": str(stage.seed),
        "latents": "online" if data.latents == ONLINE else "cached",
    }
    if isinstance(model, SegmentationModule):
        tags |= model.tags()
    declared = {f"seed_declared.{name}": one for name, one in stage.seed_declared.items()}
    reach_tracker(Path(stage.output))
    log = RunLogger(
        Path(stage.output),
        stage.experiment,
        # Of a study's children the directory says whose they are, here the experiment does.
        directory.name.removeprefix(f"{stage.experiment}."),
        {**tags, **declared, **stage.tags},
        directory=directory,
    )
    return log


def reach_tracker(output: Path) -> None:
    """Make the tracking database where there is none; a tracker that is down is warned of."""
    try:
        initialise_tracking(output)
    except TrackerError as error:
        rank_zero_only(logger.warning)("%s; training goes on, its figures wait", error)


@rank_zero_only
def note_settings(stage: Namespace, directory: Path, data: IMDDDataModule, log: RunLogger) -> None:
    """Write config.yaml, of which a new tracked run hears, and keep the manifest."""
    write_configuration(stage, directory)
    keep_manifest(data.index.path, directory)
    if log.is_new:
        log.log_hyperparams(yaml.safe_load((directory / CONFIG_NAME).read_text(encoding="utf-8")))


def build_trainer(
    settings: Namespace,
    directory: Path,
    *,
    data: IMDDDataModule,
    stop: StopSignal,
    log: RunLogger,
) -> Trainer:
    """The Trainer of the configuration with the callbacks that every run has."""
    # Of epochs between validations nothing means that steps are counted.
    arguments = {
        key: value
        for key, value in settings.as_dict().items()
        if value is not None or key == "check_val_every_n_epoch"
    }
    is_terminal = sys.stdout.isatty()
    if not is_terminal:
        arguments |= {"enable_progress_bar": False, "enable_model_summary": False}
    callbacks: list[Callback] = list(arguments.pop("callbacks", []))
    own = [RunRecord(), FiniteGuard(), stop, SafeCheckpoint()]
    own.append(RichProgressBar() if is_terminal else PlainProgress())
    if not arguments.get("fast_dev_run"):
        own.append(LearningRateMonitor("step"))
    given = {type(callback) for callback in callbacks}
    callbacks += [callback for callback in own if type(callback) not in given]
    trainer = Trainer(**arguments, callbacks=callbacks, logger=log, default_root_dir=directory)
    accumulate(trainer, data)
    return trainer


def accumulate(trainer: Trainer, data: IMDDDataModule) -> None:
    """Make each step of as many passes as `global_batch_size` needs; ValueError where it cannot."""
    plan = data.plan(trainer.world_size)
    if data.global_batch_size is None:
        return
    if trainer.accumulate_grad_batches not in (1, plan.accumulation):
        raise ValueError(
            f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches}, but "
            f"global_batch_size {data.global_batch_size} needs {plan.accumulation}: leave it out"
        )
    trainer.accumulate_grad_batches = plan.accumulation


def calibrate_and_test(
    trainer: Trainer,
    model: LightningModule,
    data: IMDDDataModule,
    thresholds: Path | None,
) -> dict[str, float]:
    """Validate, which sets the thresholds where none are given, then test; figures by name."""
    results: dict[str, float] = {}
    if thresholds is None:
        if isinstance(model, SegmentationModule) and not trainer.limit_val_batches:
            trainer.limit_val_batches = 1.0  # the thresholds come from it
        for metrics in trainer.validate(model, data, verbose=False):
            results |= metrics
        if not is_overridden("training_step", model):
            # Nothing was fitted, so that there is none yet for predict to name.
            trainer.save_checkpoint(Path(trainer.default_root_dir, FOLDER_NAME, LAST_NAME))
    if isinstance(model, SegmentationModule):
        if thresholds is None and trainer.is_global_zero:
            assert model.calibration is not None
            write_thresholds(
                Path(trainer.default_root_dir) / THRESHOLDS_NAME,
                model.calibration,
                naming=model.naming,
                split="val",
                manifest_sha256=data.index.sha256,
            )
        model.set_vocabulary(data.division.tested)
        for metrics in trainer.test(model, data, verbose=False):
            results |= metrics
    return results


@rank_zero_only
def finish(results: Mapping[str, float], directory: Path, log: RunLogger) -> None:
    """Write results.json, hand the run's files to the tracker and end the run there."""
    write_results(directory, results)
    files = [*sorted(directory.glob("*.json")), *directory.glob("*.html")]
    for file in (*files, directory / CONFIG_NAME):
        log.log_artifact(file)
    log.close()


@rank_zero_only
def report(results: Mapping[str, float], directory: Path, output: Path) -> None:
    """Print the results, where they lie, and how to look at them."""
    shown = {
        name: value
        for name, value in sorted(results.items())
        if "/test/" in name or name.startswith(("pretrain/val/", "perf/", "data/test"))
    }
    console, uri = Console(), tracking_uri(output)
    console.print(to_rich(metrics_table("results", shown)))
    console.print(f"run directory: {directory}", soft_wrap=True, markup=False)
    words = ["mlflow", "ui", "--backend-store-uri", uri]
    look = shlex.join(words) if uri.startswith("sqlite:") else uri
    console.print(f"compare runs:  {look}", soft_wrap=True, markup=False)


@rank_zero_only
def deliver_spool(stage: Namespace, directory: Path) -> None:
    """Send what waits for the tracker since a finished run's end, and end its run there."""
    output = Path(stage.output)
    if (directory / SPOOL_NAME).is_file():
        reach_tracker(output)
        RunLogger(output, stage.experiment, directory.name, {}, directory=directory).close()


def prepare_alone(data: IMDDDataModule) -> None:
    """Let the data be prepared, by one process after the other where several want the same."""
    if data.source is None:
        data.prepare_data()
        return
    folder = Path(data.manifest_folder)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".prepare.lock"):
        data.prepare_data()


@contextmanager
def expected_warnings_hidden() -> Iterator[None]:
    """Hides what Lightning says of any run like ours."""
    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
