"""Class names, their ids, synonyms and prompts; the grammar of lists of names that users type.

Id 0 is always "good". How prompts become vectors is a net's matter (`nets/text_encoder.py`).
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

GOOD_WORDS = ("good", "no defect", "normal")
DEFECT_TEMPLATES = ("{}", "a {} defect")
GOOD_TEMPLATES = ("{}", "a part without defect")


def normalise_name(text: str) -> str:
    """The name in lower case, with single spaces for "_", "-" and runs of white space."""
    return " ".join(re.sub(r"[_\-]+", " ", text).lower().split())


@dataclass(frozen=True)
class Vocabulary:
    """The classes in id order: `entries[id]` is the canonical name, then its synonyms.

    Entry 0 stands for "good". Words are normalised; ValueError for an empty or repeated word.
    """

    entries: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        entries = tuple(tuple(normalise_name(word) for word in entry) for entry in self.entries)
        if not entries or not entries[0] or entries[0][0] != "good":
            first = entries[0][:1] if entries else ()
            raise ValueError(f"vocabulary starts with {first}: expected class 0 to be 'good'")
        seen: set[str] = set()
        for word in [word for entry in entries for word in entry or ("",)]:
            if not word:
                raise ValueError(f"vocabulary {entries[1:]} has an empty name: name every class")
            if word in seen:
                raise ValueError(f"vocabulary names {word!r} twice: expected each word once")
            seen.add(word)
        object.__setattr__(self, "entries", entries)

    def __len__(self) -> int:
        """The number of classes with good, K + 1."""
        return len(self.entries)

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
        """The vocabulary of a typed list such as "crack; scratch, scuff; good".

        ";" parts classes and "," synonyms. "good" (or "normal", "no defect") may stand anywhere or
        be left out and always has id 0. ValueError for empty or repeated names, or without any
        defect.
        """
        entries = [
            tuple(normalise_name(word) for word in part.split(",")) for part in text.split(";")
        ]
        if entries[-1] == ("",):  # a ";" at the very end
            entries.pop()
        if any("" in entry for entry in entries):
            raise ValueError(
                f"labels {text!r} hold an empty name: expected 'crack; scratch, scuff'"
            )
        good = [entry for entry in entries if set(entry) & set(GOOD_WORDS)]
        defects = [entry for entry in entries if entry not in good]
        if len(good) > 1:
            raise ValueError(f"labels {text!r} name 'good' twice: expected each word once")
        if not defects:
            raise ValueError(
                f"labels {text!r} name no defect: expected 'crack; scratch, scuff; good'"
            )
        extra = good[0] if good else GOOD_WORDS
        return cls((("good", *(word for word in extra if word != "good")), *defects))

    def prompts(self, class_id: int) -> list[list[str]]:
        """The texts that stand for a class: per synonym, the synonym in each prompt template."""
        templates = GOOD_TEMPLATES if class_id == 0 else DEFECT_TEMPLATES
        return [[form.format(word) for form in templates] for word in self.entries[class_id]]

    def division(self, novel: Sequence[str]) -> tuple["Vocabulary", "Vocabulary"]:
        """The seen and the novel vocabulary, both with good; ValueError for unknown names."""
        novel_ids = {self.id_of(name) for name in novel}
        if 0 in novel_ids:
            raise ValueError("'good' is asked for as a novel class: expected names of defects only")
        classes = list(enumerate(self.entries))[1:]
        seen_entries = tuple(entry for class_id, entry in classes if class_id not in novel_ids)
        novel_entries = tuple(entry for class_id, entry in classes if class_id in novel_ids)
        return Vocabulary((self.entries[0], *seen_entries)), Vocabulary(
            (self.entries[0], *novel_entries)
        )
