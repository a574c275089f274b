"""One stage of a run: objects from a configuration, fit, calibration, test, results."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from filelock import FileLock
from jsonargparse import Namespace
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only

from callbacks.checkpoint import KEY, RunStopped, SafeCheckpoint, StopSignal
from callbacks.finite_guard import FiniteGuard
from callbacks.progress import PlainProgress
from callbacks.run_record import RunRecord
from datamodules.imdd import ONLINE, IMDDDataModule
from datamodules.latents import LatentStore, StoreIndex
from experiments.checkpoints import CONFIG_NAME, write_configuration
from experiments.configuration import build_stage, stage_parser
from experiments.running.expected_warnings import expected_warnings_hidden
from experiments.running.tracked_run import TrackedRun
from experiments.runs import write_results
from experiments.tables import metrics_table, to_markdown
from experiments.thresholds import THRESHOLDS_NAME, read_thresholds, write_thresholds
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.latent_encoding import parts_sha256
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.weights_io import read_stage

MEASURED_IMAGES = 256


class StageRun:
    """One parsed stage with its data and weights read, ready to run.

    `trained` names a run whose weights are tested instead of training new ones, at `thresholds` if
    a file of these is given: data of another set are then not calibrated on. Raises
    FileNotFoundError or ValueError, one line, for what the stage, data or weights refuse.
    """

    def __init__(
        self, stage: Namespace, trained: Path | None = None, thresholds: Path | None = None
    ) -> None:
        self.stage, self.trained, self.thresholds = stage, trained, thresholds
        lightning.seed_everything(stage.seed, workers=True, verbose=False)
        objects = build_stage(stage)
        self.trainer_settings: Namespace = objects.trainer
        self.data: IMDDDataModule = objects.data
        self.model: DiffusionPretrain | SegmentationModule = objects.model
        prepare_alone(self.data)
        self.data.setup("fit")
        if trained is None:
            self.data.batches_per_epoch(1)  # an epoch of less than one step is refused here
            self.load_parts()
        else:
            self.load_trained(trained)
        if isinstance(self.model, SegmentationModule):
            self.model.set_vocabulary(self.data.vocabulary)
            self.model.check_vocabulary(self.data.division.tested)  # before anything trains
            if thresholds is not None:
                self.model.post_processing.calibrate(read_thresholds(thresholds))
        else:
            text_encoder = self.model.diffusion.text_encoder
            self.data.fit_captions(text_encoder.token_counter(), text_encoder.max_tokens)
            self.check_latents(self.model)

    def check_latents(self, model: DiffusionPretrain) -> None:
        """ValueError where cached latents were made from other data, parts or transforms."""
        if self.data.latents == ONLINE:
            return
        store = LatentStore.open(self.data.latents)
        made = store.index
        store.check(
            latent_index(model, self.data, variants=made.variants, per_shard=made.samples_per_shard)
        )

    def load_parts(self) -> None:
        """What a net must be told before it can train: weights of its parts, and their scale."""
        self.model.load()
        self.model.measure(self.data.training_images(MEASURED_IMAGES))

    def load_trained(self, trained: Path) -> None:
        """The weights of another run."""
        if not isinstance(self.model, SegmentationModule):
            raise ValueError(
                f"{type(self.model).__name__} finds no masks to test: expected a stage 2 or a "
                "baseline"
            )
        self.model.restore(read_stage(trained))

    def run(
        self, directory: Path, *, name: str, checkpoint: Path | None = None
    ) -> dict[str, float]:
        """Fit unless trained, calibrate, test; files go to `directory`, results come by name.

        checkpoint: of this stage, to go on from. Raises RunStopped where a signal stopped it.
        """
        self.directory = directory
        self.tracked = self.open_tracked_run(name)
        self.logger, self.stop = self.tracked.logger, StopSignal()
        self.trainer = self.build_trainer(self.trainer_settings)
        write_configuration(self.stage, directory)
        results: dict[str, float] = {}
        with expected_warnings_hidden(), self.stop.listening():
            try:
                settings = json.loads(stage_parser().dump(self.stage, format="json"))
                self.tracked.log_settings(flatten(settings))
                with self.tracked.watching_machine():
                    if self.trained is None and has_weights_to_train(self.model):
                        results |= self.fit(checkpoint)
                    results |= self.calibrate_and_test()
            except RunStopped:
                self.tracked.set_status("KILLED")
                raise
        self.finish(results)
        return results

    def open_tracked_run(self, name: str) -> TrackedRun:
        """The tracked run that the directory belongs to, or a new one."""
        tags = {
            "stage": type(self.model).__name__,
            "setting": self.stage.setting,
            "scale": self.stage.scale,
            "seed": str(self.stage.seed),
            "latents": "online" if self.data.latents == ONLINE else "cached",
        }
        if isinstance(self.model, SegmentationModule):
            tags |= self.model.tags()
        tags |= self.stage.tags
        return TrackedRun(
            Path(self.stage.output),
            self.directory,
            experiment=self.stage.experiment,
            # Of a study's children the directory says whose they are, here the experiment does.
            name=name.removeprefix(f"{self.stage.experiment}."),
            tags=tags,
        )

    def fit(self, checkpoint: Path | None) -> dict[str, float]:
        """Train to the end, from the checkpoint where there is one; the last training figures."""
        if checkpoint is not None:
            saved = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
            if has_trained(saved, self.trainer):
                # Lightning would leave the weights that train in place of their averages.
                self.model.restore(read_stage(checkpoint))
                return numbers(saved[KEY]["metrics"])
            self.tracked.log_missing(saved[KEY]["unlogged"], saved[KEY]["unlogged_step"])
            # Mapped into memory it would keep the file's space on the disk while training goes on.
            del saved
        self.trainer.fit(self.model, self.data, ckpt_path=checkpoint, weights_only=True)
        return numbers(self.trainer.callback_metrics)

    def build_trainer(self, settings: Namespace) -> Trainer:
        """The Trainer of the configuration with the callbacks that every run has."""
        arguments = {key: value for key, value in settings.as_dict().items() if value is not None}
        if not sys.stdout.isatty():
            arguments |= {"enable_progress_bar": False, "enable_model_summary": False}
        configured: list[Callback] = arguments.pop("callbacks", [])
        own: list[Callback] = [
            RunRecord(),
            FiniteGuard(),
            self.stop,
            SafeCheckpoint(),
            RichProgressBar() if sys.stdout.isatty() else PlainProgress(),
        ]
        if not arguments.get("fast_dev_run"):
            own.append(LearningRateMonitor("step"))
        given = {type(callback) for callback in configured}
        trainer = Trainer(
            **arguments,
            callbacks=[*configured, *(one for one in own if type(one) not in given)],
            logger=self.logger,
            default_root_dir=self.directory,
        )
        accumulate(trainer, self.data)
        return trainer

    def calibrate_and_test(self) -> dict[str, float]:
        """Validate, which sets the thresholds where none are given, then test; figures by name."""
        results: dict[str, float] = {}
        if self.thresholds is None:
            for metrics in self.trainer.validate(self.model, self.data, verbose=False):
                results |= metrics
        if isinstance(self.model, SegmentationModule):
            if self.thresholds is None:
                self.write_calibration(self.model)
            self.model.set_vocabulary(self.data.division.tested)
            for metrics in self.trainer.test(self.model, self.data, verbose=False):
                results |= metrics
        return results

    @rank_zero_only
    def write_calibration(self, model: SegmentationModule) -> None:
        """The operating points that validation has set, beside the weights."""
        assert model.calibration is not None
        write_thresholds(
            self.directory / THRESHOLDS_NAME,
            model.calibration,
            naming=model.naming,
            split="val",
            manifest_sha256=self.data.index.sha256,
        )

    @rank_zero_only
    def finish(self, results: Mapping[str, float]) -> None:
        """Writes results.json and a table of it, and hands the run's files to the tracker."""
        write_results(self.directory, results)
        table = to_markdown(metrics_table(self.directory.name, dict(sorted(results.items()))))
        (self.directory / "results.md").write_text(table + "\n", encoding="utf-8")
        for pattern in ("*.json", "results.md", CONFIG_NAME):
            for file in sorted(self.directory.glob(pattern)):
                self.logger.log_artifact(file)
        self.logger.close()


def prepare_alone(data: IMDDDataModule) -> None:
    """Let the data be prepared, by one process after the other where several want the same."""
    if data.source is None:
        data.prepare_data()
        return
    folder = Path(data.manifest_folder)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".prepare.lock"):
        data.prepare_data()


def has_weights_to_train(model: LightningModule) -> bool:
    """Whether a fit would change anything."""
    return any(weight.requires_grad for weight in model.parameters())


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


def has_trained(saved: Mapping[str, Any], trainer: Trainer) -> bool:
    """Whether the checkpoint is of the end of training."""
    epochs = saved["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    end = trainer.max_epochs
    return (end is not None and 0 <= end <= epochs) or 0 < trainer.max_steps <= saved["global_step"]


def latent_index(
    model: DiffusionPretrain, data: IMDDDataModule, *, variants: int, per_shard: int
) -> StoreIndex:
    """What a store of this stage's latents must be made from."""
    words = [f"{name}={value}" for name, value in sorted(vars(data.train_transform).items())]
    return StoreIndex(
        manifest_sha256=data.index.sha256,
        parts_sha256=parts_sha256(model.diffusion),
        transform=f"{type(data.train_transform).__name__}({', '.join(words)})",
        seed=data.seed,
        row_count=len(data.training_dataset()),
        variants=variants,
        samples_per_shard=per_shard,
    )


def numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """The metrics as plain numbers, without the step-wise twins that Lightning keeps."""
    return {
        name: float(value)  # type: ignore[arg-type]
        for name, value in metrics.items()
        if not name.endswith(("_step", "_epoch"))
    }


def flatten(settings: object, prefix: str = "") -> dict[str, object]:
    """Nested settings with dotted keys; the class_path / init_args wrapping is left out."""
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    flat: dict[str, object] = {}
    for key, value in settings.items():
        name = prefix if key == "init_args" else f"{prefix}.{key}".strip(".")
        flat |= flatten(value, name)
    return flat
