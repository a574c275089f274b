"""Train, test and track: `python -m experiments.run --config NAME [--config MORE] [--a.b value]`.

What one stage does is in `stage_run.py`; layering and checking of YAML in `configuration.py`.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from callbacks.checkpoint import FOLDER_NAME, LAST_NAME, RunStopped, StopSignal
from experiments.checkpoints import CONFIG_NAME
from experiments.command import run_command
from experiments.configuration import (
    STAGE_NAMES,
    build_stage,
    load_layers,
    parse_stage,
    split_stages,
    stage_parser,
)
from experiments.running.ranks import Ranks, is_first
from experiments.running.resume import (
    AUTO,
    FINISHED,
    NEVER,
    RunDirectory,
    Stages,
    choose_directory,
    plan_stage,
)
from experiments.running.stage_run import StageRun
from experiments.running.tracked_run import deliver_spool
from experiments.runs import RESULTS_NAME, new_run_directory, read_results, tracking_uri
from experiments.tables import metrics_table, to_rich

PRETRAINED_KEY = "model.init_args.pretrained"


def main(argv: list[str] | None = None) -> int:
    """Run the configured stages one after the other and print what came out."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Its information is what a run is made of anyway, and advertisements.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    arguments, overrides = command_parser().parse_known_args(argv)
    if arguments.help:
        command_parser().print_help()
        stage_parser().print_help()
        return 0
    if not arguments.config:
        raise ValueError("no config was given: expected --config NAME, for example quickstart.yaml")
    raw = load_layers(arguments.config, overrides)
    raw.setdefault("name", Path(arguments.config[0]).stem)
    if arguments.print_config:
        print(yaml.safe_dump(raw, sort_keys=False), end="")
        return 0
    # Every stage is checked, and later ones built without memory, before the first one trains.
    stages = [(name, parse_stage(stage)) for name, stage in chosen_stages(raw, arguments.only)]
    for _, stage in stages[1:]:
        with torch.device("meta"):
            build_stage(stage)
    trained = Path(arguments.weights) if arguments.weights else None
    if trained is not None and len(stages) > 1:
        raise ValueError("--weights tests one stage, got two: add --only finetune")
    if trained is not None and arguments.resume != NEVER:
        raise ValueError("--weights trains nothing that --resume could go on with: leave one out")
    thresholds = Path(arguments.thresholds) if arguments.thresholds else None
    if thresholds is not None and trained is None:
        raise ValueError("--thresholds is for trained weights: name their run by --weights, too")
    training = Training(stages, arguments.resume, trained, thresholds)
    try:
        # Before and after training, too: reading data and weights may take long.
        with StopSignal().listening():
            training.run()
    except RunStopped as stop:
        words = list(sys.argv[1:] if argv is None else argv)
        if is_first():
            print(f"{stop}; go on with: {resume_command(words, training.directory)}", flush=True)
    return 0


class Training:
    """The stages of a run in one directory, each on the one before; what is finished is left.

    directory: known once a stage runs. resume: what --resume says.
    """

    def __init__(
        self, stages: Stages, resume: str, trained: Path | None, thresholds: Path | None
    ) -> None:
        self.stages, self.resume = stages, resume
        self.trained, self.thresholds = trained, thresholds
        self.output, self.name = Path(stages[0][1].output), stages[0][1].name
        self.ranks = Ranks(stages[0][1])
        self.directory: Path | None = None
        self._held: RunDirectory | None = None

    def run(self) -> None:
        """Run what is left to run, and print the results."""
        found = self.ranks.decide(lambda: str(choose_directory(self.resume, self.stages) or ""))
        results: dict[str, float] = {}
        before = ""
        try:
            if found:
                self.hold(Path(found))
            for name, stage in self.stages:
                results |= self.run_stage(name, stage, before)
                before = name
        finally:
            if self._held is not None:
                self._held.release()
            if self.directory is not None and not found:
                with suppress(OSError):
                    self.directory.rmdir()  # goes only where nothing was written
        assert self.directory is not None
        report(results, self.directory, self.output)

    def run_stage(self, name: str, stage: Namespace, before: str) -> dict[str, float]:
        """The results of one stage, run on the stage before where there is one."""
        if before and self.directory is not None:
            stage[PRETRAINED_KEY] = str(self.directory / before)
        plan = self.ranks.decide(lambda: self.plan(name, stage, before))
        if plan == FINISHED and self.directory is not None:
            if is_first():
                deliver_spool(stage, self.directory / name)
            return read_results(self.directory / name)
        # Data and weights are read first: what they refuse leaves no directory behind.
        run = StageRun(stage, self.trained, self.thresholds)
        if self.directory is None:
            made = self.ranks.decide(lambda: str(new_run_directory(self.output, self.name)))
            self.hold(Path(made))
        assert self.directory is not None
        title = f"{self.directory.name} {name}".strip()
        return run.run(self.directory / name, name=title, checkpoint=Path(plan) if plan else None)

    def plan(self, name: str, stage: Namespace, before: str) -> str:
        """What is left of the stage, see `plan_stage`."""
        if self.directory is None:
            return ""
        ignored = [PRETRAINED_KEY] if before else []
        return plan_stage(self.resume, stage, self.directory / name, ignored=ignored)

    def hold(self, directory: Path) -> None:
        """Go on in this directory; the first process keeps others out of it."""
        self.directory = directory
        if is_first():
            held = RunDirectory(directory)
            held.take()
            self._held = held


def resume_command(words: Sequence[str], directory: Path | None) -> str:
    """The command of these words that goes on in the directory."""
    kept: list[str] = []
    skip = False
    for word in words:
        if not skip and word != "--resume" and not word.startswith("--resume="):
            kept.append(word)
        skip = word == "--resume"
    command = ["python", "-m", "experiments.run", *kept]
    if any(word.partition("=")[0] == "--weights" for word in kept):
        return shlex.join(command)  # trains nothing that could be gone on with
    begun = [] if directory is None else [file.parent for file in directory.rglob(CONFIG_NAME)]
    # Before a stage saves there is nothing that a named directory could go on from.
    is_saved = all(
        (stage / FOLDER_NAME / LAST_NAME).is_file() or (stage / RESULTS_NAME).is_file()
        for stage in begun
    )
    choice = str(directory) if begun and is_saved else AUTO
    return shlex.join([*command, "--resume", choice])


def command_parser() -> argparse.ArgumentParser:
    """The words of the command itself; everything else is an override of the configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.run", add_help=False, allow_abbrev=False, description=__doc__
    )
    parser.add_argument("--config", action="append", metavar="YAML", help="may be repeated")
    parser.add_argument(
        "--only", choices=STAGE_NAMES, help="run this stage of a two-stage config alone"
    )
    parser.add_argument(
        "--weights", metavar="RUN", help="train nothing: calibrate and test this run's weights"
    )
    parser.add_argument(
        "--thresholds", metavar="FILE", help="with --weights: these thresholds, nothing calibrated"
    )
    parser.add_argument(
        "--resume",
        default=NEVER,
        metavar="auto|never|RUN",
        help="go on with the newest unfinished run of this name, with none, or with this directory",
    )
    parser.add_argument("--print_config", action="store_true", help="print the layers merged")
    parser.add_argument("--help", "-h", action="store_true", help="this, and all keys of a stage")
    return parser


def chosen_stages(raw: dict[str, object], only: str | None) -> list[tuple[str, dict[str, object]]]:
    """The configuration's stages, or the one named; ValueError where it has no such stage."""
    stages = split_stages(raw)
    chosen = [(name, stage) for name, stage in stages if only in (None, name)]
    if not chosen:
        raise ValueError(
            f"--only {only}: the configuration is one stage, not two; leave --only out"
        )
    return chosen


@rank_zero_only
def report(results: dict[str, float], directory: Path, output: Path) -> None:
    """Print the results, where they lie, and how to look at them."""
    console = Console()
    shown = {
        name: value
        for name, value in sorted(results.items())
        if "/test/" in name or name.startswith(("pretrain/val/", "perf/"))
    }
    console.print(to_rich(metrics_table("results", shown)))
    console.print(f"run directory: {directory}", soft_wrap=True)
    uri = tracking_uri(output)
    look = f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else uri
    console.print(f"compare runs:  {look}", soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
