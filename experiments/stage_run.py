"""One stage of a run: objects from a configuration, fit, calibration, test, results."""

import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import lightning
from jsonargparse import Namespace
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only

from callbacks.plain_progress import PlainProgress
from callbacks.run_record import RunRecord
from datamodules.imdd import ONLINE, IMDDDataModule
from datamodules.latent_store import LatentStore, StoreIndex
from experiments.checkpoints import CONFIG_NAME, THRESHOLDS_NAME, write_configuration
from experiments.configuration import build_stage, stage_parser
from experiments.runs import initialise_tracking, run_logger, write_results
from experiments.tables import metrics_table, to_markdown
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.latent_encoding import parts_sha256
from lightning_modules.saved_stage import read_stage
from lightning_modules.tiled_model import TiledModel

MEASURED_IMAGES = 256
# What Lightning says of any run like ours: frozen parts evaluate on purpose, and the data is read
# by the process itself at tiny scale.
EXPECTED_WARNINGS = (
    ".*LeafSpec.*",
    "Found .* module.s. in eval mode",
    ".*does not have many workers",
    ".*number of training batches .* is smaller than the logging interval",
    "Checkpoint directory .* exists and is not empty",
    # The metrics are reduced over processes before they are logged.
    ".*sync_dist=True.*",
)


class StageRun:
    """One parsed stage with its data and weights read, ready to run.

    `trained` names a run whose weights are tested instead of training new ones. Raises
    FileNotFoundError or ValueError, one line, for what the stage, data or weights refuse.
    """

    def __init__(self, stage: Namespace, trained: Path | None = None) -> None:
        self.stage, self.trained = stage, trained
        lightning.seed_everything(stage.seed, workers=True, verbose=False)
        objects = build_stage(stage)
        self.trainer_settings: Namespace = objects.trainer
        self.data: IMDDDataModule = objects.data
        self.model: DiffusionPretrain | TiledModel = objects.model
        self.data.prepare_data()
        self.data.setup("fit")
        if trained is None:
            self.load_parts()
        else:
            self.load_trained(trained)
        if isinstance(self.model, TiledModel):
            self.model.set_vocabulary(self.data.vocabulary)
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
        if not isinstance(self.model, TiledModel):
            raise ValueError(
                f"{type(self.model).__name__} finds no masks to test: expected a stage 2 or a "
                "baseline"
            )
        self.model.restore(read_stage(trained))

    def run(self, directory: Path, *, name: str) -> dict[str, float]:
        """Fit unless trained, calibrate, test; files go to `directory`, results come by name."""
        self.directory = directory
        output = Path(self.stage.output)
        initialise_tracking(output)
        tags = {
            "stage": type(self.model).__name__,
            "setting": self.stage.setting,
            "scale": self.stage.scale,
            "seed": str(self.stage.seed),
            "latents": "online" if self.data.latents == ONLINE else "cached",
        }
        if isinstance(self.model, TiledModel):
            tags |= self.model.tags()
        self.logger = run_logger(output, self.stage.experiment, name, tags, run_directory=directory)
        self.trainer = self.build_trainer(self.trainer_settings)
        write_configuration(self.stage, directory)
        results: dict[str, float] = {}
        with expected_warnings_hidden():
            self.log_configuration()
            if self.trained is None and any(p.requires_grad for p in self.model.parameters()):
                self.trainer.fit(self.model, self.data)
                results |= numbers(self.trainer.callback_metrics)
            results |= self.calibrate_and_test()
        self.finish(results)
        return results

    def build_trainer(self, settings: Namespace) -> Trainer:
        """The Trainer of the configuration with the callbacks that every run has."""
        own: list[Callback] = [
            RunRecord(),
            ModelCheckpoint(
                self.directory / "checkpoints",
                filename="last",
                enable_version_counter=False,
                save_on_train_epoch_end=True,
            ),
            RichProgressBar() if sys.stdout.isatty() else PlainProgress(),
        ]
        arguments = {key: value for key, value in settings.as_dict().items() if value is not None}
        if not sys.stdout.isatty():
            arguments |= {"enable_progress_bar": False, "enable_model_summary": False}
        configured = arguments.pop("callbacks", [])
        if not arguments.get("fast_dev_run"):
            own.append(LearningRateMonitor("step"))
        return Trainer(
            **arguments,
            callbacks=[*configured, *own],
            logger=self.logger,
            default_root_dir=self.directory,
        )

    def calibrate_and_test(self) -> dict[str, float]:
        """Validate, which sets the thresholds, then test; the figures by name."""
        results: dict[str, float] = {}
        for metrics in self.trainer.validate(self.model, self.data, verbose=False):
            results |= metrics
        if isinstance(self.model, TiledModel):
            self.write_thresholds(self.model)
            for metrics in self.trainer.test(self.model, self.data, verbose=False):
                results |= metrics
        return results

    def log_configuration(self) -> None:
        """The resolved configuration as parameters of the tracked run."""
        settings = json.loads(stage_parser().dump(self.stage, format="json"))
        self.logger.log_hyperparams(flatten(settings))

    @rank_zero_only
    def write_thresholds(self, model: TiledModel) -> None:
        """The operating point that validation has set, beside the weights."""
        post_processing = model.post_processing
        point = {
            "pixel_threshold": float(post_processing.pixel_threshold),
            "image_threshold": float(post_processing.image_threshold),
        }
        (self.directory / THRESHOLDS_NAME).write_text(json.dumps(point, indent=2) + "\n")

    @rank_zero_only
    def finish(self, results: Mapping[str, float]) -> None:
        """Writes results.json and a table of it, and hands the run's files to the tracker."""
        write_results(self.directory, results)
        table = to_markdown(metrics_table(self.directory.name, dict(sorted(results.items()))))
        (self.directory / "results.md").write_text(table + "\n", encoding="utf-8")
        for pattern in ("*.json", "results.md", CONFIG_NAME):
            for file in sorted(self.directory.glob(pattern)):
                self.logger.log_artifact(file)


def latent_index(
    model: DiffusionPretrain, data: IMDDDataModule, *, variants: int, per_shard: int
) -> StoreIndex:
    """What a store of this stage's latents must be made from."""
    transform = data.train_transform
    settings = ", ".join(f"{name}={value}" for name, value in sorted(vars(transform).items()))
    return StoreIndex(
        manifest_sha256=data.index.sha256,
        parts_sha256=parts_sha256(model.diffusion),
        transform=f"{type(transform).__name__}({settings})",
        seed=data.seed,
        row_count=len(data.training_dataset()),
        variants=variants,
        samples_per_shard=per_shard,
    )


@contextmanager
def expected_warnings_hidden() -> Iterator[None]:
    """Hides what Lightning says of any run like ours."""
    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


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
