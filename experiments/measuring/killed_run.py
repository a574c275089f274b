"""A real, very small training in a process of its own that is killed, resumed, and compared.

Who wants a figure of it calls `benchmarks/kills.py`; the tests hold the claim.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context, set_start_method
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch
import yaml
from torch import Tensor

from callbacks.safe_checkpoint import FOLDER_NAME
from callbacks.step_notes import NOTES_NAME
from experiments import run
from experiments.command import run_command

NAME = "killed"
EPOCHS, STEPS_PER_EPOCH = 2, 8
PATIENCE_S = 300
LOG_NAME = "output.log"
# Timing, and how far Lightning has counted to get there, differ on purpose.
INCOMPARABLE = ("progress", "loops", "callbacks")


@dataclass(frozen=True, slots=True)
class Journey:
    """One training with its interruptions. overrides: dotted keys of the configuration."""

    folder: Path
    overrides: Mapping[str, object] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The run's directory."""
        return self.folder / "runs" / NAME

    def words(self, *more: str) -> list[str]:
        """The words of the command: stage 1 at its smallest, with notes of every step."""
        layer = self.folder / "smallest.yaml"
        self.folder.mkdir(parents=True, exist_ok=True)
        layer.write_text(yaml.safe_dump(smallest(self.folder, self.overrides)), encoding="utf-8")
        return ["--config", "stage1_tiny.yaml", "--config", str(layer), *more]

    def notes(self) -> list[dict[str, object]]:
        """The whole lines of the notes, repeated ones too."""
        file = self.directory / NOTES_NAME
        lines = file.read_text(encoding="ascii").split("\n")[:-1] if file.is_file() else []
        return [json.loads(line) for line in lines]

    def output(self) -> str:
        """What the processes have said."""
        return (self.folder / LOG_NAME).read_text(encoding="utf-8")

    def start(self, *more: str) -> ForkServerProcess:
        """A process that runs the command."""
        # One server has the imports, which cost more than the training; each run is a fork of it.
        context = get_context("forkserver")
        context.set_forkserver_preload(["experiments.run"])
        process = context.Process(target=live, args=(self.words(*more), self.folder / LOG_NAME))
        process.start()
        return process

    def finish(self, *more: str) -> int:
        """Run to the end; the exit code."""
        process = self.start(*more)
        process.join(PATIENCE_S)
        if process.is_alive():
            process.kill()
        return int(process.exitcode or 0)

    def strike(self, after: int, number: int, *more: str, delay_s: float = 0.0) -> int:
        """Run, and send a signal `delay_s` after so many more batches; the exit code."""
        before = len(self.notes())
        process = self.start(*more)
        patience = time.monotonic() + PATIENCE_S
        while len(self.notes()) - before < after and process.is_alive():
            if time.monotonic() > patience:
                process.kill()
                raise RuntimeError(
                    f"{self.folder / LOG_NAME}: the training did not come far enough"
                )
            time.sleep(0.002)
        time.sleep(delay_s)
        if process.is_alive():
            os.kill(process.pid or 0, number)
        process.join(PATIENCE_S)
        return int(process.exitcode or 0)

    def kill_often(self, dice: random.Random, kills: int) -> int:
        """Kill at random places so often, unless the training ends before; kills that hit."""
        hit = 0
        for _ in range(kills):
            after, delay_s = dice.randint(0, STEPS_PER_EPOCH), dice.uniform(0, 0.05)
            code = self.strike(after, signal.SIGKILL, "--resume", "auto", delay_s=delay_s)
            if code != -signal.SIGKILL:
                break
            hit += 1
        return hit

    def newest_checkpoint(self) -> dict[str, object]:
        """What the newest checkpoint holds."""
        file = self.directory / FOLDER_NAME / "last.ckpt"
        content = torch.load(file, map_location="cpu", weights_only=True)
        assert isinstance(content, dict)
        return content


def live(words: Sequence[str], log: Path) -> None:
    """Run the command in this process, its output to `log`."""
    torch.set_num_threads(1)
    # Loader workers start as in a process of the command, not by another server.
    set_start_method("fork", force=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    run_command(lambda _: run.main(list(words)))


def smallest(folder: Path, overrides: Mapping[str, object]) -> dict[str, object]:
    """The layer that makes stage 1 train in seconds and note every step."""
    layer: dict[str, object] = {}
    settings = {
        "name": NAME,
        "experiment": NAME,
        "output": str(folder),
        "model.init_args.warmup_steps": 3,
        "model.init_args.diffusion.init_args.image_encoder.init_args.model_name": "test_resnet",
        "model.init_args.diffusion.init_args.denoiser.init_args.block_channels": [16, 16, 32],
        "model.init_args.diffusion.init_args.denoiser.init_args.attention": [False, False, True],
        "model.init_args.diffusion.init_args.denoiser.init_args.attention_heads": 2,
        "model.init_args.diffusion.init_args.denoiser.init_args.norm_groups": 8,
        "data.init_args.root": str(folder.parent / "data"),
        "data.init_args.manifest_folder": str(folder.parent / "manifests"),
        "data.init_args.source.init_args.image_count": 48,
        "data.init_args.source.init_args.image_size_px": 72,
        "data.init_args.batch_size": 2,
        "data.init_args.draws_per_epoch": 2 * STEPS_PER_EPOCH,
        "data.init_args.max_val_images": 2,
        "data.init_args.train_transform.init_args.crop_size_px": 64,
        "trainer.max_epochs": EPOCHS,
        "trainer.log_every_n_steps": 1,
        "trainer.callbacks": [
            {"class_path": "callbacks.ema.WeightEma"},
            {"class_path": "callbacks.step_notes.StepNotes"},
            {
                "class_path": "callbacks.safe_checkpoint.SafeCheckpoint",
                "init_args": {"every_steps": 3, "keep": 2},
            },
        ],
        **overrides,
    }
    for key, value in settings.items():
        *parts, last = key.split(".")
        node = layer
        for part in parts:
            below = node.setdefault(part, {})
            assert isinstance(below, dict)
            node = below
        node[last] = value
    return layer


def differences(unbroken: Journey, broken: Journey) -> list[str]:
    """What differs in any bit at the end and on the way, by name; nothing where nothing does."""
    ends = [dict(leaves(journey.newest_checkpoint())) for journey in (unbroken, broken)]
    found = [
        key for key in sorted({*ends[0], *ends[1]}) if not _same(*(end.get(key) for end in ends))
    ]
    expected = {(note["epoch"], note["batch"]): note for note in unbroken.notes()}
    seen = {(note["epoch"], note["batch"]) for note in broken.notes()}
    found += [f"batch {place} was left out" for place in sorted(expected.keys() - seen)]  # type: ignore[type-var]
    for note in broken.notes():
        if note != expected.get((note["epoch"], note["batch"])):
            found.append(f"note {note}")
    return found


def leaves(node: object, name: str = "") -> Iterator[tuple[str, object]]:
    """The values in a checkpoint that must agree, by dotted name."""
    if isinstance(node, Mapping):
        pairs = [(str(key), value) for key, value in node.items()]
    elif isinstance(node, list | tuple):
        pairs = [(str(place), value) for place, value in enumerate(node)]
    else:
        yield name, node
        return
    for key, value in pairs:
        if name or key not in INCOMPARABLE:
            yield from leaves(value, f"{name}.{key}".strip("."))


def _same(one: object, other: object) -> bool:
    """Whether both are the same to the bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other
