"""The one way from scores to a Prediction, and the thresholds it goes by; test, predict and export
all go through it.

Tiles are joined to scores of a whole image before, in `tiling.py`; how thresholds are chosen is in
`metrics/calibration.py`, their file in `experiments/thresholds.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from datamodules.sample import GOOD_ID, VOTE_POWER, Instance, Prediction

VERSION = 2
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)
OLD_BUFFERS = ("pixel_threshold", "image_threshold")


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
    """The thresholds of one model, by the names of types.

    default: of names that were never calibrated; by_name: of those that were. image: the image
    score from which the answer is a defect. A score from `review_low` up to, but without,
    `review_high` is for a person to judge; None: the image threshold, so that no score is.
    naming: what a name's score was when they were chosen (`naming.py`), "" where nobody said.
    names_right: how often a region of a type that training knew votes for its name.
    Raises ValueError for a number outside [0, 1] or a band that leaves the threshold out.
    """

    default: TypeThresholds = field(default_factory=TypeThresholds)
    image: float = 0.5
    review_low: float | None = None
    review_high: float | None = None
    by_name: Mapping[str, TypeThresholds] = field(default_factory=dict)
    naming: str = ""
    names_right: float = 0.5

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

    def of_class(self, words: Sequence[str]) -> TypeThresholds:
        """The thresholds of the first of a class's words that was calibrated, or the default."""
        calibrated = (self.by_name[word] for word in words if word in self.by_name)
        return next(calibrated, self.default)

    def needs_review(self, image_score: float) -> bool:
        """Whether the score is too close to call; a band up to 1 holds 1 as well."""
        low, high = self.review_band
        return low <= image_score < high or low < high == image_score == 1.0


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
    image, types = _mapping(node.get("image"), "image"), _mapping(node.get("types"), "types")
    return OperatingPoints(
        default=_thresholds(node.get("default"), "default"),
        image=_number(image, "threshold"),
        review_low=_number(image, "review_low"),
        review_high=_number(image, "review_high"),
        by_name={str(name): _thresholds(one, str(name)) for name, one in types.items()},
        naming=str(node.get("naming", "")),
        names_right=_names_right(types),
    )


def _names_right(types: Mapping[object, object]) -> float:
    """The mean over types of how often they are named right, half where nobody has measured it.

    With a hit and a miss more than were counted: a few images prove little.
    """
    counts = [_mapping(one, str(name)).get("named") for name, one in types.items()]
    nodes = [_mapping(one, "named") for one in counts if one is not None]
    shares = [(_number(one, "hits") + 1) / (_number(one, "of") + 2) for one in nodes]
    return sum(shares) / len(shares) if shares else 0.5


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


@dataclass(slots=True)
class ImageScores:
    """Scores of one whole image, at the image's own size.

    anomaly_map: (H, W) in [0, 1], the best defect type's score; type_map: (H, W) int64, which type
    that is, 1..K; type_scores: (K+1,) scores of good and each type, summing to one.
    """

    anomaly_map: Tensor
    type_map: Tensor
    type_scores: Tensor


class PostProcessing(nn.Module):
    """Turns ImageScores into a Prediction by `points`, which the vocabulary's words pick from.

    min_area_px: smaller regions are dropped; max_instances: best ones listed. entries: the
    words of each class, good first; thresholds of other classes are the default ones. peak_share:
    of the anomaly map's peak in the image score; extent_share: of the peak of what touches, which a
    region's pixels must reach beside their threshold.
    """

    def __init__(
        self,
        min_area_px: int = 9,
        *,
        max_instances: int = 100,
        points: OperatingPoints | None = None,
        peak_share: float = 0.5,
        extent_share: float = 0.0,
    ) -> None:
        super().__init__()
        self.min_area_px, self.max_instances = min_area_px, max_instances
        self.peak_share, self.extent_share = peak_share, extent_share
        self.points = points or OperatingPoints()
        self.entries: tuple[tuple[str, ...], ...] = ()
        self.register_load_state_dict_pre_hook(drop_old_buffers)

    def calibrate(self, points: OperatingPoints) -> None:
        """Answers by these thresholds from now on."""
        self.points = points

    def forward(self, scores: ImageScores) -> Prediction:
        """The image's labels, instances and answer, all from the same regions (`name_regions`).

        The image score is `1 - type_scores[good]` and, by `peak_share`, the peak of the anomaly
        map: the first sees the whole image, the second small defects. From its threshold on the
        answer is the name whose regions hold most of the anomaly map, without a region the best
        type score's. Instances come best first. Beside the scores the image keeps 8 bytes per pixel
        for its labels and one for each instance that is listed.
        """
        anomaly_map, type_map = scores.anomaly_map, scores.type_map
        defective = 1.0 - scores.type_scores[GOOD_ID]
        image_score = float(
            (1.0 - self.peak_share) * defective + self.peak_share * anomaly_map.max()
        )
        count = len(scores.type_scores)
        entries = (*self.entries, *[()] * count)[:count]
        found = name_regions(
            anomaly_map.detach().float().cpu().numpy(),
            type_map.cpu().numpy(),
            thresholds=[self.points.of_class(words) for words in entries],
            min_area_px=self.min_area_px,
            extent_share=self.extent_share,
        )
        labels, held = np.zeros(anomaly_map.shape, dtype=np.int64), torch.zeros(count)
        for region in found:
            labels[region.window][region.inside] = region.class_id
            held[region.class_id] += region.score * int(region.inside.sum())
        names = held if found else scores.type_scores
        is_defective = image_score >= self.points.image
        return Prediction(
            label_map=torch.from_numpy(labels).to(type_map.device),
            anomaly_map=anomaly_map,
            image_score=image_score,
            type_scores=scores.type_scores,
            type_id=1 + int(names[1:].argmax()) if is_defective else GOOD_ID,
            type_map=type_map,
            instances=[one.instance(labels.shape) for one in found[: self.max_instances]],
            needs_review=self.points.needs_review(image_score),
        )


def drop_old_buffers(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Leaves the two thresholds aside that checkpoints held before thresholds.json held all."""
    for name in OLD_BUFFERS:
        state.pop(prefix + name, None)


@dataclass(frozen=True, slots=True)
class NamedRegion:
    """One defect: inside (h, w) bool, in a window (rows, columns) of the image.

    score: mean of the anomaly map; runners_up: as in Instance.
    """

    class_id: int
    score: float
    window: tuple[slice, slice]
    inside: np.ndarray
    runners_up: tuple[tuple[int, float], ...]

    def instance(self, size_px: tuple[int, ...]) -> Instance:
        """The region with a mask of the image's size, on the CPU."""
        mask = np.zeros(size_px, dtype=bool)
        mask[self.window] = self.inside
        y, x = self.window
        box = (x.start, y.start, x.stop - x.start, y.stop - y.start)
        return Instance(self.class_id, self.score, torch.from_numpy(mask), box, self.runners_up)


def name_regions(
    anomaly_map: np.ndarray,
    type_map: np.ndarray,
    *,
    thresholds: Sequence[TypeThresholds],
    min_area_px: int,
    extent_share: float = 0.0,
) -> list[NamedRegion]:
    """The defects of an image, each with one name, best score first.

    anomaly_map: (H, W); type_map: (H, W) int64 in 1..K; thresholds: one per class. Pixels that
    reach the pixel threshold of their best type and touch, corners too, are named together, then
    cut to those that reach the threshold of that name: what is under it was marked by another's;
    and to those that reach `extent_share` of their peak.
    What is left in one piece is a region; it stays where its peak reaches the name's alarm.
    """
    begins = np.array([one.pixel for one in thresholds], dtype=np.float32)
    found = []
    for window, touching in touching_pixels(anomaly_map >= begins[type_map]):
        scores, types = anomaly_map[window], type_map[window]
        class_id, runners_up = vote(types[touching], scores[touching])
        begin = max(begins[class_id], extent_share * scores[touching].max())
        for part, inside in touching_pixels(touching & (scores >= begin)):
            own, alarm = scores[part][inside], np.float32(thresholds[class_id].alarm)
            if len(own) >= min_area_px and own.max() >= alarm:
                rows, columns = (
                    slice(outer.start + inner.start, outer.start + inner.stop)
                    for outer, inner in zip(window, part, strict=True)
                )
                score = float(own.mean())
                region = NamedRegion(class_id, score, (rows, columns), inside, runners_up)
                found.append(region)
    return sorted(found, key=lambda one: one.score, reverse=True)


def touching_pixels(marked: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Window and (h, w) bool pixels in it of each 8-connected component of marked (H, W) bool."""
    places, _ = ndimage.label(marked, structure=EIGHT_NEIGHBOURS)
    for index, window in enumerate(ndimage.find_objects(places), start=1):
        yield window, places[window] == index


def vote(types: np.ndarray, scores: np.ndarray) -> tuple[int, tuple[tuple[int, float], ...]]:
    """The name that pixels together have, and the runners-up with their shares of the vote.

    types: (N,) int64 best types; scores: (N,) in [0, 1], to the power of `VOTE_POWER` the votes.
    """
    votes = np.bincount(types, weights=scores.astype(np.float64) ** VOTE_POWER)
    shares = votes / max(votes.sum(), np.finfo(np.float64).tiny)
    first, *others = (1 + np.argsort(-shares[1:], kind="stable")).tolist()
    return first, tuple((k, float(shares[k])) for k in others if shares[k] > 0)
