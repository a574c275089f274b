"""Train, test and track: `python -m experiments.run --config NAME [--config MORE] [--a.b value]`.

What one stage does is in `stage_run.py`; layering and checking of YAML in `configuration.py`.
"""

import argparse
import logging
import os
from contextlib import suppress
from pathlib import Path

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from experiments.command import run_command
from experiments.configuration import (
    STAGE_NAMES,
    build_stage,
    load_layers,
    parse_stage,
    split_stages,
    stage_parser,
)
from experiments.runs import new_run_directory, tracking_uri
from experiments.stage_run import StageRun
from experiments.tables import metrics_table, to_rich

# Ranks that a strategy starts as further processes find the run directory here.
DIRECTORY_VARIABLE = "DIFFUSE_DEFECT_RUN_DIRECTORY"


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
    run_stages(stages, trained)
    return 0


def run_stages(stages: list[tuple[str, Namespace]], trained: Path | None) -> None:
    """Run the stages into one new directory, each on the one before, and print the results."""
    output = Path(stages[0][1].output)
    results: dict[str, float] = {}
    directory: Path | None = None
    before = ""
    for name, stage in stages:
        if directory is not None:
            stage.model.init_args.pretrained = str(directory / before)
        # Data and weights are read first: what they refuse leaves no directory behind.
        run = StageRun(stage, trained)
        directory = directory or run_directory(output, stage.name)
        try:
            results |= run.run(directory / name, name=f"{directory.name} {name}".strip())
        except BaseException:
            with suppress(OSError):
                directory.rmdir()  # goes only where nothing was written
            raise
        before = name
    assert directory is not None
    report(results, directory, output)


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


def run_directory(output: Path, name: str) -> Path:
    """The directory of this run: a new one, or on a further rank the first rank's."""
    known = os.environ.get(DIRECTORY_VARIABLE)
    if known and int(os.environ.get("LOCAL_RANK", "0")) > 0:
        return Path(known)
    directory = new_run_directory(output, name)
    os.environ[DIRECTORY_VARIABLE] = str(directory)
    return directory


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
