"""Real beside generated pictures, judged: all figures of one extractor, and what to say with them.

The command is `fidelity.py`; a study calls `judge` with pictures of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.judging.fidelity_measures import (
    Settings,
    doubts,
    measure_classes,
    measure_distance,
    measure_diversity,
    measure_memorisation,
)
from experiments.judging.nearest_neighbours import Neighbours, find_neighbours
from experiments.judging.picture_sets import Described, PictureSet, RealPictures, describe
from experiments.judging.window_search import Windows, search_windows
from lightning_modules.nets.feature_extractors import FeatureExtractor


@dataclass(frozen=True, slots=True)
class Pictures:
    """Whom to compare.

    real: what generated pictures should look like; train: what the generator was trained on;
    held_out: real ones that it was not; prompts: one per generated picture; seeks_windows: views
    are crops, so copies are sought at every place of the training pictures.
    """

    real: RealPictures
    train: RealPictures
    held_out: RealPictures
    generated: PictureSet
    prompts: Sequence[str]
    seeks_windows: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """The figures by name, the doubts in words, and what the pictures of it are drawn from."""

    figures: dict[str, float]
    doubts: list[str]
    seen_real: Described
    seen_generated: Described
    neighbours: Neighbours


@dataclass(frozen=True, slots=True)
class Looking:
    """How views are opened and shown to the extractor."""

    batch_size: int = 32
    workers: int = 0
    device: str = "cpu"


def judge(
    pictures: Pictures,
    extractor: FeatureExtractor,
    *,
    looking: Looking | None = None,
    settings: Settings | None = None,
) -> Judgement:
    """Quality, diversity and memorisation of the generated pictures by one extractor."""
    looking, settings = looking or Looking(), settings or Settings()
    seen_of: dict[int, Described] = {}
    every: tuple[PictureSet, ...] = (
        pictures.real,
        pictures.train,
        pictures.held_out,
        pictures.generated,
    )
    for views in every:
        if id(views) not in seen_of:
            seen_of[id(views)] = describe(
                extractor,
                views,
                batch_size=looking.batch_size,
                workers=looking.workers,
                device=looking.device,
            )
    real, train, held_out, generated = (seen_of[id(views)] for views in every)
    name = extractor.name
    figures = measure_distance(real, generated, extractor=name, settings=settings)
    if held_out is not real:
        figures |= yardstick(real, held_out, extractor=name, settings=settings)
    figures |= measure_classes(generated, extractor=name, settings=settings)
    figures |= measure_diversity(generated, real, prompts=pictures.prompts, extractor=name)
    nearest = neighbours_of(generated, pictures.generated, train, pictures)
    control = neighbours_of(held_out, pictures.held_out, train, pictures)
    figures |= measure_memorisation(nearest, control, extractor=name)
    return Judgement(figures, doubts(real, generated, extractor=name), real, generated, nearest)


def yardstick(
    real: Described, held_out: Described, *, extractor: str, settings: Settings
) -> dict[str, float]:
    """FID and KID of real pictures that were held out: what a perfect generator would get."""
    found = measure_distance(real, held_out, extractor=extractor, settings=settings)
    return {f"{kind}_held_out_{extractor}": found[f"{kind}_{extractor}"] for kind in ("fid", "kid")}


def neighbours_of(
    seen: Described, views: PictureSet, train: Described, pictures: Pictures
) -> Neighbours:
    """The nearest training views of the views, and which of them are copies."""
    windows: Windows | None = None
    if pictures.seeks_windows:
        windows = search_windows(seen, train, pictures=views, open_whole=pictures.train.whole)
    return find_neighbours(seen, train, windows=windows)
