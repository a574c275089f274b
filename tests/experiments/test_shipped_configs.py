"""Holds every YAML that we ship: it builds, and the paper's two say what Tables 2 and 3 say."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule
from torch import nn

from datamodules.sources.synthetic import Synthetic
from datamodules.vocabulary import Vocabulary
from experiments.config import (
    CONFIG_FOLDER,
    build_stage,
    load_config,
    parse_overrides,
    parse_stage,
)
from lightning_modules.known_weights import KNOWN_WEIGHTS, is_fetched

# Those of studies/ are no runs: studies/test_shipped_studies.py holds them.
FILES = sorted(
    path.relative_to(CONFIG_FOLDER).as_posix()
    for path in CONFIG_FOLDER.rglob("*.yaml")
    if path.parent.name != "studies"
)
# A data config says what to learn on, and a strategy how: the config beneath is a user's choice.
BENEATH = {
    "data": ["baselines/unet.yaml"],
    "strategy": ["stage1_tiny.yaml"],
    "paper45m.yaml": ["stage2.yaml"],
    "with": ["stage1_tiny.yaml"],
}
PAIRS = ["", "quickstart_", "mtd_tiny_", "neu_tiny_"]  # of stage1.yaml and stage2.yaml


@cache
def parse(file: str) -> Namespace:
    """A shipped config, typed and checked."""
    kind = Path(file).parent.name or file.partition("_")[0]
    return parse_stage({"name": "x", **load_config([*BENEATH.get(kind, []), file])})


def build(stage: Namespace) -> Namespace:
    """The stage's objects, their weights on the meta device: shapes without memory.

    Skips, visibly, a config of weights that are not in the cache.
    """
    text = str(stage.model)
    for name in KNOWN_WEIGHTS:
        if f"'{name}'" in text and not is_fetched(name):
            pytest.skip(f"no {name} here: python -m experiments.fetch --weights {name}")
    with torch.device("meta"):
        return build_stage(stage)


@cache
def model_of(file: str) -> Any:
    return build(parse(file)).model


def count(part: nn.Module) -> int:
    return sum(weight.numel() for weight in part.parameters())


@pytest.mark.parametrize("file", FILES)
def test_shipped_config_builds_and_says_what_it_is(file: str) -> None:
    objects = build(parse(file))
    assert isinstance(objects.model, LightningModule)
    assert isinstance(objects.data, LightningDataModule)
    text = (CONFIG_FOLDER / file).read_text()
    assert text.startswith("# ")
    assert not [word for word in text.split() if word.startswith(("/", "~")) and word[1:]]


@pytest.mark.parametrize("pair", PAIRS)
def test_stage_2_has_the_diffusion_model_and_the_data_of_its_stage_1(pair: str) -> None:
    one, two = (parse(f"{pair}{stage}.yaml") for stage in ("stage1", "stage2"))
    models = [dict(vars(stage.model.init_args.diffusion.init_args)) for stage in (one, two)]
    assert {**models[0], "schedule": None} == {**models[1], "schedule": None}
    if not pair:
        return
    assert two.model.init_args.pretrained == f"mlruns/runs/{pair}stage1"
    for key in ("source", "root", "manifest"):
        assert one.data.init_args[key] == two.data.init_args[key]
    for file in (f"{pair}stage1", f"{pair}stage2"):
        assert load_config([f"{file}.yaml"])["name"] == file


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("stage1_tiny.yaml", set()),
        ("hybrid_tiny.yaml", set()),
        ("quickstart_stage1.yaml", {"minilm", "efficientnet_lite0"}),
        ("quickstart_stage2.yaml", {"minilm", "efficientnet_lite0"}),
        ("own_data.yaml", {"minilm", "efficientnet_lite0"}),
    ],
)
def test_tiny_configs_need_small_known_weights_at_most(file: str, expected: set[str]) -> None:
    text = str(parse(file).model)
    assert "Clip" not in text and "KlAutoencoder" not in text
    assert {name for name in KNOWN_WEIGHTS if f"'{name}'" in text} == expected


def test_quickstart_never_trains_on_the_words_that_it_asks_for() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    (labels,) = re.findall(r'--labels "([^"]*)"', makefile)
    asked = Vocabulary.parse(labels.replace("\\\n", " "))
    for stage in ("stage1", "stage2"):
        data = build(parse(f"quickstart_{stage}.yaml")).data
        seen, held_out = data.source.vocabulary([]).division(data.held_out_types)
        assert len(held_out) == 2
        assert not (asked.words - set(asked.entries[0])) & seen.words
    truth = Synthetic().vocabulary([])
    assert [truth.id_of(name) for name in asked.names] == list(range(len(truth)))


TABLE_2 = {
    "model.init_args.base_learning_rate": 1e-4,
    "model.init_args.weight_decay": 1e-4,
    "model.init_args.adam_betas": (0.9, 0.999),
    "data.init_args.global_batch_size": 256,
    "data.init_args.batch_size": 32,
    "trainer.devices": "auto",
    "model.init_args.warmup_steps": 5_000,
    "model.init_args.warmup_start_learning_rate": 1e-6,
    "model.init_args.final_learning_rate": 1e-6,
    "trainer.max_epochs": 100,
    "trainer.gradient_clip_val": 1.0,
    "trainer.precision": "16-mixed",
    "model.init_args.diffusion.init_args.schedule.init_args.diffusion_steps": 1_000,
    "model.init_args.diffusion.init_args.schedule.init_args.kind": "linear",
    "model.init_args.diffusion.init_args.schedule.init_args.beta_start": 1e-4,
    "model.init_args.diffusion.init_args.schedule.init_args.beta_end": 2e-2,
    "model.init_args.loss_weight_diff": 1.0,
    "model.init_args.loss_weight_imp": 0.3,
    "model.init_args.text_conditioning_probability": 0.5,
    "data.init_args.train_transform.init_args.image_size_px": 512,
    "data.init_args.train_transform.init_args.horizontal_flip_probability": 0.5,
    "data.init_args.train_transform.init_args.vertical_flip_probability": 0.5,
    "data.init_args.train_transform.init_args.rotation_degrees": 15.0,
    "data.init_args.train_transform.init_args.color_jitter_bsch": (0.2, 0.2, 0.1, 0.05),
    "data.init_args.train_transform.init_args.crop_scale": (0.8, 1.0),
}
TABLE_3 = {
    "model.init_args.base_learning_rate": 5e-5,
    "model.init_args.weight_decay": 1e-4,
    "data.init_args.global_batch_size": 16,
    "data.init_args.batch_size": 2,
    "trainer.devices": "auto",
    "model.init_args.lr_schedule_power": 0.9,
    "model.init_args.warmup_steps": 500,
    "trainer.max_epochs": 50,
    "trainer.gradient_clip_val": 0.01,
    "trainer.precision": "16-mixed",
    "model.init_args.feature_timestep": 50,
    "model.init_args.loss_weight_mask": 1.0,
    "model.init_args.loss_weight_cls": 0.5,
    "model.init_args.mask_generator.init_args.mask_queries": 100,
    "model.init_args.mask_generator.init_args.transformer_layers": 9,
}


@pytest.mark.parametrize(("file", "table"), [("stage1.yaml", TABLE_2), ("stage2.yaml", TABLE_3)])
def test_rows_of_a_table_are_written_out_and_not_left_to_a_default(
    file: str, table: dict[str, object]
) -> None:
    stage, text = parse(file), (CONFIG_FOLDER / file).read_text()
    assert {key: stage[key] for key in table} == table
    assert not [key for key in table if f"{key.rpartition('.')[2]}:" not in text]


def test_stage_1_at_paper_scale_has_the_papers_weights_and_their_average() -> None:
    callbacks = {one.class_path: one for one in parse("stage1.yaml").trainer.callbacks}
    assert callbacks["callbacks.ema.WeightEma"].init_args.decay == 0.9999
    diffusion = model_of("stage1.yaml").diffusion
    assert count(diffusion.denoiser) == 859_520_964
    assert count(diffusion.captioner) == pytest.approx(0.3e6, rel=0.1)
    assert count(diffusion.autoencoder) == pytest.approx(84e6, rel=0.01)
    weights = model_of("stage1.yaml").named_parameters()
    trained = {name.split(".")[1] for name, weight in weights if weight.requires_grad}
    assert trained == {"denoiser", "captioner"}


def test_stage_2_at_paper_scale_trains_23_million_weights_on_eight_frozen_maps() -> None:
    model = model_of("stage2.yaml")
    assert model.features.strides == [64, 32, 16, 8, 4, 8, 8, 4]
    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"pyramid", "mask_generator", "class_head"}
    assert sum(one.numel() for one in trained.values()) == pytest.approx(23.3e6, rel=0.01)
    paper45m = model_of("paper45m.yaml")
    assert count(paper45m.mask_generator) == 44_061_120
    assert count(paper45m.mask_generator) + count(paper45m.class_head) == 44_950_081


def test_stage_2_takes_a_clip_from_its_configuration() -> None:
    key = "model.init_args.clip"
    path = "lightning_modules.nets.clip_mask_pooling.ClipMaskPooling"
    given = {f"{key}.class_path": path, f"{key}.init_args.pretrained": "some/folder"}
    raw = load_config(["stage2.yaml"], given)
    assert build(parse_stage({"name": "x", **raw})).model.clip.pretrained == "some/folder"


@pytest.mark.parametrize(
    ("words", "seed"), [([], 0), (["--seed=3"], 3), (["--seed=3", "--data.seed=1"], 1)]
)
def test_seed_of_a_run_is_that_of_its_data_unless_this_has_its_own(words, seed):
    stage = parse_stage(load_config(["stage1_tiny.yaml"], parse_overrides(words)))
    assert stage.data.init_args.seed == seed
