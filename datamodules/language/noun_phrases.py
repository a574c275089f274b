"""What a caption says is in the image, as phrases: the pseudo-labels of training by captions.

A small chunker over our own terms, without a tagger: between words that cannot stand inside a
noun phrase, what holds a known defect, product or material, or the word for a shape, is one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from datamodules.auditing.caption_audit import asserted
from datamodules.auditing.caption_phrases import VAGUE
from datamodules.language.terminology import Term, Terminology
from datamodules.vocabulary import Vocabulary

LONGEST_PHRASE_WORDS = 5
KEPT_CAPTIONS = 10_000
# Articles, prepositions, conjunctions, pronouns and the verbs of captions part phrases. The joints
# of `captions.py` are made of them.
_PARTING_WORDS = """
a an the this that these those its their his her such some any each every all both several many
one two three four another other various
of with on in at by from to into onto over under along across around near within inside outside
between through throughout for as than like about above below beneath behind beyond against during
and or but nor so yet if while where which who whose when because since though although however also
it they there here what not no without only just very more most less least often usually typically
commonly generally clearly visibly primarily potentially possibly likely particularly especially
is are was were be been being has have had having do does did can could may might must should will
would show shows showing shown exhibit exhibits exhibiting depict depicts depicting display
displays displaying displayed feature features featuring contain contains containing include
includes including appear appears appearing indicate indicates indicating suggest suggests
suggesting affect affects affecting capture captures capturing reveal reveals revealing present
presents cause causes causing caused result results resulting lead leads leading refer refers
located characterized covering covers covered known observed seen found used made suffer suffers
suffering highlight highlights highlighting showcase showcases showcasing mark marked
image picture photo photograph view close-up
"""
_PARTING = frozenset(_PARTING_WORDS.split())
_PLACE = re.compile(
    r"\blocated at [^.,;:]*|\b(?:at|in|on|to|near) the [\w\s-]*?"
    r"\b(?:left|right|top|bottom|cent(?:er|re)|middle)\b(?: (?:corner|edge|side|part|half)\b)?",
    re.IGNORECASE,
)
_PIECE = re.compile(r"[^.,;:!?()\"“”]+")
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_SHAPE_HEADS = frozenset({"area", "areas", "region", "regions"})


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of one caption, each once: of defects, the canonical names first, and others."""

    defects: tuple[str, ...]
    others: tuple[str, ...]


class NounPhrases:
    """Finds phrases by the terms of this package and the words of a vocabulary's defects."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        classes = tuple(
            Term("defect", name, tuple(synonyms)) for name, *synonyms in vocabulary.entries[1:]
        )
        # The later term has a spelling that both know: the data's own names win.
        self.terms = Terminology(Terminology.load().terms + classes)
        self.of = lru_cache(KEPT_CAPTIONS)(self._find)

    def _find(self, caption: str) -> Phrases:
        """The phrases of a caption, without what it denies, causes, effects and places."""
        text = _PLACE.sub(",", asserted(caption))
        defects = [term.name for term in self.terms.mentions(text, "defect")]
        others: list[str] = []
        for chunk in chunks(text):
            known = self.terms.find(chunk, "defect")
            if known or self.terms.mentions(chunk, "defect"):
                defects.append(known.name if known else chunk)
            elif chunk.split()[-1] in _SHAPE_HEADS or self._names_a_thing(chunk):
                others.append(chunk)
        # "A defect" is worth a word only where nothing better is said.
        telling = [phrase for phrase in defects if not self._is_vague(phrase)]
        return Phrases(tuple(dict.fromkeys(telling or defects)), tuple(dict.fromkeys(others)))

    def _is_vague(self, phrase: str) -> bool:
        return all(term.name in VAGUE for term in self.terms.mentions(phrase, "defect"))

    def _names_a_thing(self, chunk: str) -> bool:
        return any(self.terms.mentions(chunk, kind) for kind in ("product", "material"))


def chunks(text: str) -> Iterator[str]:
    """The runs of words that nothing parts, in lower case: adjectives stay with their noun.

    Of a long run the last words are kept, where the noun is.
    """
    for piece in _PIECE.findall(text.lower()):
        run: list[str] = []
        for word in [*_WORD.findall(piece), "of"]:
            if word not in _PARTING:
                run.append(word)
            elif run:
                yield " ".join(run[-LONGEST_PHRASE_WORDS:])
                run = []
