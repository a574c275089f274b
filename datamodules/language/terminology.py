"""The controlled vocabulary: one name for each product, material, defect and normal state.

The terms are in `terms.csv`; the classes of one training are in `vocabulary.py`.
"""

import csv
import difflib
import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.vocabulary import GOOD_WORDS, Vocabulary, normalise_name

KINDS = ("defect", "normal", "product", "material")
COLUMNS = ("kind", "name", "synonyms", "plural", "chinese", "japanese", "labels")
# Magnetic tiles call their folders MT_Blowhole, MT_Free.
DATASET_PREFIXES = ("mt ",)

_BRITISH = {
    "aluminum": "aluminium",
    "center": "centre",
    "color": "colour",
    "fiber": "fibre",
    "gray": "grey",
    "mold": "mould",
}
_EAST_ASIAN = r"[\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
_HAS_EAST_ASIAN = re.compile(_EAST_ASIAN)
# Punctuation is a token of its own: no term reaches over a comma or a full stop.
_LATIN_TOKEN = r"[a-z0-9\u00e0-\u024f]+|[^\s\w-]"
_LATIN_TOKENS = re.compile(_LATIN_TOKEN)

# First token -> what may follow it -> the term, the longest first.
_Beginnings = dict[str, list[tuple[tuple[str, ...], "Term"]]]


@dataclass(frozen=True, slots=True)
class Term:
    """A thing that has one canonical name, and what else it is called.

    name: in the spelling of `normalise_name`; labels: spellings that data sets use as a label, but
    that mean something else in a sentence ("open", "center", "can"): never looked for there.
    """

    kind: str
    name: str
    synonyms: tuple[str, ...]
    plural: str
    chinese: str
    japanese: str
    labels: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The spellings that stand for the term in a sentence, the canonical name first."""
        return (self.name, self.plural, *self.synonyms, self.chinese, self.japanese)


class Terminology:
    """The terms of a table, found by any of their spellings or in free sentences.

    A word that several kinds know ("copper", "wood") is resolved by `kind`; without one, the first
    of KINDS that knows it decides.
    """

    def __init__(self, terms: tuple[Term, ...]) -> None:
        self.terms = terms
        self._by_key = {kind: _keys_of(_of_kind(terms, kind)) for kind in KINDS}
        self._beginnings = {kind: _beginnings_of(_of_kind(terms, kind)) for kind in KINDS}
        self._tokens = {kind: _token_pattern(_of_kind(terms, kind)) for kind in KINDS}

    @classmethod
    @functools.cache
    def load(cls) -> "Terminology":
        """The terms that come with this package, read once in a process."""
        return cls.read(Path(__file__).with_name("terms.csv"))

    @classmethod
    def read(cls, path: Path) -> "Terminology":
        """The terms of a CSV file with the columns COLUMNS, UTF-8, ";" between synonyms.

        Raises FileNotFoundError, and ValueError with file and line for a wrong header or row, a
        name not normalised, and a spelling that two terms of one kind share.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"terms {path} are missing: expected a CSV file of {COLUMNS}")
        owners: dict[tuple[str, str], tuple[Term, int]] = {}
        terms = []
        for line, term in _read_terms(path):
            for word in (*term.words, *term.labels):
                owner, owner_line = owners.setdefault((term.kind, _key(word)), (term, line))
                if owner is not term:
                    raise ValueError(
                        f"{path} line {line}: {term.kind} {term.name!r} is also called {word!r}, "
                        f"which line {owner_line} gives to {owner.name!r}: leave it to one of them"
                    )
            terms.append(term)
        return cls(tuple(terms))

    def find(self, text: str, kind: str | None = None) -> Term | None:
        """The term that the whole text names in any spelling or language; None where none does.

        Case, "_", "-", blanks, a final full stop, plurals and British spelling do not matter.
        """
        key = _key(text)
        keys = [key, *(key.removeprefix(p) for p in DATASET_PREFIXES if key.startswith(p))]
        for known in self._known(kind):
            for wanted in keys:
                if wanted in known:
                    return known[wanted]
        return None

    def normalise(self, text: str, kind: str | None = None) -> str:
        """The canonical name, or the text in the spelling of `normalise_name` when unknown."""
        term = self.find(text, kind)
        return term.name if term else _key(text)

    def is_known(self, text: str) -> bool:
        """Whether the text names a term of any kind."""
        return self.find(text) is not None

    def nearest(self, text: str, count: int = 3) -> list[str]:
        """Up to `count` canonical names whose spellings are most like the text, for messages."""
        known: dict[str, Term] = {}
        for kind in KINDS:
            known = {**self._by_key[kind], **known}
        # Several spellings of one term may be close: look at more of them than names are wanted.
        close = difflib.get_close_matches(_key(text), known, n=4 * count, cutoff=0.5)
        return list(dict.fromkeys(known[word].name for word in close))[:count]

    def mentions(self, text: str, kind: str) -> list[Term]:
        """The terms of a kind that a sentence names, each once, in the order of appearance.

        Whole words in singular or plural; of several readings the leftmost, then the longest
        ("rolled-in scale" is no "scale"). What is denied ("no crack") is mentioned too.
        """
        self._check_kind(kind)
        text, pattern = text.lower(), _LATIN_TOKENS
        if not text.isascii():
            text = unicodedata.normalize("NFKC", text)
            pattern = self._tokens[kind] if _HAS_EAST_ASIAN.search(text) else _LATIN_TOKENS
        tokens = pattern.findall(text)
        beginnings = self._beginnings[kind]
        found: dict[Term, None] = {}
        end = 0
        for place in [place for place, token in enumerate(tokens) if token in beginnings]:
            if place < end:
                continue
            for rest, term in beginnings[tokens[place]]:
                last = place + 1 + len(rest)
                if not rest or tuple(tokens[place + 1 : last]) == rest:
                    found[term] = None
                    end = last
                    break
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

    def _known(self, kind: str | None) -> list[dict[str, Term]]:
        if kind is None:
            return list(self._by_key.values())
        self._check_kind(kind)
        return [self._by_key[kind]]

    def _check_kind(self, kind: str) -> None:
        if kind not in self._by_key:
            raise ValueError(f"terms of kind {kind!r} are asked for: expected one of {KINDS}")


def _key(text: str) -> str:
    """The spelling under which a word is looked up; full-width signs become plain ones."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return normalise_name(text).rstrip(".。 ")


def _of_kind(terms: tuple[Term, ...], kind: str) -> list[Term]:
    return [term for term in terms if term.kind == kind]


def _keys_of(terms: list[Term]) -> dict[str, Term]:
    """Every spelling of the terms; what the table says goes before what is derived here."""
    told = {_key(word): term for term in terms for word in (*term.words, *term.labels)}
    derived = {
        form: term
        for term in terms
        for word in (*term.words, *term.labels)
        for form in _forms(word)
    }
    return {**derived, **told}


def _forms(word: str) -> Iterator[str]:
    """A word, its regular plural and their British spellings; East Asian words have one form."""
    key = _key(word)
    yield key
    if _HAS_EAST_ASIAN.search(key):
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


def _beginnings_of(terms: list[Term]) -> _Beginnings:
    """The words of sentences by their first token."""
    known = {form: term for term in terms for word in term.words for form in _forms(word)}
    known |= {_key(word): term for term in terms for word in term.words}
    beginnings: _Beginnings = {}
    for form, term in known.items():
        is_east_asian = _HAS_EAST_ASIAN.search(form)
        first, *rest = [form] if is_east_asian else _LATIN_TOKENS.findall(form)
        beginnings.setdefault(first, []).append((tuple(rest), term))
    for followers in beginnings.values():
        followers.sort(key=lambda follower: -len(follower[0]))
    return beginnings


def _token_pattern(terms: list[Term]) -> re.Pattern[str]:
    """Tokens of a text without blanks: the East Asian names of a kind, the longest first."""
    names = {_key(word) for term in terms for word in term.words if _HAS_EAST_ASIAN.search(word)}
    listed = sorted(names, key=lambda name: (-len(name), name))
    return re.compile("|".join([*map(re.escape, listed), _LATIN_TOKEN]))


def _read_terms(path: Path) -> Iterator[tuple[int, Term]]:
    """The terms of a file with the numbers of their lines, checked one by one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"terms {path} are not UTF-8 at byte {error.start}: save as UTF-8"
        ) from error
    table = csv.reader(lines)
    header = next(table, [])
    if tuple(header) != COLUMNS:
        raise ValueError(f"{path} line 1: header is {header}, expected {','.join(COLUMNS)}")
    for line, cells in enumerate(table, start=2):
        cells = [cell.strip() for cell in cells]
        place = f"{path} line {line}"
        if len(cells) != len(COLUMNS):
            raise ValueError(f"{place}: {len(cells)} cells, expected {len(COLUMNS)}: {cells[:2]}")
        kind, name, synonyms, plural, chinese, japanese, labels = cells
        if kind not in KINDS:
            raise ValueError(f"{place}: kind is {kind!r}, expected one of {', '.join(KINDS)}")
        if not all((name, plural, chinese, japanese)):
            raise ValueError(f"{place}: {name!r} lacks its name, plural, Chinese or Japanese name")
        if name != _key(name):
            raise ValueError(f"{place}: name is {name!r}, expected its spelling {_key(name)!r}")
        yield (
            line,
            Term(kind, name, _listed(synonyms), plural, chinese, japanese, _listed(labels)),
        )


def _listed(cell: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in cell.split(";") if word.strip())
