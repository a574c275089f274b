"""The quickstart cut down to seconds, what it leaves behind, and how a refused run ends."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from experiments import run
from experiments.command import run_command
from experiments.runs import RunRow, read_runs


def small_words(output: Path) -> list[str]:
    """The quickstart in `output`, cut down to four steps of four crops of 64 px in each stage."""
    settings = {
        "output": output,
        "data.init_args.root": output / "data",
        "data.init_args.manifest_folder": output / "manifests",
        "data.init_args.source.init_args.image_count": 48,
        "data.init_args.source.init_args.image_size_px": 72,
        "data.init_args.batch_size": 4,
        "data.init_args.draws_per_epoch": 16,
        "data.init_args.train_transform.init_args.crop_size_px": 64,
        "finetune.model.init_args.tile_px": 64,
        "finetune.model.init_args.tile_overlap_px": 0,
        "trainer.max_epochs": 1,
        "trainer.check_val_every_n_epoch": 1,
        "trainer.log_every_n_steps": 2,
        "trainer.limit_val_batches": 3,
        "trainer.limit_test_batches": 6,
    }
    return [f"--{key}={value}" for key, value in settings.items()]


@dataclass(frozen=True, slots=True)
class SmallRun:
    """A finished run: its output folder, its directory, and what it printed."""

    output: Path
    directory: Path
    printed: str

    def checkpoint(self, stage: str) -> dict[str, dict[str, torch.Tensor]]:
        return torch.load(self.directory / stage / "checkpoints" / "last.ckpt", weights_only=True)

    def read(self, stage: str, name: str) -> dict[str, object]:
        return json.loads((self.directory / stage / name).read_text())

    def tracked(self, stage: str) -> RunRow:
        (row,) = (row for row in read_runs(self.output, "quickstart") if stage in row.name)
        return row


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that the command ends with; its exit code is 2."""
    with pytest.raises(SystemExit) as ending:
        run_command(lambda _: run.main(list(words)))
    text = capsys.readouterr().err
    assert ending.value.code == 2
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in text
    return lines[0]
