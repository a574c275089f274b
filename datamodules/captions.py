"""Captions kept as the six fields of the paper's template: augmentations cannot falsify them.

Words are derived from masks in `descriptors.py`; which pixels those masks hold is decided in
`transforms.py`. Captions that came with the data are read in `released_captions.py`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from datamodules.language.descriptors import DIRECTIONS, SHAPES, SIZES, location_of, morphology_of

NO_DEFECT = "no defect"

_TEMPLATE = re.compile(
    r"(?P<part>.+?) with (?P<defect>.+?)"
    r"(?: located at (?P<location>.+?))?"
    r"(?:, characterized by (?P<morphology>.+?))?"
    r"(?:, potentially caused by (?P<cause>.+?))?\.",
    re.DOTALL,
)
_SHAPE_PHRASE = re.compile(
    rf"(?:a )?(?:{'|'.join(SIZES)}) (?:(?P<direction>{'|'.join(DIRECTIONS)}) )?"
    rf"(?:{'|'.join(SHAPES)}) areas?"
)
_PLACE_WORD = re.compile(
    r"\b(?:left|right|top|bottom|upper|lower|cent(?:er|re|ral)|middle"
    r"|horizontal|vertical|diagonal)(?:most|ly|s)?\b",
    re.IGNORECASE,
)
_SIDES = {"left": "right", "leftmost": "rightmost"}
_HEIGHTS = {"top": "bottom", "upper": "lower", "topmost": "bottommost"}
LEFT_RIGHT = _SIDES | {other: word for word, other in _SIDES.items()}
TOP_BOTTOM = _HEIGHTS | {other: word for word, other in _HEIGHTS.items()}


@dataclass(frozen=True, slots=True)
class Caption:
    """What is said of one image (section 5.1); every field but `product` may be empty.

    `defect` is "" for a good part. Fields are plain phrases without a final full stop, and do not
    hold the template's own joints (" with ", " of " in `material`, ", characterized by ").
    """

    product: str
    material: str = ""
    defect: str = ""
    location: str = ""
    morphology: str = ""
    cause: str = ""

    def render(self) -> str:
        """The caption as one sentence; empty fields are left out (section 5.1).

        Departs from the paper: "of" joins product and material, because without a joint the
        sentence could not be parsed back into its fields.
        """
        part = self.render_part().removesuffix(".")
        if not self.defect:
            return f"{part} with {NO_DEFECT}."
        location = f" located at {self.location}" if self.location else ""
        morphology = f", characterized by {self.morphology}" if self.morphology else ""
        cause = f", potentially caused by {self.cause}" if self.cause else ""
        return f"{part} with {self.defect}{location}{morphology}{cause}."

    def render_part(self) -> str:
        """The part alone, where nothing is known of its defects: "Magnetic tile of ferrite."."""
        part = f"{self.product} of {self.material}" if self.material else self.product
        return f"{part[:1].upper()}{part[1:]}."

    @classmethod
    def parse(cls, text: str) -> "Caption":
        """The fields of a rendered caption; ValueError where it does not follow the template."""
        match = _TEMPLATE.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"caption {text[:60]!r} does not follow the template: expected 'PRODUCT of "
                "MATERIAL with DEFECT located at PLACE, characterized by SHAPE, potentially "
                "caused by CAUSE.'"
            )
        fields = {name: value or "" for name, value in match.groupdict().items()}
        part = fields.pop("part")
        product, joint, material = part.rpartition(" of ")
        if not joint:
            product, material = part, ""
        if fields["defect"] == NO_DEFECT:
            fields["defect"] = ""
        if product[1:2].islower():  # "PCB" and "X-ray panel" keep their capital
            product = product[0].lower() + product[1:]
        return cls(product=product, material=material, **fields)

    def fit(self, count_tokens: Callable[[str], int], limit: int) -> tuple[str, bool]:
        """The caption in at most `limit` tokens, and whether fields were left out for that.

        Cause, shape, place and material go in this order; at the end the defect alone is said.
        ValueError where even its name is too long: it is never dropped and never cut.
        """
        shortened = self
        for field in ("cause", "morphology", "location", "material", ""):
            if count_tokens(shortened.render()) <= limit:
                return shortened.render(), shortened != self
            shortened = replace(shortened, **{field: ""}) if field else shortened
        text = self.defect or NO_DEFECT
        _check_length(text, count_tokens, limit)
        return text, True

    def relocated(self, mask: np.ndarray) -> "Caption":
        """The caption with location and shape words of `mask` (H, W), where non-zero is defect.

        Other phrases of the shape stay unless they tell a place, which no mask can follow. An
        empty mask means that the defect has left the image: a caption of a good part.
        """
        if not self.defect:
            return self
        if not mask.any():
            return Caption(product=self.product, material=self.material)
        measured, rest = self._measured_and_rest()
        shape = morphology_of(mask) if measured else ""
        return replace(self, location=location_of(mask), morphology=_placeless(shape, rest))

    def flipped(self, *, horizontal: bool, vertical: bool) -> "Caption":
        """The caption of the mirrored image: left and right, top and bottom change places."""
        partner = (LEFT_RIGHT if horizontal else {}) | (TOP_BOTTOM if vertical else {})
        location, morphology = (
            re.sub(r"\w+", lambda match: partner.get(match.group(), match.group()), text)
            for text in (self.location, self.morphology)
        )
        return replace(self, location=location, morphology=morphology)

    def without_location(self) -> "Caption":
        """The caption without words of place and direction: those of the shape go too."""
        measured, rest = self._measured_and_rest()
        shape = ""
        if measured:
            direction = measured["direction"]
            shape = measured.group().replace(f"{direction} ", "") if direction else measured.group()
        return replace(self, location="", morphology=_placeless(shape, rest))

    def _measured_and_rest(self) -> tuple[re.Match[str] | None, str]:
        """The shape words that a mask wrote, where there are any, and what follows them."""
        measured = _SHAPE_PHRASE.match(self.morphology)
        return measured, self.morphology[measured.end() :] if measured else self.morphology


def defect_first(
    text: str, names: Sequence[str], *, count_tokens: Callable[[str], int], limit: int
) -> tuple[str, bool]:
    """The free text in at most `limit` tokens, and whether it was cut.

    A text that is too long is cut after a word, with the defect `names` in front: "crack: ...".
    ValueError where the names alone are too long.
    """
    if count_tokens(text) <= limit:
        return text, False
    lead = ", ".join(names)
    _check_length(lead, count_tokens, limit)
    lead = f"{lead}: " if lead else ""
    ends = [0, *(word.end() for word in re.finditer(r"\S+", text))]
    fitting, too_many = 0, len(ends)
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        fits = count_tokens(lead + text[: ends[middle]].lstrip()) <= limit
        fitting, too_many = (middle, too_many) if fits else (fitting, middle)
    return (lead + text[: ends[fitting]].lstrip()).removesuffix(": "), True


def without_places(text: str) -> str:
    """The free text without sentences that tell a place, which a flip, turn or crop falsifies.

    "" where no sentence is left.
    """
    sentences = re.split(r"(?<=[.!?])\s+", text)
    return " ".join(sentence for sentence in sentences if not _PLACE_WORD.search(sentence))


def _check_length(names: str, count_tokens: Callable[[str], int], limit: int) -> None:
    tokens = count_tokens(names)
    if tokens > limit:
        raise ValueError(
            f"the defect {names[:60]!r} takes {tokens} tokens: expected at most the text encoder's "
            f"{limit}; shorten the name or take a text encoder that reads more"
        )


def _placeless(measured: str, text: str) -> str:
    """The words that a mask wrote, then the phrases between commas that tell no place."""
    joined, *phrases = text.split(", ")
    first = measured if _PLACE_WORD.search(joined) else measured + joined
    kept = [phrase for phrase in phrases if not _PLACE_WORD.search(phrase)]
    return ", ".join([first, *kept] if first else kept)
