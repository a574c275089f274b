"""Configuration of a run: YAML files and words of the command line, merged, typed, checked.

Layers are plain mappings and are merged without importing torch; jsonargparse checks the result
against the signatures of the classes it names. A fault is one line: the key, what it got, what was
expected, the nearest known name.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from datamodules.about import source_class_path
from datamodules.formats.text_files import NOTHING
from experiments.cli import nearest_names
from experiments.config_layers import merge_layers
from experiments.typed_words import (
    TypedList,
    TypedMapping,
    Word,
    read_value,
    read_words,
    value_of,
    with_words,
)

if TYPE_CHECKING:
    from datamodules.imdd import IMDDDataModule

CONFIG_FOLDER = Path(__file__).parent / "configs"
BASE_KEY = "from"
WORD_KEYS = ("name", "experiment", "setting", "scale", "output")
STAGE_KEYS = (*WORD_KEYS, "tags", "seed_declared", "seed", "data", "model", "trainer")
NODE_KEYS = ("class_path", "init_args", "dict_kwargs")
# Both belong to the run directory, which the run owns.
SKIPPED_TRAINER_KEYS = {"logger", "default_root_dir"}
# Short words of the command line, and the keys that they mean.
SHORT_KEYS = {
    "source": "data.source",
    "root": "data.root",
    "manifest": "data.manifest",
    "labels": "data.labels",
    "pretrained": "model.pretrained",
    "teacher": "model.teacher",
}
# A class stands there, whether a config names it yet or not.
CLASS_KEYS = ("data", "model", "data.init_args.source")


def load_config(
    names: Sequence[str | Mapping[str, object]], overrides: Mapping[str, str] | Sequence[str] = ()
) -> dict[str, object]:
    """The files and over them the overrides as one mapping; a later layer wins.

    names: paths, names inside experiments/configs, or what such a file holds; overrides:
    `--a.b.c value` words or a mapping of dotted keys, which `full_key` completes. Texts stay texts
    (`typed_words.py`) until they are parsed. Raises FileNotFoundError, ValueError.
    """
    raw: dict[str, object] = {}
    for name in names:
        layer = name if isinstance(name, Mapping) else read_layer(find_config(name))
        raw = merge_layers(raw, layer)
    pairs = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    if "seed" in pairs and value_at(raw, "data.init_args.seed") is not None:
        # A run's own config.yaml has the data's seed as well.
        raw = merge_layers(raw, {"data": {"init_args": {"seed": read_value(pairs["seed"])}}})
    layer = {}
    for key, text in pairs.items():
        value = text if key in (*SHORT_KEYS, *WORD_KEYS) else read_value(text)
        place = full_key(key, merge_layers(raw, layer))
        # Of a source's settings a name may be called null; no text at all is an empty text.
        is_setting = place.startswith("data.init_args.source.")
        is_nothing = isinstance(value, Word) and value in NOTHING[1:] and not is_setting
        set_dotted(layer, place, None if is_nothing else value)
    return merge_layers(raw, expand_source(layer))


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
    """The mapping in a YAML file, over the configs that its `from` names, lowest first.

    ValueError with line and column where it is not YAML.
    """
    try:
        layer = read_words(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"config {path} is not YAML: {reason}; expected keys and values"
        ) from error
    if not isinstance(layer, dict | None):
        raise ValueError(f"config {path} holds a {type(layer).__name__}: expected keys and values")
    own = expand_source(layer or {})
    bases = own.pop(BASE_KEY, [])
    below = load_config([bases] if isinstance(bases, str) else bases)  # type: ignore[arg-type]
    return merge_layers(below, own)


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


def set_dotted(node: dict[str, object], key: str, value: object) -> None:
    """Set the value at a dotted key, in place; a class in between becomes a node of arguments."""
    *parts, last = key.split(".")
    for part in parts:
        below = node.get(part)
        if isinstance(below, dict):
            node = below
        else:
            node[part] = {"class_path": below} if isinstance(below, str) else {}
            node = node[part]  # type: ignore[assignment]
    node[last] = value


def full_key(key: str, raw: Mapping[str, object] | None = None) -> str:
    """The dotted key that a word means: `data.batch_size` is one of the init_args of data's class.

    raw: the configuration that names the classes further down, as in `data.train_transform.scale`.
    """
    first, dot, rest = key.partition(".")
    place = ""
    for part in f"{SHORT_KEYS.get(first, first)}{dot}{rest}".split("."):
        node = value_at(raw, place)
        # A text with keys below it names a class, too.
        is_class = isinstance(node, str) or (isinstance(node, Mapping) and "class_path" in node)
        if part not in NODE_KEYS and (is_class or place in CLASS_KEYS):
            place += ".init_args"
        place = f"{place}.{part}".removeprefix(".")
    return place


def expand_source(layer: dict[str, object]) -> dict[str, object]:
    """The layer with the class path of its data source where that is named by its file."""
    data = layer.get("data")
    arguments = data.get("init_args") if isinstance(data, dict) else None
    source = arguments.get("source") if isinstance(arguments, dict) else None
    if isinstance(source, str):
        arguments["source"] = {"class_path": source_class_path(source)}  # type: ignore[index]
    elif isinstance(source, dict) and isinstance(source.get("class_path"), str):
        source["class_path"] = source_class_path(source["class_path"])
    return layer


def stage_parser() -> ArgumentParser:
    """The typed parser of a run: its own keys, data, model and the arguments of the Trainer."""
    from lightning import LightningDataModule, LightningModule, Trainer

    # JSON tells the text 1e3 from a number where the parser writes parts for itself; YAML doesn't.
    parser = ArgumentParser(exit_on_error=False, parser_mode="json")
    add = parser.add_argument
    add("--name", type=str, required=True, help="name of the run directory")
    add("--experiment", type=str, default="diffuse-defect", help="MLflow experiment of the run")
    add("--output", type=str, default="mlruns", help="folder of run directories and tracking")
    add("--seed", type=int, default=0, help="seed of everything drawn at random")
    add("--setting", type=str, default="full", help="full, k_shot_K, budget_N or zero_shot")
    add("--scale", type=str, default="tiny", help="tiny, small or paper")
    add("--tags", type=dict[str, str], default={}, help="more tags of the tracked run")
    declared = "what the paper says of a compared system that has no counterpart here; only tags"
    add("--seed_declared", type=dict[str, str], default={}, help=declared)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    parser.add_subclass_arguments(LightningModule, "model", required=True)
    parser.add_class_arguments(
        Trainer, "trainer", instantiate=False, fail_untyped=False, skip=set(SKIPPED_TRAINER_KEYS)
    )
    return parser


def parse_stage(raw: Mapping[str, object]) -> Namespace:
    """The stage with every value of its declared type and every default filled in.

    Raises ValueError, one line: the key, what it got, what was expected, the nearest known key.
    """
    check_keys(raw, STAGE_KEYS, owner="a stage")
    if not isinstance(raw.get("trainer", {}), Mapping | None):
        raise ValueError(f"trainer: got {raw['trainer']!r}, expected arguments of a Trainer")
    # Lightning takes 1 and "1" devices alike, but means them to be numbers.
    trainer = with_words(raw.get("trainer"), value_of)
    stage = parse_typed(stage_parser(), {**raw, "trainer": trainer} if trainer else raw)
    # The order, the crops and the noise of training are drawn by the data.
    if "seed" in stage.data.init_args and value_at(raw, "data.init_args.seed") is None:
        stage.data.init_args.seed = stage.seed
    return stage


def build_stage(stage: Namespace) -> Namespace:
    """The stage with objects in place of class_path nodes; ValueError, one line, if one refuses."""
    return build_objects(stage_parser(), stage)


def build_data(raw: Mapping[str, object]) -> "IMDDDataModule":
    """The data of a configuration, not yet read; ValueError, one line, if it refuses."""
    from lightning import LightningDataModule

    parser = ArgumentParser(exit_on_error=False, parser_mode="json")
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    data: IMDDDataModule = build_objects(parser, parse_typed(parser, {"data": raw["data"]})).data
    return data


def parse_typed(
    parser: ArgumentParser, raw: Mapping[str, object], words: Callable[[Word], str] = str
) -> Namespace:
    """The mapping as the parser types it; ValueError, one line, for what it does not take.

    Texts are read by the types of their options; so is a list in brackets, which may be a text.
    words: what they become first; left Words, those of an option of any type stay as they are.
    """
    _check_nodes("", raw)
    try:
        return parser.parse_object(with_words(raw, words))
    except ArgumentError as error:
        where = ".init_args.".join(re.findall(r'Parser key "(.+)":', str(error)))
        given = value_at(raw, where)
        if not isinstance(given, TypedList | TypedMapping):
            raise ValueError(fault_line(raw, str(error))) from error
        layer: dict[str, object] = {}
        set_dotted(layer, where, given.text)
    return parse_typed(parser, merge_layers(raw, layer), words)


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


def check_keys(node: Mapping[str, object], known: Iterable[str], *, owner: str) -> None:
    """Raise ValueError for the first key that `owner` does not take."""
    names = list(known)
    for key in node:
        if str(key).rpartition(".")[2] not in names:
            raise ValueError(_unknown_line(str(key), names, owner))


def _check_nodes(where: str, node: object) -> None:
    """Raise ValueError for a class_path node with a misspelt key: jsonargparse words it badly."""
    if isinstance(node, Mapping):
        if "class_path" in node:
            check_keys({f"{where}.{key}": 0 for key in node}, NODE_KEYS, owner="a class_path node")
        for key, value in node.items():
            _check_nodes(f"{where}.{key}".strip("."), value)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            _check_nodes(f"{where}.{number}", value)


def fault_line(raw: Mapping[str, object], message: str) -> str:
    """A message of jsonargparse as one line that names the innermost key at fault.

    The message is a tree: `Parser key` and `Problem with given class_path` lead down to the fault,
    and the first branch of a union of types is the one that the configuration means.
    """
    owner, keys, expected = "a stage", [], ""
    where = ""
    for line in message.splitlines():
        text = line.strip().removeprefix("- ")
        if found := re.match(r'Parser key "(.+)":', text):
            keys.append(found[1])
            where, expected = ".init_args.".join(keys), ""
        elif found := re.match(r"Problem with given class_path '(.+)':", text):
            owner = found[1]
        elif found := re.match(r"Subtypes: \[(.+)\]", text):
            expected = found[1]
        elif found := re.match(r"Expected an? (.+)\. Got value", text):
            expected = expected or found[1]
        elif found := re.match(r"the following arguments are required: ([^,]+)", text):
            name = ".init_args.".join([*keys, found[1]])
            return f"{name} is missing: expected a value, there is no default"
        elif found := re.match(r"(?:Group '(.+)' does not accept option|Option) '(.+?)'", text):
            return _unknown_option(keys, group=found[1] or "", key=found[2], owner=owner)
        elif found := re.match(r"Import path (\S+) does not .* a subclass of (\w+)", text):
            return f"{where}.class_path: got {found[1]}, expected a subclass of {found[2]}"
        elif found := re.match(r"module '(.+)' has no attribute '(.+)'", text):
            classes = [k for k, v in vars(sys.modules[found[1]]).items() if isinstance(v, type)]
            near = nearest_names(found[2], classes)
            return f"{where}.class_path: got {owner}, expected a class of {found[1]}; {near}"
        elif text.startswith("No module named"):
            return f"{where}.class_path: got {owner}, which cannot be imported: {text}"
    got = repr(with_words(value_at(raw, where), str))
    got = got if len(got) <= 80 else f"{got[:77]}..."
    if expected:
        return f"{where}: got {got}, expected {_type_words(expected)}"
    reason = " ".join(message.split())
    return f"{where}: got {got}: {reason}" if where else reason


def _unknown_option(keys: list[str], *, group: str, key: str, owner: str) -> str:
    """The line for an option that a class, or a group of options such as `trainer`, lacks."""
    where = ".init_args.".join(keys)
    if group:
        from lightning import Trainer

        known = [name for name in signature(Trainer).parameters if name not in SKIPPED_TRAINER_KEYS]
        return _unknown_line(f"{group}.{key}", known, "lightning.Trainer")
    if not keys:
        return _unknown_line(key, STAGE_KEYS, owner)
    module, _, name = owner.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    known = ArgumentParser().add_class_arguments(kind, fail_untyped=False)
    return _unknown_line(f"{where}.init_args.{key}", known, owner)


def _unknown_line(where: str, known: Sequence[str], owner: str) -> str:
    """The line for a key that `owner` does not take."""
    near = nearest_names(where.rpartition(".")[2], known)
    return f"{where}: got an unknown key, expected an argument of {owner}; {near}"


def value_at(node: object, key: str) -> object:
    """What the raw configuration holds at a dotted key, None for nothing."""
    for part in key.split(".") if key else ():
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _type_words(text: str) -> str:
    """Type names as a reader writes them: `int | None`."""
    text = re.sub(r"<class '([^']+)'>", r"\1", text)
    text = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text).replace("NoneType", "None")
    return re.sub(r", (?![^\[]*\])", " | ", text)
