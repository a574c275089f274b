"""Faults of a configuration as one line each: the key, got, expected, and the nearest known name.

jsonargparse reports a fault inside a nested class as the whole tree of what it tried; checking
the class nodes from the inside out finds the one key that is meant.
"""

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping

from jsonargparse import ArgumentError, ArgumentParser

NODE_KEYS = ("class_path", "init_args", "dict_kwargs")
LISTED_NAMES = 12


def nearest_names(name: str, known: Iterable[str]) -> str:
    """A remedy: "did you mean ...?", or the known names where none is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.55)
    if near:
        return f"did you mean {' or '.join(near)}?"
    listed = ", ".join(names[:LISTED_NAMES]) + (", ..." if len(names) > LISTED_NAMES else "")
    return f"known are {listed}" if names else "none is known"


def check_keys(path: str, node: Mapping[str, object], known: Iterable[str], *, owner: str) -> None:
    """Raise ValueError for the first key that `owner` does not take."""
    names = list(known)
    for key in node:
        if key not in names:
            where = f"{path}.{key}" if path else str(key)
            raise ValueError(
                f"{where}: got an unknown key, expected an argument of {owner}; "
                + nearest_names(str(key), names)
            )


def check_base(path: str, node: object, base: type) -> None:
    """Raise ValueError unless `node` names a subclass of `base`."""
    if not node:
        raise ValueError(
            f"{path} is missing: expected class_path and init_args of a {base.__name__}"
        )
    name = node.get("class_path") if isinstance(node, Mapping) else node
    if not isinstance(name, str):
        raise ValueError(f"{path}: got {_short(node)}, expected class_path of a {base.__name__}")
    if "." in name and not issubclass(_import_class(f"{path}.class_path", name), base):
        raise ValueError(f"{path}.class_path: got {name}, expected a subclass of {base.__name__}")


def check_nodes(path: str, node: object) -> None:
    """Raise ValueError for the innermost fault of any class_path node at or below `node`."""
    if isinstance(node, Mapping):
        parser = _check_class_keys(path, node) if "class_path" in node else None
        for key, value in node.items():
            check_nodes(f"{path}.{key}" if path else str(key), value)
        if parser is not None:
            _check_types(path, node, parser)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            check_nodes(f"{path}.{index}", value)


def typed_error_line(path: str, node: Mapping[str, object], message: str) -> str:
    """A jsonargparse message about the keys of `node` as one line that names key and type."""
    missing = _missing_argument(message)
    if missing:
        prefix = f"{path}." if path else ""
        return f"{prefix}{missing} is missing: expected a value, there is no default"
    found = re.search(r'Parser key "([^"]+)"', message)
    if found is None:
        return f"{path}: {_one_line(message)}" if path else _one_line(message)
    key = found[1]
    where = f"{path}.{key}" if path else key
    got = _short(_value_at(node, key))
    wrong_class = re.search(
        r"Import path (\S+) does not correspond to a subclass of (\w+)", message
    )
    if wrong_class:
        return f"{where}.class_path: got {wrong_class[1]}, expected a subclass of {wrong_class[2]}"
    expected = re.search(r"Subtypes: \[(.+)\]", message) or re.search(
        r"Expected an? (.+?)\. Got value", message
    )
    if expected:
        return f"{where}: got {got}, expected {_type_words(expected[1])}"
    reason = _one_line(message.split(f'"{key}":', 1)[1])
    return f"{where}: got {got}: {reason}"


def _missing_argument(message: str) -> str:
    """The dotted key of a required argument that the message misses; "" where it misses none.

    The message is a tree by indentation: the keys of the lines above lead down to the argument.
    """
    lines = message.splitlines()
    for index, line in enumerate(lines):
        required = re.search(r"arguments are required: (.+)", line)
        if required is None:
            continue
        keys, indent = [required[1].strip()], len(line) - len(line.lstrip())
        for above in reversed(lines[:index]):
            found = re.match(r'(\s*)Parser key "([^"]+)"', above)
            if found and len(found[1]) < indent:
                keys.append(found[2])
                indent = len(found[1])
        return ".init_args.".join(reversed(keys))
    return ""


def _check_class_keys(path: str, node: Mapping[str, object]) -> ArgumentParser | None:
    """A parser of the node's class after its keys are found known; None for a short class name."""
    check_keys(path, node, NODE_KEYS, owner="a class_path node")
    name = node["class_path"]
    if not isinstance(name, str):
        raise ValueError(f"{path}.class_path: got {name!r}, expected the dotted path of a class")
    if "." not in name:
        return None
    kind = _import_class(f"{path}.class_path", name)
    arguments = node.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise ValueError(f"{path}.init_args: got {arguments!r}, expected arguments of {name}")
    parser = ArgumentParser(exit_on_error=False)
    known = parser.add_class_arguments(kind, fail_untyped=False)
    check_keys(f"{path}.init_args", arguments, known, owner=name)
    return parser


def _check_types(path: str, node: Mapping[str, object], parser: ArgumentParser) -> None:
    """Raise ValueError where an argument of this node has the wrong type or is missing."""
    arguments = node.get("init_args") or {}
    assert isinstance(arguments, Mapping)
    try:
        parser.parse_object(dict(arguments))
    except ArgumentError as error:
        if "arguments are required" in str(error):
            return  # a factory's leading arguments come from code: the whole parser decides
        line = typed_error_line(f"{path}.init_args", arguments, str(error))
        raise ValueError(line) from error


def _import_class(where: str, name: str) -> type:
    """The class of this dotted path; ValueError where module or class is missing."""
    module_name, _, class_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"{where}: got {name}, which cannot be imported: {error}") from error
    kind = getattr(module, class_name, None)
    if not isinstance(kind, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise ValueError(
            f"{where}: got {name}, expected a class of {module_name}; "
            + nearest_names(class_name, classes)
        )
    return kind


def _value_at(node: Mapping[str, object], key: str) -> object:
    """What the raw configuration holds at a dotted key."""
    value: object = node
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _type_words(text: str) -> str:
    """Type names as a reader writes them: `int | None`."""
    text = re.sub(r"<class '([^']+)'>", r"\1", text)
    text = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text).replace("NoneType", "None")
    return re.sub(r", (?![^\[]*\])", " | ", text)


def _short(value: object, limit: int = 80) -> str:
    """The value as text of at most `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _one_line(message: str) -> str:
    """The message without line breaks."""
    return re.sub(r"\s+", " ", message).strip()
