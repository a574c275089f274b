"""The quickstart cut down to seconds, and what it leaves behind."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.cli import call_command
from experiments.run import run
from experiments.tracking import RunRow, read_runs

STAGES = ("stage1", "stage2")
DENOISER = "model.init_args.diffusion.init_args.denoiser.init_args"
# Four steps of four crops of 64 px with narrow nets.
SMALL = {
    f"{DENOISER}.block_channels": [16, 16, 32],
    f"{DENOISER}.attention": [False, False, True],
    f"{DENOISER}.attention_heads": 2,
    f"{DENOISER}.norm_groups": 8,
    "data.init_args.batch_size": 4,
    "data.init_args.draws_per_epoch": 16,
    "data.init_args.train_transform.init_args.crop_size_px": 64,
    "trainer.max_epochs": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.log_every_n_steps": 2,
    "trainer.limit_val_batches": 3,
    "trainer.limit_test_batches": 6,
}
SMALL_SAMPLES = {
    "trainer.callbacks.1.init_args.sampling_steps": 3,
    "data.init_args.val_transform.init_args.crop_size_px": 64,
}
SMALL_MASKS = {
    "model.init_args.tile_px": 64,
    "model.init_args.tile_overlap_px": 0,
    "model.init_args.mask_generator.init_args.mask_queries": 4,
    "model.init_args.mask_generator.init_args.transformer_layers": 1,
}


def words_of(settings: dict[str, object]) -> list[str]:
    """The settings as words of a command line."""
    return [f"--{key}={value}" for key, value in settings.items()]


def small_config(name: str) -> str:
    """The path of a config beside this file: `stage1`, `stage2`, `hybrid`."""
    return str(Path(__file__).with_name(f"small_{name}.yaml"))


def small_words(stage: str, output: Path, *more: str) -> list[str]:
    """The quickstart's stage in `output`, at its smallest."""
    settings: dict[str, object] = {
        "output": output,
        "root": output / "data",
        "data.init_args.manifest_folder": output / "manifests",
        "source.image_count": 48,
        "source.image_size_px": 72,
        **SMALL,
    }
    if stage == "stage1":
        settings |= SMALL_SAMPLES
    else:
        settings |= {"pretrained": output / "runs" / "quickstart_stage1", **SMALL_MASKS}
    return ["--config", small_config(stage), *words_of(settings), *more]


@dataclass(frozen=True, slots=True)
class SmallRun:
    """Both stages, finished: their output folder, and what stage 2 printed."""

    output: Path
    printed: str = ""

    def directory(self, stage: str) -> Path:
        return self.output / "runs" / f"quickstart_{stage}"

    def checkpoint(self, stage: str) -> dict[str, dict[str, torch.Tensor]]:
        return torch.load(self.directory(stage) / "checkpoints" / "last.ckpt", weights_only=True)

    def read(self, stage: str, name: str) -> dict[str, object]:
        return json.loads((self.directory(stage) / name).read_text())

    def tracked(self, stage: str) -> RunRow:
        (row,) = (row for row in read_runs(self.output, "quickstart") if stage in row.name)
        return row


def run_both(output: Path) -> SmallRun:
    """Stage 1, and stage 2 on it."""
    for stage in STAGES:
        with redirect_stdout(io.StringIO()) as printed:
            assert call_command(run, small_words(stage, output)) == 0
    return SmallRun(output, printed.getvalue())
