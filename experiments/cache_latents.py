"""`cache_latents`: stage 1's training images in some augmented variants, as latents on disk.

    python -m experiments.cache_latents --config stage1.yaml --out LATENTS --variants 8
    python -m experiments.run --config stage1.yaml --data.latents LATENTS

A killed writing goes on with the first shard that is missing; a finished store is verified instead.
"""

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cli import on_interrupt, run_command
from experiments.config import load_config

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from datamodules.latents import LatentStore

TRAINER_KEYS = ("accelerator", "devices", "strategy", "num_nodes", "precision")


def cache_latents(
    *overrides: str,
    config: list[str],
    out: Path,
    variants: int = 8,
    samples_per_shard: int = 8192,
) -> None:
    """Write what is missing of a store of stage 1's latents, verify it, say how to train on it.

    It uses the data and the devices of stage 1's configuration; each of its keys is an option, as
    for experiments.run.

    Args:
        config: a YAML file or a name in experiments/configs; later ones lie over earlier ones
        out: folder of the store
        variants: augmented variants of an image
        samples_per_shard: 8192 take 256 MiB at 512 px
    """
    raw = load_config(config, overrides)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    from datamodules.latents import LatentStore
    from experiments.config import parse_stage
    from experiments.latent_store import latent_index
    from experiments.train import prepare_stage
    from lightning_modules.diffusion_pretrain import DiffusionPretrain

    # It sets its own level when it is imported.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    stage = prepare_stage(parse_stage({"name": "cache", **raw}))
    if not isinstance(stage.model, DiffusionPretrain):
        raise ValueError(
            f"the stage is {type(stage.model).__name__}, expected DiffusionPretrain: "
            "latents are kept for stage 1"
        )
    index = latent_index(stage.model, stage.data, variants=variants, per_shard=samples_per_shard)
    store = LatentStore(out, index)
    store.begin()
    if write_missing(stage, store):
        report(store)


def write_missing(stage: "Namespace", store: "LatentStore") -> bool:
    """Predict the shards that are not there yet, on the devices of the configuration.

    Whether this is the first process.
    """
    from lightning import Trainer

    from datamodules.latents import LatentShards
    from experiments.train import expected_warnings_hidden
    from lightning_modules.latent_encoding import LatentEncoding, LatentWriter

    data = LatentShards(
        stage.data.training_dataset(),
        store,
        batch_size=stage.data.batch_size,
        num_workers=stage.data.num_workers,
    )
    settings = stage.trainer.as_dict()
    trainer = Trainer(
        **{key: settings[key] for key in TRAINER_KEYS if settings.get(key) is not None},
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        callbacks=[LatentWriter(store, data)],
    )
    kept = f"whole shards are kept in {store.folder}, the same command goes on from there"
    with on_interrupt(kept), expected_warnings_hidden():
        trainer.predict(LatentEncoding(stage.model.diffusion), data, return_predictions=False)
    trainer.strategy.barrier()
    return trainer.is_global_zero


def report(store: "LatentStore") -> None:
    """Verify the whole store, and print its size and how to use it."""
    store.verify()
    size = sum(path.stat().st_size for path in Path(store.folder).iterdir())
    print(f"store     {store.folder}: {len(store)} samples in {store.shard_count} shards, verified")
    print(f"size      {size / 2**20:.1f} MiB, {size / len(store):.0f} bytes a sample")
    print(f"use it    --data.latents {shlex.quote(str(store.folder))}")


if __name__ == "__main__":
    run_command(cache_latents)
