"""`cache_latents`: stage 1's training pictures in K augmented variants, as latents on disk.

    python -m experiments.cache_latents --config stage1.yaml --out LATENTS --variants 8
    python -m experiments.run --config stage1.yaml --data.init_args.latents LATENTS

Uses the trainer of the configuration, so it runs on as many devices as stage 1. A killed run goes
on with the first shard that is missing; a finished store is verified instead.
"""

import argparse
import logging
from pathlib import Path

from jsonargparse import Namespace
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from datamodules.latents import LatentShards, LatentStore
from experiments.command import run_command
from experiments.config import load_config, parse_stage
from experiments.train import expected_warnings_hidden, latent_index, prepare_stage
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.latent_encoding import LatentEncoding, LatentWriter

TRAINER_KEYS = ("accelerator", "devices", "strategy", "num_nodes", "precision")


def main(argv: list[str] | None = None) -> int:
    """Write what is missing of the store, verify it, and say how to train on it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    arguments, overrides = command_parser().parse_known_args(argv)
    if not arguments.config or not arguments.out:
        raise ValueError(
            "expected --config NAME and --out FOLDER, for example --config stage1.yaml"
        )
    stage = parse_stage({"name": "cache", **load_config(arguments.config, overrides)})
    run = prepare_stage(stage)
    if not isinstance(run.model, DiffusionPretrain):
        raise ValueError(
            f"the stage is {type(run.model).__name__}, expected DiffusionPretrain: "
            "latents are kept for stage 1"
        )
    store = LatentStore(
        arguments.out,
        latent_index(
            run.model, run.data, variants=arguments.variants, per_shard=arguments.samples_per_shard
        ),
    )
    store.begin()
    write_missing(run, store)
    report(store)
    return 0


def write_missing(run: Namespace, store: LatentStore) -> None:
    """Predict the shards that are not there yet, on the devices of the configuration."""
    assert isinstance(run.model, DiffusionPretrain)
    data = LatentShards(
        run.data.training_dataset(),
        store,
        batch_size=run.data.batch_size,
        num_workers=run.data.num_workers,
    )
    settings = run.trainer.as_dict()
    chosen = {key: settings[key] for key in TRAINER_KEYS if settings.get(key) is not None}
    trainer = Trainer(
        **chosen,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        callbacks=[LatentWriter(store, data)],
    )
    with expected_warnings_hidden():
        trainer.predict(LatentEncoding(run.model.diffusion), data, return_predictions=False)
    trainer.strategy.barrier()


@rank_zero_only
def report(store: LatentStore) -> None:
    """Verify the whole store, and print its size and how to use it."""
    store.verify()
    size = sum(path.stat().st_size for path in Path(store.folder).iterdir())
    console = Console()
    for line in (
        f"store     {store.folder}: {len(store)} samples in {store.shard_count} shards, verified",
        f"size      {size / 2**20:.1f} MiB, {size / len(store):.0f} bytes a sample",
        f"use it    --data.init_args.latents {store.folder}",
    ):
        console.print(line, soft_wrap=True, highlight=False)


def command_parser() -> argparse.ArgumentParser:
    """The words of the command itself; everything else is an override of the configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.cache_latents", allow_abbrev=False, description=__doc__
    )
    parser.add_argument("--config", action="append", metavar="YAML", help="may be repeated")
    parser.add_argument("--out", help="folder of the store")
    parser.add_argument("--variants", type=int, default=8, help="augmented variants of a picture")
    parser.add_argument("--samples_per_shard", type=int, default=8192, help="256 MiB at 512 px")
    return parser


if __name__ == "__main__":
    run_command(main)
