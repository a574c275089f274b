"""At which scores a model speaks up: thresholds by the names of types, and when a person looks.

How they are chosen is in `metrics/calibration.py`; what they do to scores in `post_processing.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

VERSION = 2


@dataclass(frozen=True, slots=True)
class TypeThresholds:
    """pixel: the score at which a mask of the type begins; alarm: what its peak must reach.

    Both in [0, 1], ValueError otherwise. An alarm under `pixel` changes nothing.
    """

    pixel: float = 0.5
    alarm: float = 0.0

    def __post_init__(self) -> None:
        check_threshold("pixel", self.pixel)
        check_threshold("alarm", self.alarm)


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """The thresholds of one model.

    default: of names that were never calibrated; by_name: of those that were. image: the image
    score from which the answer is a defect. A score from `review_low` up to, but without,
    `review_high` is for a person to judge; None: the image threshold, so that no score is.
    naming: what a name's score was when they were chosen (`naming.py`), "" where nobody said.
    Raises ValueError for a number outside [0, 1] or a band that leaves the threshold out.
    """

    default: TypeThresholds = field(default_factory=TypeThresholds)
    image: float = 0.5
    review_low: float | None = None
    review_high: float | None = None
    by_name: Mapping[str, TypeThresholds] = field(default_factory=dict)
    naming: str = ""

    def __post_init__(self) -> None:
        check_threshold("image", self.image)
        low, high = self.review_band
        check_threshold("review_low", low)
        check_threshold("review_high", high)
        if not low <= self.image <= high:
            raise ValueError(
                f"the review band is {low} to {high}: expected the image threshold {self.image} "
                "in it"
            )

    @property
    def review_band(self) -> tuple[float, float]:
        """The lowest score that a person judges, and the lowest one above that nobody need."""
        low = self.image if self.review_low is None else self.review_low
        return low, self.image if self.review_high is None else self.review_high

    def of_entry(self, words: Sequence[str]) -> TypeThresholds | None:
        """The thresholds of the first of a class's words that was calibrated; None for none."""
        return next((self.by_name[word] for word in words if word in self.by_name), None)

    def needs_review(self, image_score: float) -> bool:
        """Whether the score is too close to call."""
        low, high = self.review_band
        return low <= image_score < high


def parse_operating_points(content: object) -> OperatingPoints:
    """The thresholds in what a thresholds.json holds, its figures left aside.

    The first version had two numbers for all types. ValueError for anything else.
    """
    node = _mapping(content, "the file")
    if "version" not in node and "pixel_threshold" in node:
        pixel = _number(node, "pixel_threshold")
        return OperatingPoints(TypeThresholds(pixel), _number(node, "image_threshold"))
    if node.get("version") != VERSION:
        raise ValueError(f"got version {node.get('version')!r}, expected {VERSION}")
    image = _mapping(node.get("image"), "image")
    return OperatingPoints(
        default=_thresholds(node.get("default"), "default"),
        image=_number(image, "threshold"),
        review_low=_number(image, "review_low"),
        review_high=_number(image, "review_high"),
        by_name={
            str(name): _thresholds(one, str(name))
            for name, one in _mapping(node.get("types"), "types").items()
        },
        naming=str(node.get("naming", "")),
    )


def check_threshold(name: str, value: float) -> None:
    """ValueError unless the threshold is a number in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} threshold is {value}: expected a number in [0, 1]")


def _thresholds(content: object, name: str) -> TypeThresholds:
    node = _mapping(content, name)
    return TypeThresholds(_number(node, "pixel_threshold"), _number(node, "alarm_threshold"))


def _mapping(content: object, name: str) -> Mapping[object, object]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{name} is {type(content).__name__}, expected keys and values")
    return content


def _number(node: Mapping[object, object], key: str) -> float:
    value = node.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is {value!r}, expected a number")
    return float(value)
