"""Claims about layers, overrides, stages and the one-line faults of a configuration."""

from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from lightning import LightningDataModule, LightningModule

from experiments.config import (
    build_stage,
    find_config,
    full_key,
    load_config,
    parse_overrides,
    parse_stage,
    stage_parser,
    value_at,
)
from experiments.config_layers import merge_layers


class ToySource:
    """A nested part of the toy data."""

    def __init__(self, image_count: int = 3) -> None:
        self.image_count = image_count


class ToyData(LightningDataModule):
    """Toy data with an optional nested part."""

    def __init__(self, source: ToySource | None = None, batch_size: int = 2) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size: got {batch_size}, expected at least 1")
        self.source = source
        self.batch_size = batch_size


class ToyDenoiser:
    """A nested part with a required width."""

    def __init__(self, width: int) -> None:
        self.width = width


class ToyModel(LightningModule):
    """Toy model with a required nested part."""

    def __init__(self, denoiser: ToyDenoiser, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.learning_rate = learning_rate


CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"
STAGE = f"""
name: toy
data:
  class_path: {__name__}.ToyData
  init_args:
    source: {{class_path: {__name__}.ToySource, init_args: {{image_count: 4}}}}
model:
  class_path: {__name__}.ToyModel
  init_args:
    denoiser: {{class_path: {__name__}.ToyDenoiser, init_args: {{width: 8}}}}
    learning_rate: 1e-4
trainer:
  max_steps: 3
  callbacks: [{{class_path: {CHECKPOINT}, init_args: {{monitor: loss}}}}]
"""


def stage_with(tmp_path: Path, *overrides: str) -> dict[str, object]:
    """The toy stage with command-line overrides."""
    path = tmp_path / "stage.yaml"
    path.write_text(STAGE)
    return load_config([str(path)], overrides)


@pytest.mark.parametrize(
    ("upper", "merged"),
    [
        ({"class_path": "a.A", "init_args": {"width": 4}}, {"width": 4, "depth": 1}),
        ({"init_args": {"width": 4}}, {"width": 4, "depth": 1}),
        ({"class_path": "b.B"}, None),
    ],
)
def test_layers_merge_key_by_key_and_another_class_drops_the_old_arguments(
    upper: dict[str, object], merged: dict[str, int] | None
) -> None:
    lower = {"x": 1, "model": {"class_path": "a.A", "init_args": {"width": 3, "depth": 1}}}
    kept = deepcopy(lower)
    node = {"class_path": "a.A", "init_args": merged} if merged else {"class_path": "b.B"}
    assert merge_layers(lower, {"model": upper}) == {"x": 1, "model": node}
    assert lower == kept


def test_callbacks_join_those_below_and_take_the_place_of_their_own_class() -> None:
    ema, charts = {"class_path": "a.Ema", "init_args": {"decay": 0.9}}, {"class_path": "a.Charts"}
    lower = {"trainer": {"callbacks": [ema, charts]}}
    upper: list[dict[str, object]] = [{"class_path": "a.Stop"}, {"class_path": "a.Charts"}]
    merged = merge_layers(lower, {"trainer": {"callbacks": upper}})
    assert merged == {"trainer": {"callbacks": [ema, *upper]}}
    assert merge_layers(lower, {"trainer": {"callbacks": []}}) == {"trainer": {"callbacks": []}}


def seeds_of(raw: dict[str, object]) -> tuple[int, ...]:
    found = (value_at(raw, key) for key in ("seed", "data.init_args.seed"))
    return tuple(int(str(one)) for one in found)


def test_a_typed_seed_is_the_datas_too_whatever_a_runs_own_config_has(tmp_path: Path) -> None:
    run = tmp_path / "config.yaml"
    run.write_text("seed: 0\ndata: {class_path: a.A, init_args: {seed: 0}}\n")
    for words, seeds in ((["--seed", "7"], (7, 7)), (["--seed", "7", "--data.seed", "3"], (7, 3))):
        assert seeds_of(load_config([str(run)], words)) == seeds
    assert seeds_of(load_config([str(run)], ["--data.seed", "3"])) == (0, 3)


def test_a_file_lies_over_the_configs_that_its_from_names(tmp_path: Path) -> None:
    base, top, last = (tmp_path / f"{name}.yaml" for name in ("base", "top", "last"))
    base.write_text("seed: 1\nname: base\ntrainer: {max_steps: 3, precision: 32}")
    top.write_text(f"from: {base}\nname: top\n")
    last.write_text("trainer: {max_steps: 4}")
    expected = {"seed": "1", "name": "top", "trainer": {"max_steps": "4", "precision": "32"}}
    assert load_config([str(top), str(last)]) == expected


def test_overrides_take_both_spellings_and_need_key_and_value() -> None:
    assert parse_overrides(["--a.b", "3", "--c=x=y"]) == {"a.b": "3", "c": "x=y"}
    for words in (["a.b", "3"], ["--a.b"], ["--a.b", "--c", "1"], ["--", "3"]):
        with pytest.raises(ValueError, match="expected --"):
            parse_overrides(words)


def test_override_reaches_into_a_list(tmp_path: Path) -> None:
    raw = stage_with(tmp_path, "--trainer.callbacks.0.init_args.monitor", "iou")
    assert parse_stage(raw).trainer.callbacks[0].init_args.monitor == "iou"
    with pytest.raises(ValueError, match="expected a number below 1"):
        stage_with(tmp_path, "--trainer.callbacks.4.init_args.monitor", "iou")


def test_missing_or_broken_config_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stage1.yaml").touch()
    monkeypatch.setattr("experiments.config.CONFIG_FOLDER", tmp_path)
    assert find_config("stage1") == tmp_path / "stage1.yaml"
    with pytest.raises(FileNotFoundError, match=r"did you mean stage1\.yaml\?"):
        find_config("stag1.yaml")
    for text in ("a: [1", "- 1", "\x00"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.yaml") as caught:
            load_config([str(tmp_path / "bad.yaml")])
        assert "\n" not in str(caught.value)


def test_stage_is_typed_filled_built_and_survives_its_own_yaml(tmp_path: Path) -> None:
    stage = parse_stage(stage_with(tmp_path, "--name", "2024"))
    assert stage.model.init_args.learning_rate == 1e-4  # YAML reads 1e-4 as a word
    assert (stage.name, stage.output, stage.seed) == ("2024", "mlruns", 0)
    assert parse_stage(yaml.safe_load(stage_parser().dump(stage, format="yaml"))) == stage
    objects = stage_parser().instantiate(stage)
    assert objects.data.source.image_count == 4 and objects.data.batch_size == 2
    assert objects.model.denoiser.width == 8
    assert type(objects.trainer.callbacks[0]).__name__ == "ModelCheckpoint"
    stage = parse_stage(stage_with(tmp_path, "--data.init_args.batch_size", "0"))
    with pytest.raises(ValueError, match=r"^batch_size: got 0, expected at least 1$"):
        build_stage(stage)


FAULTS = {
    ("--sed", "3"): "sed: got an unknown key, expected an argument of a stage; did you mean seed?",
    ("--seed", "q"): "seed: got 'q', expected int",
    ("--trainer.max_stepps", "3"): "trainer.max_stepps: got an unknown key",
    ("--trainer.logger", "true"): "trainer.logger: got an unknown key",
    ("--trainer.max_steps", "a"): "trainer.max_steps: got 'a', expected int",
    ("--trainer.devices", "{}"): "trainer.devices: got {}, expected list[int] | str | int",
    ("--data", "null"): "data is missing: expected a value",
    ("--data", "3"): "data: got '3', expected LightningDataModule | None",
    ("--data.class_path", f"{__name__}.ToyModel"): "expected a subclass of LightningDataModule",
    ("--data.class_path", f"{__name__}.ToyDta"): "did you mean ToyData?",
    ("--data.init_args.batch_sise", "3"): "did you mean batch_size?",
    ("--data.init_args.source.init_args.image_cont", "1"): "did you mean image_count?",
    ("--data.init_args.source", "x.Y"): "source.class_path: got x.Y, which cannot be imported",
    ("--data.init_arg", "3"): "data.init_args.init_arg: got an unknown key",
    ("--model.init_args.denoiser.init_args", "{}"): "init_args.width is missing",
    ("--model.init_args.learning_rate", "fast"): "learning_rate: got 'fast', expected float",
    ("--trainer.callbacks.0.init_args.monitr", "x"): "did you mean monitor?",
}


@pytest.mark.parametrize(("words", "line"), FAULTS.items())
def test_fault_is_one_line_with_key_and_remedy(
    words: tuple[str, str], line: str, tmp_path: Path
) -> None:
    raw = stage_with(tmp_path, *words)
    with pytest.raises(ValueError) as caught:
        parse_stage(raw)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


SOURCE = "data.init_args.source"


def test_short_word_means_a_dotted_key_and_a_source_its_file_or_class_path(tmp_path: Path) -> None:
    keys = {"pretrained": "model.init_args.pretrained", "source": SOURCE, "seed": "seed"}
    keys |= dict.fromkeys(["source.x", "source.init_args.x"], f"{SOURCE}.init_args.x")
    keys |= {"data.labels": "data.init_args.labels", "data.class_path": "data.class_path"}
    assert {word: full_key(word) for word in keys} == keys
    with pytest.raises(ValueError, match="expected a file name of datamodules/sources"):
        load_config([], ["--source", "foldr"])
    (tmp_path / "a.yaml").write_text("data: {init_args: {source: neu_seg, root: a}}")
    node = {"class_path": "datamodules.sources.neu_seg.NeuSeg"}
    for words in ([], ["--source=neu_seg"], [f"--source={node['class_path']}"]):
        raw = load_config([str(tmp_path / "a.yaml")], words)
        assert raw == {"data": {"init_args": {"source": node, "root": "a"}}}


def test_init_args_may_be_left_out_wherever_a_class_stands(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "data: {init_args: {cut: {class_path: a.B}, sizes: {x: 1}}}\n"
        "trainer: {callbacks: [{class_path: a.C}]}"
    )
    written = {
        "data.cut.side_px": "data.init_args.cut.init_args.side_px",
        "data.sizes.x": "data.init_args.sizes.x",
        "data.source.y": f"{SOURCE}.init_args.y",
        "model.tile_px": "model.init_args.tile_px",
        "model.net": "model.init_args.net",
        "model.net.width": "model.init_args.net.init_args.width",
        "trainer.callbacks.0.decay": "trainer.callbacks.0.init_args.decay",
        "trainer.max_epochs": "trainer.max_epochs",
    }
    config = [str(tmp_path / "a.yaml")]
    by_key = load_config(config, dict.fromkeys(written.values(), "a.D"))
    assert load_config(config, dict.fromkeys(written, "a.D")) == by_key


@pytest.mark.parametrize(
    ("words", "origin"),
    [
        (["--manifest=m"], {"manifest": "m"}),
        (["--root=d", "--manifest=m"], {"root": "d", "manifest": "m"}),
        (["--root=d"], {"source": {"class_path": "a.B", "init_args": {"x": "1"}}, "root": "d"}),
        (["--source.x=2"], {"source": {"class_path": "a.B", "init_args": {"x": "2"}}, "root": "r"}),
        (["--source=c.D", "--source.y=2"],
         {"source": {"class_path": "c.D", "init_args": {"y": "2"}}, "root": "r"}),
    ],
)  # fmt: skip
def test_manifest_and_source_take_each_others_place(
    words: list[str], origin: dict[str, object], tmp_path: Path
) -> None:
    source = "{class_path: a.B, init_args: {x: 1}}"
    (tmp_path / "a.yaml").write_text(f"data: {{init_args: {{source: {source}, root: r}}}}")
    (tmp_path / "b.yaml").write_text(
        f"from: {tmp_path}/a.yaml\ndata: {{init_args: {{manifest: n}}}}"
    )
    assert load_config([str(tmp_path / "a.yaml")], words)["data"] == {"init_args": origin}
    below = load_config([str(tmp_path / "b.yaml")], ["--source=a.B", "--root=r"])["data"]
    assert below == {"init_args": {"source": {"class_path": "a.B"}, "root": "r"}}
