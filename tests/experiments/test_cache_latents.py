"""Cached latents are those of the online way: whole, resumable, refused where they don't fit."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import Namespace

from datamodules.latents import LatentDataset, LatentStore
from datamodules.sampler import Draw
from experiments.cache_latents import cache_latents
from experiments.cli import call_command
from experiments.config import load_config, parse_stage
from experiments.run import run
from experiments.train import prepare_stage
from lightning_modules.latent_encoding import LatentEncoding
from lightning_modules.nets.image_encoder import ClipImageEncoder
from tests.experiments.small_run import small_words
from tests.experiments.small_stages import IMAGE
from tests.lightning_modules.small_parts import small_diffusion

SHARDS = ["--variants", "2", "--samples_per_shard", "10"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Stage 1 with a frozen CLIP tower of random weights, cut down to seconds."""
    folder = tmp_path_factory.mktemp("cached")
    torch.manual_seed(0)
    ClipImageEncoder("", **IMAGE).tower.save_pretrained(folder / "tower")
    tower = {
        "class_path": "lightning_modules.nets.image_encoder.ClipImageEncoder",
        "init_args": {"pretrained": str(folder / "tower"), **IMAGE},
    }
    overlay = {"model": {"init_args": {"diffusion": {"init_args": {"image_encoder": tower}}}}}
    (folder / "clip.yaml").write_text(yaml.safe_dump(overlay))
    more = ["--source.image_count=24", "--name=cached"]
    return [*small_words("stage1", folder, *more), "--config", str(folder / "clip.yaml")]


def cache(words: list[str], out: Path, *more: str) -> int:
    return call_command(cache_latents, [*words, "--out", str(out), *SHARDS, *more])


@pytest.fixture(scope="module")
def store(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> LatentStore:
    out = tmp_path_factory.mktemp("latents") / "store"
    assert cache(words, out) == 0
    return LatentStore.open(out)


def online(words: list[str]) -> Namespace:
    return prepare_stage(parse_stage(load_config([words[1], words[-1]], words[2:-2])))


def test_cached_sample_is_that_of_the_online_way_and_variants_rotate(
    store: LatentStore, words: list[str]
) -> None:
    assert len(store) == 2 * store.index.row_count
    assert all(store.is_finished(shard) for shard in range(store.shard_count))
    store.verify()
    stage = online(words)
    images = stage.data.training_dataset()
    cached = LatentDataset(stage.data.index, images.rows, store)
    row = int(images.rows[3])
    for turn in (0, 1):
        sample, image = cached[Draw(row, turn)], images[Draw(row, turn)]
        expected = stage.model.diffusion.encode(image.image[None])[0]
        assert sample.caption == image.caption
        torch.testing.assert_close(sample.latents.float(), expected, atol=5e-3, rtol=2e-3)
        seen = stage.model.diffusion.image_encoder(image.image[None])[0]
        torch.testing.assert_close(sample.image_embedding.float(), seen, atol=5e-3, rtol=2e-3)
    first, second, third = (cached[Draw(row, turn)].latents for turn in range(3))
    assert torch.equal(first, third) and not torch.equal(first, second)


def test_stage_1_trains_on_the_store(store: LatentStore, words: list[str]) -> None:
    assert call_command(run, [*words, f"--data.init_args.latents={store.folder}"]) == 0
    results = json.loads((Path(words[-1]).parent / "runs/cached/results.json").read_text())
    assert np.isfinite(results["pretrain/train/loss_diff"])


def test_killed_writing_goes_on_with_the_missing_shard_and_a_damaged_one_is_named(
    store: LatentStore, words: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "store"
    shutil.copytree(store.folder, out)
    (out / "000001.shard.json").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    cache(words, out)
    changed = {p.name for p in out.iterdir() if times.get(p.name) != p.stat().st_mtime_ns}
    assert {name.split(".")[0] for name in changed} == {"000001"}
    name = "000001.latents.npy"
    assert (out / name).read_bytes() == (store.folder / name).read_bytes()
    content = bytearray((out / name).read_bytes())
    content[-1] ^= 1
    (out / name).write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"000001\.latents\.npy is damaged"):
        cache(words, out)


@pytest.mark.slow
def test_two_processes_write_the_store_that_one_writes(
    store: LatentStore, words: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "store"
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", *SHARDS, "--out", str(out)]
    command = [sys.executable, "-m", "experiments.cache_latents", *words, *two]
    subprocess.run(command, check=True, timeout=300)
    LatentStore.open(out).verify()
    for shard in range(store.shard_count):
        name = f"{shard:06d}.latents.npy"
        np.testing.assert_allclose(np.load(out / name), np.load(store.folder / name), atol=2e-3)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("--data.init_args.seed=5", "seed"),
        ("--data.init_args.train_transform.init_args.rotation_degrees=3", "transform"),
        ("--data.init_args.split_seed=3", "manifest_sha256"),
    ],
)
def test_store_of_something_else_is_refused(
    store: LatentStore, words: list[str], change: str, what: str
) -> None:
    with pytest.raises(ValueError, match=f"has {what}"):
        call_command(run, [*words, f"--data.init_args.latents={store.folder}", change])


def test_store_that_cannot_be_used_is_one_line(
    store: LatentStore, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="learns with stage 1"):
        cache(words[:-2], tmp_path / "store")
    empty = LatentStore(tmp_path / "empty", store.index)
    empty.begin()
    with pytest.raises(FileNotFoundError, match="lacks shard 0"):
        empty.read(0)
    with pytest.raises(FileNotFoundError, match=r"run python -m experiments\.cache_latents"):
        LatentStore.open(tmp_path)
    with pytest.raises(ValueError, match="expected a frozen image tower"):
        LatentEncoding(small_diffusion())
