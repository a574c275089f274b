"""Layered YAML configuration: files and dotted overrides become typed, checked stages of a run.

How a fault in a configuration is worded is in `configuration_errors.py`. A stage is one `fit`:
its data, model and trainer. A run has one stage, or the two of the paper.
"""

import argparse
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from lightning import LightningDataModule, LightningModule, Trainer

from experiments.configuration_errors import (
    check_base,
    check_keys,
    check_nodes,
    nearest_names,
    typed_error_line,
)

CONFIG_FOLDER = Path(__file__).parent / "configs"
STAGE_NAMES = ("pretrain", "finetune")
BASE_KEY = "from"
STAGE_KEYS = (
    "name",
    "experiment",
    "setting",
    "scale",
    "tags",
    "output",
    "seed",
    "data",
    "model",
    "trainer",
)
WORD_KEYS = ("name", "experiment", "setting", "scale", "output")
# Both belong to the run directory, which the run owns.
SKIPPED_TRAINER_KEYS = {"logger", "default_root_dir"}


def load_layers(
    configs: Sequence[str], overrides: Mapping[str, str] | Sequence[str] = ()
) -> dict[str, object]:
    """All layers merged into one raw configuration; a later layer wins, the overrides last.

    configs: paths, or names inside experiments/configs; overrides: `--a.b.c value` words or a
    mapping of dotted keys, values read as YAML. Raises FileNotFoundError, ValueError.
    """
    raw: dict[str, object] = {}
    for name in configs:
        raw = merge_layers(raw, read_layer(find_config(name)))
    raw |= {stage: rest_on_bases(node, _shared(raw)) for stage, node in _stage_nodes(raw).items()}
    pairs = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    for key, text in pairs.items():
        apply_override(raw, key, _read_value(key, text))
    return raw


def find_config(name: str) -> Path:
    """The file that a `--config` name means: a path as it stands, else one of our own configs."""
    for path in (Path(name), CONFIG_FOLDER / name, CONFIG_FOLDER / f"{name}.yaml"):
        if path.is_file():
            return path
    files = CONFIG_FOLDER.rglob("*.yaml")
    known = sorted(path.relative_to(CONFIG_FOLDER).as_posix() for path in files)
    raise FileNotFoundError(
        f"config {name} is missing: expected a YAML file or a name in experiments/configs; "
        + nearest_names(name, known)
    )


def read_layer(path: Path) -> dict[str, object]:
    """The mapping in one YAML file; ValueError with line and column where it is not YAML."""
    try:
        layer = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"config {path} is not YAML: {reason}; expected keys and values"
        ) from error
    if layer is None:
        return {}
    if not isinstance(layer, dict):
        raise ValueError(f"config {path} holds a {type(layer).__name__}: expected keys and values")
    return rest_on_bases(layer)


def rest_on_bases(
    node: Mapping[str, object], shared: Mapping[str, object] | None = None
) -> dict[str, object]:
    """The node over `shared`, over the configs that its `from` key names, lowest first."""
    own = dict(node)
    named = own.pop(BASE_KEY, [])
    bases = load_layers([named] if isinstance(named, str) else list(named))  # type: ignore[call-overload]
    return merge_layers(merge_layers(bases, shared or {}), own)


def merge_layers(lower: Mapping[str, object], upper: Mapping[str, object]) -> dict[str, object]:
    """Both layers as one; mappings merge key by key, everything else is replaced by `upper`.

    An `upper` with another class_path replaces the node whole: init_args of the old class
    would mean nothing to the new one.
    """
    if "class_path" in upper and lower.get("class_path") not in (None, upper["class_path"]):
        return dict(upper)
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_layers(below, value)
        else:
            merged[key] = value
    return merged


def parse_overrides(words: Sequence[str]) -> dict[str, str]:
    """Dotted keys and their texts from `--a.b value` or `--a.b=value` words; ValueError else."""
    pairs: dict[str, str] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--") or len(word) == 2:
            raise ValueError(f"got the word {word!r}: expected --key value, with a dotted key")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                raise ValueError(f"--{key} has no value: expected --{key} VALUE")
            text = waiting.pop(0)
        pairs[key] = text
    return pairs


def apply_override(raw: dict[str, object], key: str, value: object) -> None:
    """Set the dotted `key` in `raw`, in place; also where a stage sets the same key itself.

    What is typed at the command line beats what any file says, for both stages; a key that
    starts with a stage's name means that stage alone.
    """
    parts = key.split(".")
    _set_dotted(raw, parts, value)
    if parts[0] in STAGE_NAMES:
        return
    for stage in STAGE_NAMES:
        node = raw.get(stage)
        if isinstance(node, dict) and _holds(node, parts):
            _set_dotted(node, parts, value)


def split_stages(raw: Mapping[str, object]) -> list[tuple[str, dict[str, object]]]:
    """The run's stages in order, as (name, raw stage); a plain configuration is one, named "".

    Keys beside `pretrain` and `finetune` are shared: they lie under each stage's own, and over
    the configs that a stage's `from` names.
    """
    named = [stage for stage in STAGE_NAMES if stage in raw]
    if not named:
        return [("", dict(raw))]
    nodes = _stage_nodes(raw)
    return [(stage, rest_on_bases(nodes[stage], _shared(raw))) for stage in named]


def stage_parser() -> ArgumentParser:
    """The typed parser of one stage: run keys, data, model and the arguments of the Trainer."""
    parser = ArgumentParser(exit_on_error=False, description="One stage of a run.")
    parser.add_argument("--name", type=str, required=True, help="name of the run directory")
    parser.add_argument(
        "--experiment", type=str, default="diffuse-defect", help="MLflow experiment of the run"
    )
    parser.add_argument(
        "--output", type=str, default="mlruns", help="folder of run directories and tracking"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything drawn at random")
    parser.add_argument(
        "--setting", type=str, default="full", help="full, k_shot_K, budget_N or zero_shot"
    )
    parser.add_argument("--scale", type=str, default="tiny", help="tiny, small or paper")
    parser.add_argument(
        "--tags", type=dict[str, str], default={}, help="more tags of the tracked run"
    )
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    parser.add_subclass_arguments(LightningModule, "model", required=True)
    parser.add_class_arguments(
        Trainer, "trainer", instantiate=False, fail_untyped=False, skip=set(SKIPPED_TRAINER_KEYS)
    )
    return parser


def parse_stage(raw: Mapping[str, object]) -> Namespace:
    """The stage with every value of its declared type and every default filled in.

    `stage_parser().instantiate` makes the objects of it. Raises ValueError, one line: the key,
    what it got, what was expected, the nearest known key.
    """
    check_keys("", raw, STAGE_KEYS, owner="a stage")
    check_base("data", raw.get("data"), LightningDataModule)
    check_base("model", raw.get("model"), LightningModule)
    trainer = raw.get("trainer") or {}
    if not isinstance(trainer, Mapping):
        raise ValueError(f"trainer: got {trainer!r}, expected arguments of lightning.Trainer")
    known = [key for key in signature(Trainer).parameters if key not in SKIPPED_TRAINER_KEYS]
    check_keys("trainer", trainer, known, owner="lightning.Trainer")
    check_nodes("", raw)
    try:
        # YAML reads `name: 2024` as a number; a name is what was typed.
        words = {key: str(raw[key]) for key in WORD_KEYS if isinstance(raw.get(key), int | float)}
        return stage_parser().parse_object({**raw, **words})
    except ArgumentError as error:
        raise ValueError(typed_error_line("", raw, str(error))) from error


def build_stage(stage: Namespace) -> Namespace:
    """The stage with objects in place of class_path nodes; ValueError, one line, if one refuses."""
    return build_objects(stage_parser(), stage)


def build_objects(parser: ArgumentParser, parsed: Namespace) -> Namespace:
    """What was parsed with objects in place of its class_path nodes; ValueError, one line."""
    try:
        return parser.instantiate(parsed)
    except ValueError as error:
        # jsonargparse wraps a class's own one line in reports of all types that it tried.
        inmost: BaseException = error
        while inmost.__cause__ or inmost.__context__:
            inmost = inmost.__cause__ or inmost.__context__ or inmost
        raise ValueError(str(inmost)) from error


def _shared(raw: Mapping[str, object]) -> dict[str, object]:
    """The keys beside the stages."""
    return {key: value for key, value in raw.items() if key not in STAGE_NAMES}


def _stage_nodes(raw: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """The nodes of the named stages; ValueError for one that is no mapping."""
    nodes: dict[str, Mapping[str, object]] = {}
    for stage in STAGE_NAMES:
        node = raw.get(stage, {})
        if not isinstance(node, Mapping):
            raise ValueError(f"{stage}: got {node!r}, expected the keys of a stage")
        if stage in raw:
            nodes[stage] = node
    return nodes


def _read_value(key: str, text: str) -> object:
    """The text of an override, read as YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--{key}: got {text!r}, which is not a YAML value") from error


def _set_dotted(node: dict[str, object] | list[object], parts: list[str], value: object) -> None:
    """Set the value at the path, making the mappings in between; list items go by number."""
    here: dict[str, object] | list[object] = node
    for part in parts[:-1]:
        below = here[_list_index(here, part)] if isinstance(here, list) else here.get(part)
        if not isinstance(below, (dict, list)):
            below = {}
            _put(here, part, below)
        here = below
    last = parts[-1]
    if last == "class_path" and isinstance(here, dict) and here.get("class_path") != value:
        here.pop("init_args", None)
    _put(here, last, value)


def _put(node: dict[str, object] | list[object], part: str, value: object) -> None:
    """Set one key of a mapping or one existing item of a list."""
    if isinstance(node, list):
        node[_list_index(node, part)] = value
    else:
        node[part] = value


def _list_index(items: list[object], part: str) -> int:
    """The item number that `part` means; ValueError where the list has no such item."""
    if not part.isdigit() or int(part) >= len(items):
        raise ValueError(f"got the item {part!r} of a list, expected a number below {len(items)}")
    return int(part)


def _holds(node: object, parts: list[str]) -> bool:
    """Whether the path exists below the node."""
    for part in parts:
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            return False
    return True


def command_parser() -> argparse.ArgumentParser:
    """The words of the command itself; everything else is an override of the configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.run",
        add_help=False,
        allow_abbrev=False,
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
        default="never",
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
