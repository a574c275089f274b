"""YAML whose words stay what was typed, until the option that takes one says what it is.

A config and a word of the command line are read alike: mappings and lists, and in them texts. What
reads a text as a number, as true or as nothing is jsonargparse, by the type of the option
(`config.py`); a text for an option of text is that text: no, 007, 1:30, Teil #5.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import yaml

from datamodules.formats.text_files import NOTHING, VerbatimLoader

NO_TEXT = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "timestamp"))


class Word(str):
    """A text without quotes, which YAML may read as something else."""


class TypedMapping(dict[str, object]):
    """A mapping that was typed as a value: it takes the place of one below, it isn't merged.

    text: as it was typed, for an option that takes a text.
    """

    text: str = ""


class TypedList(list[object]):
    """A list that was typed as a value; text: as TypedMapping's."""

    text: str = ""


class WordLoader(VerbatimLoader):
    """Reads what is null or left out in a mapping as nothing, all else as it was typed."""

    # Mappings of a study share keys by "<<".
    yaml_implicit_resolvers: ClassVar = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        """A Word, or the text that was quoted."""
        text: str = super().construct_scalar(node)
        return text if node.style else Word(text)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, object]:
        """The mapping with None for what is left out or null."""
        mapping = super().construct_mapping(node, deep=deep)
        empty = [k for k, v in mapping.items() if isinstance(v, Word) and v in NOTHING]
        return mapping | dict.fromkeys(empty)


WordLoader.add_constructor("tag:yaml.org,2002:merge", WordLoader.construct_scalar)


class WordDumper(yaml.SafeDumper):
    """Writes words as WordLoader has read them."""

    def represent_word(self, word: Word) -> yaml.ScalarNode:
        """Without quotes where others would read a number, true or a day."""
        tag = self.resolve(yaml.ScalarNode, str(word), (True, False))
        is_bare = tag in NO_TEXT and ":" not in word  # which needs quotes in a list
        return self.represent_scalar(tag if is_bare else "tag:yaml.org,2002:str", str(word))


WordDumper.add_representer(Word, WordDumper.represent_word)
WordDumper.add_representer(TypedList, WordDumper.represent_list)
WordDumper.add_representer(TypedMapping, WordDumper.represent_dict)


def read_words(text: str) -> object:
    """The mappings, lists and words of a YAML text; YAMLError where it is none."""
    return yaml.load(text, Loader=WordLoader)


def read_value(text: str) -> object:
    """What a word of the command line says: a list or mapping in brackets, or the word itself.

    What is wholly in YAML's quotes is the text in them.
    """
    try:
        content = read_words(text)
    except yaml.YAMLError:
        return Word(text)
    first = text.strip()[:1]
    if first in ("'", '"') and isinstance(content, str):
        return content
    if first not in ("[", "{") or not isinstance(content, dict | list):
        return Word(text)
    value = TypedMapping(content) if isinstance(content, dict) else TypedList(content)
    value.text = text
    return value


def write_words(node: object, *, is_line: bool = False) -> str:
    """The YAML text that `read_words` reads as `node`; is_line: a list or mapping on one line."""
    text: str = yaml.dump(
        node,
        Dumper=WordDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=is_line,
        width=float("inf"),
    )
    return text.removesuffix("...\n")


def with_words(node: object, change: Callable[[Word], object]) -> object:
    """The tree with its words changed, by `str` or `value_of`."""
    if isinstance(node, Mapping):
        return {str(key): with_words(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [with_words(value, change) for value in node]
    return change(node) if isinstance(node, Word) else node


def value_of(word: Word) -> object:
    """What YAML reads in a word; a time such as 1:00:00 is a text, not a number to base 60."""
    try:
        value = yaml.safe_load(word)
    except (yaml.YAMLError, ValueError):
        return str(word)
    return str(word) if isinstance(value, int | float) and ":" in word else value
