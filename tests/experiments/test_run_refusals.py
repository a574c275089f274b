"""Holds that what a user types wrongly ends a run as one line, fast, and before it writes."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from experiments.cli import call_command
from experiments.run import run
from tests.experiments.refused import refused
from tests.experiments.small_run import small_words

ROOT = Path(__file__).parents[2]
STAGE1 = ["--config", "stage1_tiny.yaml"]
# Words, what their one line says, and whether that needs no torch.
REFUSED = {
    "unknown config": (["--config", "quikstart_stage1"], "did you mean quickstart_stage", True),
    "no config": ([], "required: --config", True),
    "unknown key": ([*STAGE1, "--sed", "1"], "did you mean seed", True),
    "key of two stages": (["--config", "{file}"], "pretrain: got an unknown key", True),
    "no option": (["word", *STAGE1], "got the word 'word'", True),
    "unknown source": ([*STAGE1, "--source", "foldr"], "did you mean folder", True),
    "no value": ([*STAGE1, "--manifest"], "--manifest has no value", True),
    "no run to resume": ([*STAGE1, "--resume", "nowhere"], "there is no such directory", True),
    "missing weights": ([*STAGE1, "--weights", "nowhere"], "nowhere is missing", True),
    "nothing to train": ([*STAGE1, "--weights", "x", "--resume", "auto"], "leave one out", True),
    "thresholds of nothing": ([*STAGE1, "--thresholds", "x"], "their run by --weights", True),
    "wrong type": ([*STAGE1, "--seed", "one"], "seed: got 'one', expected int", False),
    "unknown argument": ([*STAGE1, "--model.init_args.warm_steps", "1"], "warmup_steps", False),
    "output in a file": ([*STAGE1, "--output", "{file}"], "choose another with --output", False),
    "stem": (
        ["--config", "stage2_tiny.yaml", "--model.init_args.stem", "false"], "set stem: true", False
    ),
    "short epoch": (
        small_words("stage1", Path("{folder}"), "--data.init_args.global_batch_size=4096"),
        "expected at least global_batch_size 4096", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_fault_is_one_line_and_leaves_no_run(case: str, tmp_path: Path) -> None:
    words, line, _ = REFUSED[case]
    file, output = tmp_path / "two.yaml", tmp_path / "mlruns"
    file.write_text("from: stage1_tiny.yaml\npretrain: {}\n")
    words = [word.format(file=file, folder=output) for word in words]
    if words and not any("--output" in word for word in words):
        words += ["--output", str(output)]
    assert line in refused(run, *words)
    assert not list(output.glob("runs/*")) and not (output / "mlflow.db").exists()


COMMANDS = (
    "audit bench cache_latents calibrate compare doctor export fetch fidelity generate predict "
    "prepare run study"
)


def test_help_and_refused_words_of_every_command_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text("pretrain: {}\n")
    fast = [("run", words) for words, _, is_fast in REFUSED.values() if is_fast]
    fast += [("run", [*STAGE1, "--print_config"])]
    fast += [(name, [word]) for name in COMMANDS.split() for word in ("--help", "--no_such_word=1")]
    places = {"file": tmp_path / "two.yaml", "folder": tmp_path}
    fast = [(name, [word.format(**places) for word in words]) for name, words in fast]
    script = (
        "import sys\nfrom importlib import import_module\n"
        "from experiments.cli import call_command\n"
        f"for name, words in {fast!r}:\n"
        "    command = getattr(import_module(f'experiments.{name}'), name)\n"
        "    try:\n        call_command(command, words)\n"
        "    except (ValueError, OSError, SystemExit):\n        pass\n"
        "    assert not {'torch', 'lightning', 'mlflow'} & {*sys.modules}, (name, words)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr


def test_print_config_prints_the_layers_merged_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*STAGE1, "--output", str(tmp_path / "out"), "--seed", "7", "--print_config"]
    assert call_command(run, words) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["seed"] == 7 and printed["trainer"]["max_epochs"] >= 1
    assert not (tmp_path / "out").exists()


def test_help_of_a_class_names_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert call_command(run, [*STAGE1, "--data.init_args.source.help"]) == 0
    assert "--data.init_args.source.init_args.image_count" in capsys.readouterr().out
