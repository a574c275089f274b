"""Class names, their ids, synonyms and prompts; the grammar of lists of names that users type.

Id 0 is always "good". How prompts become vectors is a net's matter (`nets/text_encoder.py`).
"""

import csv
import difflib
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

GOOD_WORDS = ("good", "no defect", "normal")
DEFECT_TEMPLATES = ("{}", "a {} defect", "a photo of a {} defect.", "a surface with {}.")
GOOD_TEMPLATES = ("{}", "a part without defect")
# What looks like a defect and is none must not be prompted as one.
NEGATIVE_TEMPLATES = ("{}", "a photo of {}.", "a surface with {}.")
NEGATIVE_ID = -1
NEGATION = re.compile(r"\s*not(\s+|$)", re.IGNORECASE)
EXAMPLE = "'crack; scratch, scuff; good; not shadow, dust'"
# What parts classes and synonyms in a typed list, in any width.
CLASS_MARK, WORD_MARK = re.compile("[;\uff1b]"), re.compile("[,\uff0c\u3001]")
TERMS_FILE = Path(__file__).parent / "language/terms.csv"
# What tools call pixels that nobody should count.
IGNORED_NAMES = (
    *("ignore", "ignored", "ignore region", "void", "unlabeled", "unlabelled"),
    *("don't care", "dont care", "dontcare"),
)
# "_", every dash, what parts names in a typed list, and what no eye sees: variation selectors
# beside the formatting signs.
_JOINTS = re.compile("[_\\-\u2010-\u2015\u2212,;\u3001]+")
_SELECTORS = re.compile("[\ufe00-\ufe0f]")


def normalise_name(text: str) -> str:
    """The one spelling in which names are shown and compared, "" where nothing is left to see.

    Unicode's compatible form (full width becomes plain, ligatures letters) in lower case, with
    single spaces for "_", dashes, commas, semicolons and white space of any kind, without invisible
    signs: each name can be typed in a list. Lower, not folded case: "Riß" stays one word, and no
    "riss".
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    seen = (sign for sign in _SELECTORS.sub("", plain) if unicodedata.category(sign) != "Cf")
    return " ".join(_JOINTS.sub(" ", "".join(seen)).split())


@functools.cache
def good_names() -> frozenset[str]:
    """Every name of the normal state in the controlled vocabulary: "pass", "defect free", ..."""
    with TERMS_FILE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.pop("kind") == "normal"]
    words = (word for row in rows for cell in row.values() for word in cell.split(";"))
    return frozenset(map(normalise_name, words)) - {""}


def defect_name(text: str) -> str:
    """The normalised name of a type or of its folder, "" for one that means good.

    Raises ValueError where nothing is left of it, and for what tools call pixels to leave out.
    """
    name = normalise_name(text)
    if not name:
        raise ValueError(f"type {text!r} has no letter, digit or sign: give it a name")
    if name.replace("\u2019", "'") in IGNORED_NAMES:
        raise ValueError(
            f"type {text!r} is a tool's word for what is to be left out, which masks can't say "
            "here: remove its regions or images, or call it by a defect's name"
        )
    return "" if name in good_names() else name


@dataclass
class TypeNames:
    """Reads the names of a set's types, and remembers what became one name that was typed as two.

    spellings: normalised name -> how often it was typed in which spelling; shared: names that
    several classes of one list have.
    """

    spellings: dict[str, Counter[str]] = field(default_factory=dict, repr=False)
    shared: set[str] = field(default_factory=set, repr=False)

    def read(self, text: str) -> str:
        """As `defect_name`."""
        name = defect_name(text)
        self.spell(name, text)
        return name

    def spell(self, name: str, text: str) -> None:
        """Remembers that `text` became `name`."""
        self.spellings.setdefault(name, Counter())[text.strip()] += 1

    def compare(self, listed: Iterable[str]) -> None:
        """Remembers the names that several of the listed classes have."""
        counts = Counter(map(normalise_name, listed))
        self.shared |= {name for name, count in counts.items() if count > 1}

    def notes(self) -> Counter[str]:
        """Which spellings are one type, and which words but "good" were read as good."""
        notes = Counter(f"several classes of one list are {name!r}" for name in self.shared)
        for name, spelt in self.spellings.items():
            if not name:
                others = {word: n for word, n in spelt.items() if normalise_name(word) != "good"}
                notes.update({f"{word!r} was read as good": n for word, n in others.items()})
            elif len(spelt) > 1:
                notes[f"{' and '.join(map(repr, sorted(spelt)))} are one type, {name!r}"] += 1
        return notes


@dataclass(frozen=True)
class Vocabulary:
    """The classes in id order: `entries[id]` is the canonical name, then its synonyms.

    Entry 0 stands for "good". `negatives` are words for what looks like a defect and is none: they
    speak for class 0 and are never an answer. Words are normalised; ValueError for an empty or
    repeated word.
    """

    entries: tuple[tuple[str, ...], ...]
    negatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        entries = tuple(tuple(normalise_name(word) for word in entry) for entry in self.entries)
        if not entries or not entries[0] or entries[0][0] != "good":
            first = entries[0][:1] if entries else ()
            raise ValueError(f"vocabulary starts with {first}: expected class 0 to be 'good'")
        negatives = tuple(normalise_name(word) for word in self.negatives)
        seen: set[str] = set()
        for word in [*(word for entry in entries for word in entry or ("",)), *negatives]:
            if not word:
                raise ValueError(f"vocabulary {entries[1:]} has an empty name: name every class")
            if word in seen:
                raise ValueError(f"vocabulary names {word!r} twice: expected each word once")
            seen.add(word)
        object.__setattr__(self, "entries", entries)
        object.__setattr__(self, "negatives", negatives)

    def __len__(self) -> int:
        """The number of classes with good, K + 1."""
        return len(self.entries)

    @property
    def words(self) -> frozenset[str]:
        """All names and synonyms, those of good too."""
        return frozenset(word for entry in self.entries for word in entry)

    @property
    def names(self) -> tuple[str, ...]:
        """The canonical names in id order; the first is "good"."""
        return tuple(entry[0] for entry in self.entries)

    def id_of(self, word: str) -> int:
        """The class id of a canonical name or synonym; ValueError with the nearest known words."""
        wanted = normalise_name(word)
        for class_id, entry in enumerate(self.entries):
            if wanted in entry:
                return class_id
        known = [known_word for entry in self.entries for known_word in entry]
        nearest = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(nearest)}?" if nearest else f"known: {', '.join(known)}"
        raise ValueError(f"class {word!r} is not in the vocabulary: {hint}")

    @classmethod
    def from_names(cls, names: Sequence[str]) -> "Vocabulary":
        """The vocabulary of defect `names` (without good) in the order given."""
        return cls((GOOD_WORDS, *((name,) for name in names)))

    @classmethod
    def parse(cls, text: str) -> "Vocabulary":
        """The vocabulary of a typed list such as "crack; scratch, scuff; good; not shadow, dust".

        ";" parts classes and "," synonyms. What means good ("ok", "defect free") may stand anywhere
        or be left out, which is the same as "good" alone, and always has id 0. A part that begins
        with "not " holds negatives; a defect that is called so is written "not_soldered".
        ValueError for empty or repeated names, or without any defect.
        """
        parts = CLASS_MARK.split(text)
        if not parts[-1].strip():  # a ";" at the very end
            parts.pop()
        entries = [split_words(part) for part in parts if not NEGATION.match(part)]
        negated = [split_words(NEGATION.sub("", part, 1)) for part in parts if NEGATION.match(part)]
        if any("" in entry for entry in (*entries, *negated)):
            raise ValueError(f"labels {text!r} hold an empty name: expected {EXAMPLE}")
        good = [entry for entry in entries if set(entry) & good_names()]
        defects = [entry for entry in entries if entry not in good]
        if not defects:
            raise ValueError(f"labels {text!r} name no defect: expected {EXAMPLE}")
        said = [word for entry in good for word in entry]
        extra = [*GOOD_WORDS] if said in ([], ["good"]) else said
        if "good" in extra:
            extra.remove("good")  # once: a second one is refused as any repeated word is
        first = ("good", *extra)
        return cls((first, *defects), tuple(word for words in negated for word in words))

    def with_words(self, text: str) -> "Vocabulary":
        """This vocabulary with the words of a typed list added to the classes that they speak of.

        Each part of "crack, fissure; scratch" holds a word that is known already; ValueError,
        with the nearest known ones, for a part without.
        """
        given = Vocabulary.parse(text)
        entries = list(self.entries)
        for words in given.entries:
            known = [word for word in words if word in self.words]
            class_id = self.id_of(known[0] if known else words[0])
            entries[class_id] = tuple(dict.fromkeys((*entries[class_id], *words)))
        return Vocabulary(tuple(entries), (*self.negatives, *given.negatives))

    def prompts(
        self, class_id: int, templates: Sequence[str] = DEFECT_TEMPLATES
    ) -> list[list[str]]:
        """The texts that stand for a class: per synonym, the synonym in each prompt template.

        templates: of defects, ValueError for one without a place for the name; "good" has its
        own, which say that there is none.
        """
        check_templates(templates)
        return fill(GOOD_TEMPLATES if class_id == 0 else templates, self.entries[class_id])

    def owned_prompts(
        self, templates: Sequence[str] = DEFECT_TEMPLATES
    ) -> list[tuple[int, list[str]]]:
        """Per word, its class id and its texts, as `prompts`; negatives come last, NEGATIVE_ID."""
        ids = range(len(self))
        owned = [(class_id, row) for class_id in ids for row in self.prompts(class_id, templates)]
        negatives = fill(NEGATIVE_TEMPLATES, self.negatives)
        return owned + [(NEGATIVE_ID, row) for row in negatives]

    def division(self, novel: Sequence[str]) -> tuple["Vocabulary", "Vocabulary"]:
        """The seen and the novel vocabulary, both with good; ValueError for unknown names."""
        novel_ids = {self.id_of(name) for name in novel}
        if 0 in novel_ids:
            raise ValueError("'good' is asked for as a novel class: expected names of defects only")
        classes = list(enumerate(self.entries))[1:]
        seen_entries = tuple(entry for class_id, entry in classes if class_id not in novel_ids)
        novel_entries = tuple(entry for class_id, entry in classes if class_id in novel_ids)
        return (
            Vocabulary((self.entries[0], *seen_entries), self.negatives),
            Vocabulary((self.entries[0], *novel_entries), self.negatives),
        )


def as_typed(word: str) -> str:
    """A defect's name as it must be typed in a list, where "not soldered" would be a negative."""
    return word.replace(" ", "_", 1) if NEGATION.match(word) else word


def split_words(part: str) -> tuple[str, ...]:
    """The normalised words of one part of a typed list; "" where a word is missing."""
    return tuple(normalise_name(word) for word in WORD_MARK.split(part))


def check_templates(templates: Sequence[str]) -> None:
    """ValueError unless there are templates, and each has one "{}" for the name."""
    for template in templates or ("",):
        if template.count("{}") != 1:
            raise ValueError(
                f"prompt template {template!r} has {template.count('{}')} places for the name: "
                "expected one {}, as in 'a photo of a {} defect.'"
            )


def fill(templates: Sequence[str], words: Sequence[str]) -> list[list[str]]:
    """Per word, the word in each template."""
    return [[template.replace("{}", word) for template in templates] for word in words]
