"""Annotation files as text, JSON or numbers; whatever is wrong with one is a ValueError.

Values of a JSON file are `object` until they were looked at: annotators' tools write anything.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import ClassVar

import yaml

_NOTED: ContextVar[set[Path] | None] = ContextVar("noted documents", default=None)


@contextmanager
def noting_documents() -> Iterator[set[Path]]:
    """The files of a data set whose texts are asked for inside the block, as they grow."""
    noted: set[Path] = set()
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def read_text(path: Path, encoding: str = "utf-8-sig") -> str:
    """The text of a UTF-8 file, with or without byte order mark.

    Raises OSError where it cannot be read, ValueError where it is a folder or not UTF-8, and
    for a link in a data set, which may lead out of it.
    """
    noted = _NOTED.get()
    if noted is not None:
        noted.add(path)
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link: copy the file that it leads to")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: expected a file")
    try:
        return path.read_bytes().decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8"
        ) from error


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file; ValueError where it is truncated, no JSON or no object."""
    return parse_object(read_text(path), str(path))


def parse_object(text: str, place: str) -> dict[str, object]:
    """The JSON object that a text holds; ValueError that names the `place` for anything else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(
            f"{place} is no readable JSON ({reason}): it is truncated or of another kind; write it "
            "anew"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{place} holds a JSON {type(content).__name__}, expected an object {{...}}"
        )
    return content


# What YAML reads as nothing.
NOTHING = ("", "~", "null", "Null", "NULL")


class VerbatimLoader(yaml.SafeLoader):
    """YAML whose words stay the text that was typed: no, 010, 1:30, null and 2026-11-28 too."""

    yaml_implicit_resolvers: ClassVar[dict[str, object]] = {}


def parse_yaml(text: str) -> object:
    """Mappings, lists and texts that a YAML text holds; ValueError where it is none."""
    try:
        return yaml.load(text, Loader=VerbatimLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())[:120]) from error


def numbers_of(value: object) -> tuple[float, ...]:
    """A JSON list of numbers as floats, not finite ones too; ValueError for anything else."""
    if not isinstance(value, list) or not all(type(item) in (int, float) for item in value):
        raise ValueError(f"got {_short(value)}, expected a list of numbers")
    try:
        return tuple(float(item) for item in value)
    except OverflowError as error:
        raise ValueError("got a number beyond all images, expected pixels") from error


def objects_of(value: object, place: str) -> list[dict[str, object]]:
    """A JSON list of objects; ValueError that names the `place` for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{place} is {_short(value)}, expected a list of objects {{...}}")
    return value


def whole_number(value: object) -> int:
    """A positive whole JSON number, 0 for anything else."""
    return value if type(value) is int and value > 0 else 0


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
