"""Class names, their ids, synonyms and prompts; the grammar of lists of names that users type.

Id 0 is always "good". How prompts become vectors is a net's matter (`nets/text_encoder.py`).
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

GOOD_WORDS = ("good", "no defect", "normal")
DEFECT_TEMPLATES = ("{}", "a {} defect", "a photo of a {} defect.", "a surface with {}.")
GOOD_TEMPLATES = ("{}", "a part without defect")
# What looks like a defect and is none must not be prompted as one.
NEGATIVE_TEMPLATES = ("{}", "a photo of {}.", "a surface with {}.")
NEGATIVE_ID = -1
NEGATION = re.compile(r"\s*not(\s+|$)", re.IGNORECASE)
EXAMPLE = "'crack; scratch, scuff; good; not shadow, dust'"


def normalise_name(text: str) -> str:
    """The name in lower case, with single spaces for "_", "-" and runs of white space."""
    return " ".join(re.sub(r"[_\-]+", " ", text).lower().split())


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

        ";" parts classes and "," synonyms. "good" (or "normal", "no defect") may stand anywhere or
        be left out and always has id 0. A part that begins with "not " holds negatives; a defect
        that is called so is written "not_soldered". ValueError for empty or repeated names, or
        without any defect.
        """
        parts = text.split(";")
        if not parts[-1].strip():  # a ";" at the very end
            parts.pop()
        entries = [split_words(part) for part in parts if not NEGATION.match(part)]
        negated = [split_words(NEGATION.sub("", part, 1)) for part in parts if NEGATION.match(part)]
        if any("" in entry for entry in (*entries, *negated)):
            raise ValueError(f"labels {text!r} hold an empty name: expected {EXAMPLE}")
        good = [entry for entry in entries if set(entry) & set(GOOD_WORDS)]
        defects = [entry for entry in entries if entry not in good]
        if len(good) > 1:
            raise ValueError(f"labels {text!r} name 'good' twice: expected each word once")
        if not defects:
            raise ValueError(f"labels {text!r} name no defect: expected {EXAMPLE}")
        extra = good[0] if good else GOOD_WORDS
        first = ("good", *(word for word in extra if word != "good"))
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


def split_words(part: str) -> tuple[str, ...]:
    """The normalised words of one part of a typed list; "" where a word is missing."""
    return tuple(normalise_name(word) for word in part.split(","))


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
