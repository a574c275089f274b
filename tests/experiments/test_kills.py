"""A training that is killed or stopped in its middle ends, to the bit, as one that never was."""

import json
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context, set_start_method
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from mlflow.tracking import MlflowClient
from torch import Tensor

from datamodules.sample import Batch
from experiments.tracking import read_runs, tracking_uri

pytestmark = pytest.mark.slow
NAME = "killed"
EPOCHS, BATCHES_PER_EPOCH, BATCHES_PER_STEP = 2, 8, 2
BATCHES = EPOCHS * BATCHES_PER_EPOCH
PATIENCE_S = 300
# Timing, and how far Lightning has counted to get there, differ on purpose.
INCOMPARABLE = ("progress", "loops", "callbacks")
# One server has the imports, which cost more than a training; each process is a fork of it.
PRELOADED = ["lightning", "mlflow", "timm", "datamodules.imdd", "lightning_modules.mask_finetune"]
DENOISER = "model.init_args.diffusion.init_args.denoiser.init_args"
SMALLEST = {
    "name": NAME,
    "experiment": NAME,
    "model.init_args.warmup_steps": 3,
    "model.init_args.diffusion.init_args.image_encoder.init_args.model_name": "test_resnet",
    f"{DENOISER}.block_channels": [16, 16, 32],
    f"{DENOISER}.attention": [False, False, True],
    f"{DENOISER}.attention_heads": 2,
    f"{DENOISER}.norm_groups": 8,
    "data.init_args.source.init_args.image_count": 48,
    "data.init_args.source.init_args.image_size_px": 72,
    "data.init_args.batch_size": 2,
    "data.init_args.draws_per_epoch": 2 * BATCHES_PER_EPOCH,
    "data.init_args.max_val_images": 2,
    "data.init_args.num_workers": 1,
    "data.init_args.train_transform.init_args.crop_size_px": 64,
    "trainer.max_epochs": EPOCHS,
    "trainer.log_every_n_steps": 1,
    # Kills fall between the batches of one step and around a validation within an epoch.
    "trainer.accumulate_grad_batches": BATCHES_PER_STEP,
    "trainer.val_check_interval": 4,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.callbacks": [
        {"class_path": "callbacks.ema.WeightEma"},
        {"class_path": f"{__name__}.StepNotes"},
        {
            "class_path": "callbacks.checkpoint.SafeCheckpoint",
            "init_args": {"every_steps": 1, "keep": 2},
        },
    ],
}
STAGES = {
    "stage1_tiny.yaml": {},
    "stage2_tiny.yaml": {
        "model.init_args.pretrained": "random",
        "model.init_args.tile_px": 64,
        "model.init_args.tile_overlap_px": 0,
        "model.init_args.mask_generator.init_args.mask_queries": 4,
        "model.init_args.mask_generator.init_args.transformer_layers": 1,
        "trainer.limit_test_batches": 2,
    },
}


class StepNotes(Callback):
    """Appends what each batch was made of and came to, in exact numbers, to `steps.jsonl`.

    A resumed run repeats the lines that it has redone.
    """

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Mapping[str, Tensor],
        batch: Batch,
        batch_idx: int,
    ) -> None:
        if not trainer.is_global_zero:
            return
        line = {
            "epoch": trainer.current_epoch,
            "batch": batch_idx,
            "step": trainer.global_step,
            "rows": torch.as_tensor(batch.row).tolist(),
            "loss": float(outputs["loss"]).hex(),
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]).hex(),
        }
        with (Path(trainer.default_root_dir) / "steps.jsonl").open("a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class Training:
    """One training in `folder` with its interruptions; overrides: dotted configuration keys."""

    folder: Path
    stage: str = "stage1_tiny.yaml"
    overrides: Mapping[str, object] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The run's directory."""
        return self.folder / "runs" / NAME

    def words(self, *more: str) -> list[str]:
        """The words of the command."""
        places = {
            "output": str(self.folder),
            "data.init_args.root": str(self.folder.parent / "data"),
            "data.init_args.manifest_folder": str(self.folder.parent / "manifests"),
        }
        settings = {**SMALLEST, **STAGES[self.stage], **places, **self.overrides}
        texts = {
            key: one if isinstance(one, str) else json.dumps(one) for key, one in settings.items()
        }
        given = [f"--{key}={text}" for key, text in texts.items()]
        return ["--config", self.stage, *given, *more]

    def notes(self) -> list[dict[str, object]]:
        """The whole lines of the notes, repeated ones too."""
        file = self.directory / "steps.jsonl"
        lines = file.read_text().split("\n")[:-1] if file.is_file() else []
        return [json.loads(line) for line in lines]

    def output(self) -> str:
        """What the processes have printed."""
        return (self.folder / "output.log").read_text(encoding="utf-8")

    def run(self, *more: str, after: int = BATCHES, number: int = 0) -> int:
        """The exit code; signal `number` is sent after so many more batches, 0 for none."""
        before = len(self.notes())
        process = self.start(*more)
        patience = time.monotonic() + PATIENCE_S
        while number and len(self.notes()) - before < after and process.is_alive():
            if time.monotonic() > patience:
                process.kill()
                raise RuntimeError(f"the training did not come far enough: {self.output()}")
            time.sleep(0.002)
        if number and process.is_alive():
            os.kill(process.pid or 0, number)
        process.join(PATIENCE_S)
        if process.is_alive():
            process.kill()
        return int(process.exitcode or 0)

    def start(self, *more: str) -> ForkServerProcess:
        """A process that runs the command."""
        self.folder.mkdir(parents=True, exist_ok=True)
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=live, args=(self.words(*more), self.folder / "output.log"))
        process.start()
        return process

    def end_state(self) -> dict[str, object]:
        """What the newest checkpoint holds."""
        file = self.directory / "checkpoints" / "last.ckpt"
        return torch.load(file, map_location="cpu", weights_only=True)


def live(words: Sequence[str], log: Path) -> None:
    """Run the command in this process, its output to `log`."""
    torch.set_num_threads(1)
    # Loader workers start as in a process of the command, not by another server.
    set_start_method("fork", force=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.argv[1:] = words
    runpy.run_module("experiments.run", run_name="__main__", alter_sys=True)


def differences(unbroken: Training, broken: Training) -> list[str]:
    """What differs in any bit at the end and on the way, by name; nothing where nothing does."""
    one, other = (dict(leaves(training.end_state())) for training in (unbroken, broken))
    found = [key for key in sorted({*one, *other}) if not is_same(one.get(key), other.get(key))]
    expected = {(note["epoch"], note["batch"]): note for note in unbroken.notes()}
    seen = {(note["epoch"], note["batch"]) for note in broken.notes()}
    found += [f"batch {place} was left out" for place in sorted(expected.keys() - seen)]
    return found + [
        f"note {note}"
        for note in broken.notes()
        if note != expected.get((note["epoch"], note["batch"]))
    ]


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


def is_same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other


def steps_logged(training: Training) -> list[int]:
    """The steps of the loss in the one tracked run, which is finished."""
    (row,) = read_runs(training.folder, NAME)
    assert row.status == "FINISHED"
    client = MlflowClient(tracking_uri(training.folder))
    return [entry.step for entry in client.get_metric_history(row.run_id, "pretrain/train/loss")]


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """No tracker but the runs' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainings")


@pytest.fixture(scope="module")
def unbroken(folder: Path) -> Training:
    training = Training(folder / "unbroken")
    assert training.run() == 0, training.output()
    return training


def check_killed(unbroken: Training, killed: Training) -> None:
    """Kill in both epochs, between two batches of one step, and go on to the same end."""
    assert killed.run(after=5, number=signal.SIGKILL) == -signal.SIGKILL, killed.output()
    assert killed.run("--resume", "auto", after=5, number=signal.SIGKILL) == -signal.SIGKILL
    assert killed.run("--resume", "auto") == 0, killed.output()
    assert differences(unbroken, killed) == []
    # It went on where it was: two beginnings would end alike, too.
    first = [note for note in killed.notes() if (note["epoch"], note["batch"]) == (0, 0)]
    assert len(first) == 1


def test_killed_stage_1_ends_as_the_unbroken_one(unbroken: Training, folder: Path) -> None:
    killed = Training(folder / "killed")
    check_killed(unbroken, killed)
    steps = range(BATCHES_PER_STEP - 1, BATCHES, BATCHES_PER_STEP)
    assert steps_logged(unbroken) == steps_logged(killed) == [step // 2 for step in steps]


def test_killed_stage_2_ends_as_the_unbroken_one(folder: Path) -> None:
    unbroken, killed = (Training(folder / name, "stage2_tiny.yaml") for name in ("two", "killed2"))
    assert unbroken.run() == 0, unbroken.output()
    check_killed(unbroken, killed)


def test_comparison_covers_all_parts_and_sees_one_changed_bit(
    unbroken: Training, folder: Path
) -> None:
    state = unbroken.end_state()
    parts = "state_dict current_model_state averaging_state optimizer_states lr_schedulers"
    assert {*parts.split(), "global_step"} <= {name.split(".")[0] for name, _ in leaves(state)}
    assert len(unbroken.notes()) == BATCHES
    changed = Training(folder / "changed")
    shutil.copytree(unbroken.folder, changed.folder)
    moments = state["optimizer_states"][0]["state"]
    moments[0]["exp_avg"].view(torch.int32).view(-1)[0] ^= 1
    torch.save(state, changed.directory / "checkpoints" / "last.ckpt")
    notes = (changed.directory / "steps.jsonl").read_text().splitlines(keepends=True)
    (changed.directory / "steps.jsonl").write_text("".join(notes[1:]))
    found = differences(unbroken, changed)
    assert found == ["optimizer_states.0.state.0.exp_avg", "batch (0, 0) was left out"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_stopped_training_says_how_to_go_on_and_a_broken_checkpoint_costs_its_steps_alone(
    number: signal.Signals, code: int, unbroken: Training, folder: Path
) -> None:
    training = Training(folder / f"stopped by {number.name}")
    assert training.run(after=7, number=number) == code
    said = training.output()
    resume = shlex.quote(str(training.directory))
    assert f"stopped by {number.name} at step " in said and f"--resume {resume}" in said
    (row,) = read_runs(training.folder, NAME)
    assert row.status == "KILLED"
    newest = max(training.directory.glob("checkpoints/step_*.ckpt"))
    newest.write_bytes(newest.read_bytes()[:10_000])
    assert training.run("--resume", str(training.directory)) == 0
    assert f"{newest.name} is passed over" in training.output()
    assert differences(unbroken, training) == []


def test_ranks_from_outside_make_one_directory_and_one_tracked_run(folder: Path) -> None:
    training = Training(
        folder / "ranks", overrides={"trainer.devices": 2, "trainer.strategy": "ddp"}
    )
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [sys.executable, *launcher, "-m", "experiments.run", *training.words()]
    ended = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in (training.folder / "runs").iterdir()] == [NAME]
    assert len(steps_logged(training)) == BATCHES // (2 * BATCHES_PER_STEP)
