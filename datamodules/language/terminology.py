"""The controlled vocabulary: one name for each product, material, defect and normal state.

The terms are in `terms.csv`; the classes of one training are in `vocabulary.py`.
"""

import csv
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.vocabulary import GOOD_WORDS, Vocabulary, normalise_name

KINDS = ("defect", "normal", "product", "material")
# Magnetic tiles call their folders MT_Blowhole, MT_Free.
DATASET_PREFIX = "mt "

_BRITISH = {
    "aluminum": "aluminium",
    "center": "centre",
    "color": "colour",
    "fiber": "fibre",
    "gray": "grey",
    "mold": "mould",
}
_EAST_ASIAN = re.compile(r"[\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
# Punctuation is a token of its own: no term reaches over a comma or a full stop. So is each sign
# of a language without blanks.
_TOKEN = re.compile(rf"{_EAST_ASIAN.pattern}|(?:(?!{_EAST_ASIAN.pattern})[^\W_])+|[^\s\w-]")


@dataclass(frozen=True, slots=True)
class Term:
    """A thing that has one canonical name, and what else it is called.

    name: in the spelling of `normalise_name`; forms: its plural, its Chinese and Japanese name;
    labels: spellings that data sets use as a label, but that mean something else in a sentence
    ("open", "center", "can"): never looked for there.
    """

    kind: str
    name: str
    synonyms: tuple[str, ...]
    forms: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The spellings that stand for the term in a sentence, the canonical name first."""
        return (self.name, *self.forms, *self.synonyms)


class Terminology:
    """The terms of a table, found by any of their spellings or in free sentences.

    A word that several kinds know ("copper", "wood") is resolved by `kind`; without one, the first
    of KINDS that knows it decides.
    """

    def __init__(self, terms: tuple[Term, ...]) -> None:
        self.terms = terms
        self._by_key: dict[str, dict[str, Term]] = {}
        # Kind -> first token -> the tokens of all words that begin with it, the longest first.
        self._by_token: dict[str, dict[str, list[tuple[list[str], Term]]]] = {}
        for kind in KINDS:
            ours = [term for term in terms if term.kind == kind]
            words = [(word, term) for term in ours for word in term.words]
            labels = [(word, term) for term in ours for word in term.labels]
            self._by_key[kind] = _spellings([*words, *labels])
            beginnings: dict[str, list[tuple[list[str], Term]]] = {}
            for spelling, term in _spellings(words).items():
                tokens = _TOKEN.findall(spelling)
                beginnings.setdefault(tokens[0], []).append((tokens, term))
            for known in beginnings.values():
                known.sort(key=lambda pair: -len(pair[0]))
            self._by_token[kind] = beginnings

    @classmethod
    @functools.cache
    def load(cls) -> "Terminology":
        """The terms that come with this package, read once in a process."""
        with Path(__file__).with_name("terms.csv").open(encoding="utf-8", newline="") as file:
            return cls(tuple(_term_of(row) for row in csv.DictReader(file)))

    def find(self, text: str, kind: str | None = None) -> Term | None:
        """The term that the whole text names in any spelling or language; None where none does.

        Case, "_", "-", blanks, a final full stop, plurals and British spelling do not matter.
        """
        key = _key(text)
        for known in (self._by_key[one] for one in KINDS if kind in (None, one)):
            for wanted in (key, key.removeprefix(DATASET_PREFIX)):
                if wanted in known:
                    return known[wanted]
        return None

    def normalise(self, text: str, kind: str | None = None) -> str:
        """The canonical name, or the text in the spelling of `normalise_name` when unknown."""
        term = self.find(text, kind)
        return term.name if term else _key(text)

    def mentions(self, text: str, kind: str) -> list[Term]:
        """The terms of a kind that a sentence names, each once, in the order of appearance.

        Whole words in singular or plural; of several readings the leftmost, then the longest
        ("rolled-in scale" is no "scale"). What is denied ("no crack") is mentioned too.
        """
        tokens = _TOKEN.findall(unicodedata.normalize("NFKC", text.lower()))
        found: dict[Term, None] = {}
        place = 0
        while place < len(tokens):
            for words, term in self._by_token[kind].get(tokens[place], ()):
                if tokens[place : place + len(words)] == words:
                    found[term] = None
                    place += len(words) - 1
                    break
            place += 1
        return list(found)

    def vocabulary_of(self, names: Sequence[str]) -> Vocabulary:
        """The classes `names` in their order, each with the synonyms that no other class claims."""
        taken = {*GOOD_WORDS, *(normalise_name(name) for name in names)}
        entries = []
        for name in names:
            term = self.find(name, "defect")
            words = [normalise_name(word) for word in (term.name, *term.synonyms)] if term else []
            own = [word for word in dict.fromkeys(words) if word.isascii() and word not in taken]
            taken.update(own)
            entries.append((name, *own))
        return Vocabulary((GOOD_WORDS, *entries))


def _term_of(row: dict[str, str]) -> Term:
    synonyms, labels = (
        tuple(word.strip() for word in row[column].split(";") if word.strip())
        for column in ("synonyms", "labels")
    )
    forms = (row["plural"], row["chinese"], row["japanese"])
    return Term(row["kind"], row["name"], synonyms, forms, labels)


def _spellings(words: Iterable[tuple[str, Term]]) -> dict[str, Term]:
    """Every spelling of the words; what the table says goes before what is derived here."""
    words = list(words)
    derived = {form: term for word, term in words for form in _derived(_key(word))}
    return derived | {_key(word): term for word, term in words}


def _key(text: str) -> str:
    """The spelling under which a word is looked up."""
    return normalise_name(text).rstrip(".。 ")


def _derived(key: str) -> Iterator[str]:
    """The British spelling of a word and the regular plurals of both; East Asian has no other."""
    if _EAST_ASIAN.search(key):
        return
    british = key
    for american, other in _BRITISH.items():
        british = british.replace(american, other)
    yield british
    if re.search(r"[^s]s$", key):
        return  # a plural already
    for spelling in (key, british):
        if spelling.endswith(("s", "x", "z", "ch", "sh")):
            yield f"{spelling}es"
        elif re.search(r"[^aeiou]y$", spelling):
            yield f"{spelling[:-1]}ies"
        else:
            yield f"{spelling}s"
