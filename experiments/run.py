"""Train, test and track one stage: `python -m experiments.run --config NAME [--a.b value]`.

What a run does is in `train.py`; layering and checking of YAML in `config.py`.
"""

import importlib
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from experiments.cli import INTERRUPTED_CODE, run_command
from experiments.config import (
    STAGE_KEYS,
    WORD_KEYS,
    check_keys,
    full_key,
    load_config,
    parse_stage,
    value_at,
)
from experiments.typed_words import write_words

NEVER, AUTO = "never", "auto"
HELP = ".help"


def run(
    *overrides: str,
    config: list[str],
    resume: str = NEVER,
    from_: Path | None = None,
    weights: Path | None = None,
    thresholds: Path | None = None,
    print_config: bool = False,
) -> int:
    """Train, test and track one stage. Each key of a config is an option: --seed 1,
    --trainer.max_epochs 3, --data.batch_size 8 (init_args may be left out). A run's own keys are
    name, experiment, output, seed, setting, scale, tags, data, model, trainer. Short for a
    longer key are --source NAME (a file of
    datamodules/sources such as folder, coco, mtd; --source.product plate sets its arguments),
    --root FOLDER, --manifest FILE, --labels "crack; scratch, scuff" (words for the types),
    --pretrained RUN (stage 1's directory, or random) and --teacher RUN (that a student learns
    from). With a config --data.help, --model.help,
    --trainer.help and so on show what the class there takes.

    Args:
        config: a YAML file or a name in experiments/configs; later ones lie over earlier ones
        resume: auto: the newest unfinished run of this name; never; or a run's directory
        from: go on from this run's weights, with its model and its data, to which the config's
            source and root add corrected images; changes.html tells what that changed
        weights: train nothing: calibrate and test this run's weights
        thresholds: with --weights: test at this file's thresholds, calibrate nothing
        print_config: print the layers merged and run nothing
    """
    words = [word for word in overrides if not word.endswith(HELP)]
    layers: list[str | Mapping[str, object]] = [*config]
    if from_ is not None:
        from experiments.checkpoints import read_configuration

        check_words(resume, weights, from_=from_)
        before, _ = read_configuration(from_)
        layers.append({"model": before["model"]})
    raw = load_config(layers, words)
    raw.setdefault("name", Path(config[0]).stem)
    check_keys(raw, STAGE_KEYS, owner="a stage")
    asked = [word.removesuffix(HELP) for word in overrides if word.endswith(HELP)]
    if asked:
        print_class_help(raw, full_key(asked[0].removeprefix("--"), raw))
        return 0
    if print_config:
        raw |= {key: str(raw[key]) for key in WORD_KEYS if isinstance(raw.get(key), str)}
        print(write_words(raw), end="")
        return 0
    check_words(resume, weights, thresholds, from_)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Whatever was refused so far needed no torch.
    from callbacks.checkpoint import RunStopped, StopSignal
    from experiments.train import train

    # Imported, it has a handler of its own beside ours; its information is advertisements and
    # what a run is made of anyway.
    logging.getLogger("lightning").handlers.clear()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        # Before and after training, too: reading data and weights may take long.
        with StopSignal().listening():
            if from_ is not None:
                from experiments.from_run import with_corrections

                raw = with_corrections(raw, before, from_)
            train(
                parse_stage(raw), resume=resume, start=from_, weights=weights, thresholds=thresholds
            )
    except RunStopped as stop:
        print_how_to_go_on(stop, sys.argv[1:])
        return INTERRUPTED_CODE if stop.signal == "SIGINT" else 0
    return 0


def check_words(
    resume: str,
    weights: Path | None = None,
    thresholds: Path | None = None,
    from_: Path | None = None,
) -> None:
    """FileNotFoundError or ValueError for words that contradict each other or name what isn't."""
    if weights is not None and from_ is not None:
        raise ValueError("--weights trains nothing that could go on --from a run: leave one out")
    if weights is not None and resume != NEVER:
        raise ValueError("--weights trains nothing that --resume could go on with: leave one out")
    if thresholds is not None and weights is None:
        raise ValueError("--thresholds is for trained weights: name their run by --weights, too")
    named = {"--weights": weights, "--thresholds": thresholds, "--from": from_}
    for option, path in named.items():
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{option} {path} is missing: expected what a run has written")
    if resume not in (AUTO, NEVER) and not Path(resume).is_dir():
        raise FileNotFoundError(
            f"--resume {resume}: there is no such directory; expected auto, never or a run's "
            "directory, as it was printed when the run stopped"
        )


def print_class_help(raw: Mapping[str, object], key: str) -> None:
    """Print what the class at a dotted key of the configuration takes."""
    node = {"class_path": "lightning.Trainer"} if key == "trainer" else value_at(raw, key)
    name = node.get("class_path") if isinstance(node, Mapping) else None
    if not isinstance(name, str) or "." not in name:
        raise ValueError(f"--{key}.help: got no class there, expected a key such as --data.help")
    module, _, kind = name.rpartition(".")
    parser = ArgumentParser(prog=f"--{key}", add_help=False)
    where = key if key == "trainer" else f"{key}.init_args"
    parser.add_class_arguments(
        getattr(importlib.import_module(module), kind), where, fail_untyped=False
    )
    parser.print_help()


def print_how_to_go_on(stop: BaseException, words: Sequence[str]) -> None:
    """Print why the run stopped and the command that goes on with it, on its first process."""
    from lightning.pytorch.utilities import rank_zero_only

    command = ["python", "-m", "experiments.run"]
    resume = False
    for word in words:
        if not resume and word.partition("=")[0] != "--resume":
            command.append(word)
        resume = word == "--resume"
    # Weights that are tested train nothing that could be gone on with.
    if not any(word.partition("=")[0] == "--weights" for word in words):
        command += ["--resume", *getattr(stop, "__notes__", [AUTO])]
    rank_zero_only(print)(f"{stop}; go on with: {shlex.join(command)}", flush=True)


if __name__ == "__main__":
    run_command(run)
