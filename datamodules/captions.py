"""Captions kept as the six fields of the paper's template: augmentations cannot falsify them.

Words are derived from masks here; which pixels those masks hold is decided in `transforms.py`.
"""

import re
from dataclasses import dataclass, replace

import cv2
import numpy as np

NO_DEFECT = "no defect"
MOST_OF_THE_SURFACE = "most of the surface"
SEVERAL_PLACES = "several places"

_TEMPLATE = re.compile(
    r"(?P<part>.+?) with (?P<defect>.+?)"
    r"(?: located at (?P<location>.+?))?"
    r"(?:, characterized by (?P<morphology>.+?))?"
    r"(?:, potentially caused by (?P<cause>.+?))?\.",
    re.DOTALL,
)
_SHAPE_PHRASE = re.compile(
    r"(?:a )?(?:small|medium|large) (?:elongated|round|irregular|scattered) areas?"
)
_MIRRORED_PAIRS = {
    "horizontal": [("left", "right")],
    "vertical": [("top", "bottom"), ("upper", "lower")],
}


@dataclass(frozen=True, slots=True)
class Caption:
    """What is said of one picture (section 5.1); every field but `product` may be empty.

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
        part = f"{self.product} of {self.material}" if self.material else self.product
        part = part[:1].upper() + part[1:]
        if not self.defect:
            return f"{part} with {NO_DEFECT}."
        location = f" located at {self.location}" if self.location else ""
        morphology = f", characterized by {self.morphology}" if self.morphology else ""
        cause = f", potentially caused by {self.cause}" if self.cause else ""
        return f"{part} with {self.defect}{location}{morphology}{cause}."

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
        return cls(product=_uncapitalise(product), material=material, **fields)

    def relocated(self, mask: np.ndarray) -> "Caption":
        """The caption with location and shape words of `mask` (H, W), where non-zero is defect.

        An empty mask means that the defect has left the picture: a caption of a good part.
        """
        if not self.defect:
            return self
        if not mask.any():
            return Caption(product=self.product, material=self.material)
        shape = _SHAPE_PHRASE.match(self.morphology)
        morphology = self.morphology
        if shape is not None:
            morphology = morphology_of(mask) + morphology[shape.end() :]
        return replace(self, location=location_of(mask), morphology=morphology)

    def flipped(self, *, horizontal: bool, vertical: bool) -> "Caption":
        """The caption of the mirrored picture: left and right, top and bottom change places."""
        pairs = _MIRRORED_PAIRS["horizontal"] if horizontal else []
        pairs = pairs + (_MIRRORED_PAIRS["vertical"] if vertical else [])
        return replace(
            self,
            location=_swap_words(self.location, pairs),
            morphology=_swap_words(self.morphology, pairs),
        )

    def without_location(self) -> "Caption":
        """The caption without its location words."""
        return replace(self, location="")


def location_of(mask: np.ndarray) -> str:
    """Where the non-zero pixels of `mask` (H, W) lie, in words: "the upper left"; "" for none.

    The picture is cut in thirds both ways and the centroid decides; a mask that covers more than
    half is "most of the surface", apart spots around an empty centroid are "several places".
    """
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return ""
    height, width = mask.shape
    if rows.size > 0.5 * mask.size:
        return MOST_OF_THE_SURFACE
    down = _third((rows.mean() + 0.5) / height)
    across = _third((columns.mean() + 0.5) / width)
    in_cell = (_thirds(rows, height) == down) & (_thirds(columns, width) == across)
    if not in_cell.any() and _component_count(mask) > 1:
        return SEVERAL_PLACES
    if down == 1:
        return ("the left", "the center", "the right")[across]
    if across == 1:
        return "the top" if down == 0 else "the bottom"
    return f"the {('upper', '', 'lower')[down]} {('left', '', 'right')[across]}"


def morphology_of(mask: np.ndarray) -> str:
    """The shape of the non-zero pixels of `mask` (H, W): "a small round area"; "" for none.

    Small is under 1 % of the picture, large over 10 %; scattered has four or more parts;
    elongated is three times as long as wide, by second moments.
    """
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return ""
    share = rows.size / mask.size
    size = "small" if share < 0.01 else "large" if share > 0.1 else "medium"
    if _component_count(mask) >= 4:
        return f"{size} scattered areas"
    # A twelfth is the variance of one pixel's own square: it keeps one-pixel lines finite.
    covariance = np.cov(rows, columns, bias=True) + np.eye(2) / 12
    narrow, wide = np.linalg.eigvalsh(covariance)
    if wide > 9 * narrow:
        return f"a {size} elongated area"
    ellipse_area = 4 * np.pi * np.sqrt(narrow * wide)
    is_round = wide < 2.5 * narrow and rows.size > 0.85 * ellipse_area
    return f"a {size} round area" if is_round else f"a {size} irregular area"


def _component_count(mask: np.ndarray) -> int:
    count, _ = cv2.connectedComponents((mask != 0).astype(np.uint8), connectivity=8)
    return int(count) - 1


def _third(position: float) -> int:
    return 0 if position < 1 / 3 else 2 if position > 2 / 3 else 1


def _thirds(pixels: np.ndarray, length: int) -> np.ndarray:
    positions = (pixels + 0.5) / length
    return np.where(positions < 1 / 3, 0, np.where(positions > 2 / 3, 2, 1))


def _swap_words(text: str, pairs: list[tuple[str, str]]) -> str:
    partner = dict(pairs)
    partner |= {second: first for first, second in pairs}
    return re.sub(r"\w+", lambda match: partner.get(match.group(), match.group()), text)


def _uncapitalise(text: str) -> str:
    # "PCB" and "X-ray panel" keep their capital: only a plain word was capitalised by render.
    return text[0].lower() + text[1:] if text[1:2].islower() else text
