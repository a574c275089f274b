"""Generated images beside real ones: quality, diversity, memorisation, in figures and grids.

The names of figures of features end in the extractor's name: those of different extractors do
not compare.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from callbacks.drawing import INK, Panel, draw_grid, join_side_by_side, resize_image, scale_to_fit
from experiments.generation.copies import NO_COPY, Neighbours, find_neighbours
from experiments.generation.views import (
    GeneratedViews,
    RealViews,
    ViewFeatures,
    Views,
    extract_features,
)
from experiments.tables import Table, metrics_table, to_markdown
from experiments.tracking import write_results
from lightning_modules.metrics.generation import (
    frechet_distance,
    inception_score,
    kernel_distance,
    mean_pairwise_distance,
)
from lightning_modules.nets.feature_extractors import FeatureExtractor

# An image nearer to a training image than all but this share of held-out ones is suspicious.
SUSPICIOUS_QUANTILE = 0.01
COPY_COLOR = (200, 30, 45)
COLUMNS, NEIGHBOURS_SHOWN, SIDE_PX = 4, 24, 128
BASELINE_DRAWS = 5


@dataclass(frozen=True, slots=True)
class Report:
    """Figures by name, what must be said with them, and the report's tables and grids by name."""

    figures: dict[str, float]
    warnings: list[str]
    types: Table
    grids: dict[str, np.ndarray]

    def write(self, folder: Path, settings: Mapping[str, str]) -> None:
        """results.json, results.md and the grids in an empty folder."""
        write_results(folder, self.figures)
        blocks = [
            to_markdown(metrics_table("Real and generated", self.figures)),
            "\n".join(f"- {warning}" for warning in self.warnings),
            to_markdown(self.types),
            to_markdown(Table("Settings", ("setting", "value"), tuple(settings.items()))),
        ]
        (folder / "results.md").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
        for name, grid in self.grids.items():
            Image.fromarray(grid).save(folder / name)


def compare(
    extractor: FeatureExtractor,
    generated: GeneratedViews,
    sets: Mapping[str, RealViews],
    *,
    split: str,
    held_out: str,
    batch_size: int,
    seed: int,
) -> Report:
    """Quality, diversity and memorisation of the generated images by one extractor.

    sets: real images by split: `split`, what generated ones should look like; "train", what the
    generator was trained on; `held_out`, whose figures are the baseline: what a perfect generator
    would get with as many images.
    """
    features = {
        name: extract_features(extractor, views, batch_size) for name, views in sets.items()
    }
    ours = extract_features(extractor, generated, batch_size)
    name, real, train = extractor.name, features[split], sets["train"]
    figures = distances(real, ours, name, seed=seed)
    if held_out != split:
        figures |= baseline(real, features[held_out], name, count=len(ours), seed=seed)
    if ours.logits is not None:
        score, deviation = inception_score(ours.logits, seed=seed)
        figures |= {f"is_{name}": score, f"is_std_{name}": deviation}
    figures |= diversity(ours, real, generated.prompts, name)
    neighbours, control = (
        find_neighbours(found, features["train"], views=views, train=train)
        for found, views in ((ours, generated), (features[held_out], sets[held_out]))
    )
    figures |= memorisation(neighbours, control, name)
    counts, real_counts = Counter(ours.kinds), Counter(real.kinds)
    rows = [
        (kind or "unknown", real_counts[kind], counts[kind])
        for kind in sorted(counts | real_counts)
    ]
    return Report(
        {f"generation/{split}/{key}": value for key, value in figures.items()},
        warnings_of(real, ours, name),
        Table("Views of each type", ("type", "real", "generated"), tuple(rows)),
        {
            "real_and_generated.png": draw_by_type(sets[split], generated, real.kinds, ours.kinds),
            "nearest_neighbours.png": draw_neighbours(generated, train, neighbours),
        },
    )


def distances(
    real: ViewFeatures, other: ViewFeatures, extractor: str, *, seed: int
) -> dict[str, float]:
    """FID and KID between two sets of views, and the number of views in each."""
    kid, kid_deviation = kernel_distance(real.features, other.features, seed=seed)
    return {
        f"fid_{extractor}": frechet_distance(real.features, other.features),
        f"kid_{extractor}": kid,
        f"kid_std_{extractor}": kid_deviation,
        "views_real": float(len(real)),
        "views_generated": float(len(other)),
    }


def baseline(
    real: ViewFeatures, held_out: ViewFeatures, extractor: str, *, count: int, seed: int
) -> dict[str, float]:
    """KID of held-out real views, and FID of `count` of them, or all: the mean over some draws.

    FID grows as views get fewer: twelve real ones have several times that of three hundred.
    """
    draws = BASELINE_DRAWS if count < len(held_out) else 1
    chance = np.random.default_rng(seed)
    drawn = [chance.permutation(len(held_out))[:count] for _ in range(draws)]
    fid = [frechet_distance(real.features, held_out.features[places]) for places in drawn]
    kid, _ = kernel_distance(real.features, held_out.features, seed=seed)
    return {
        f"fid_held_out_{extractor}": float(np.mean(fid)),
        f"kid_held_out_{extractor}": kid,
        "views_held_out_fid": float(min(count, len(held_out))),
    }


def diversity(
    generated: ViewFeatures, real: ViewFeatures, prompts: Sequence[str], extractor: str
) -> dict[str, float]:
    """Mean distance among images of one prompt, and among real ones of the prompts' types.

    A mean over prompts with two images or more; real types weigh as their prompts do. NaN where
    no prompt has two images.
    """
    among, among_real = [], []
    for places in places_of(prompts).values():
        if len(places) < 2:
            continue
        among.append(mean_pairwise_distance(generated.features[places], torch.tensor(places))[0])
        kind = generated.kinds[places[0]]
        alike = [place for place, other in enumerate(real.kinds) if kind in ("", other)]
        if len(alike) > 1:
            among_real.append(mean_pairwise_distance(real.features[alike], torch.tensor(alike))[0])
    return {
        f"diversity_{extractor}": float(torch.tensor(among, dtype=torch.float64).mean()),
        f"diversity_real_{extractor}": float(torch.tensor(among_real, dtype=torch.float64).mean()),
        "diversity_prompts": float(len(among)),
    }


def memorisation(generated: Neighbours, held_out: Neighbours, extractor: str) -> dict[str, float]:
    """How near generated images come to training ones, beside how near held-out ones come."""
    limit = torch.quantile(held_out.distance.double(), SUSPICIOUS_QUANTILE)
    copies, held_out_copies = (one.copied != NO_COPY for one in (generated, held_out))
    return {
        f"nearest_{extractor}": float(generated.distance.median()),
        f"nearest_held_out_{extractor}": float(held_out.distance.median()),
        f"nearer_than_limit_{extractor}": float((generated.distance < limit).double().mean()),
        "copies": float(copies.sum()),
        "copies_share": float(copies.mean()),
        "copies_share_held_out": float(held_out_copies.mean()),
        "views_held_out": float(len(held_out.distance)),
    }


def warnings_of(real: ViewFeatures, generated: ViewFeatures, extractor: str) -> list[str]:
    """What must be said with the figures: too few images, types that differ."""
    width = real.features.shape[1]
    warnings = [
        f"{len(views)} {name} views are fewer than the {width} features: "
        f"fid_{extractor} is biased upwards, compare it only at these counts (KID is not)"
        for name, views in (("real", real), ("generated", generated))
        if len(views) <= width
    ]
    ours, theirs = (
        ", ".join(sorted({kind or "unknown" for kind in one.kinds})) for one in (generated, real)
    )
    classes = 0 if generated.logits is None else generated.logits.shape[1]
    if len(generated) < classes:
        warnings.append(
            f"is_{extractor} of {len(generated)} views is {len(generated)} at most: "
            "compare it only at this count"
        )
    if ours != theirs:
        warnings.append(
            f"types differ: generated {ours}; real {theirs}: FID and KID measure that too"
        )
    return warnings


def draw_by_type(
    real: Views, generated: Views, real_kinds: Sequence[str], generated_kinds: Sequence[str]
) -> np.ndarray:
    """Up to COLUMNS pairs of each type, real left and generated right (Figure 3).

    Types without a real image are left out, as are images of no known type.
    """
    theirs, ours = places_of(real_kinds), places_of(generated_kinds)
    panels = [
        Panel(beside(real[one].pixels, generated[other].pixels), kind)
        for kind in sorted(ours.keys() & theirs.keys() - {""})
        for one, other in zip(spread(theirs[kind]), spread(ours[kind]), strict=False)
    ]
    nothing = Panel(np.full((SIDE_PX, 2 * SIDE_PX, 3), 255, np.uint8), "no type in common")
    title = "real (left) and generated (right)"
    return draw_grid(panels or [nothing], columns=COLUMNS, title=title)


def draw_neighbours(generated: Views, train: RealViews, neighbours: Neighbours) -> np.ndarray:
    """Generated images (left) beside what is nearest in training: copies first, in red.

    A copy is shown beside the whole image that it copies, others beside their nearest view. Under
    each the distance of features and the training image's name.
    """
    panels = []
    order = np.lexsort((neighbours.distance.numpy(), neighbours.copied == NO_COPY))
    for place in order[:NEIGHBOURS_SHOWN].tolist():
        words, image = f"{neighbours.distance[place]:.3f}", int(neighbours.copied[place])
        if image == NO_COPY:
            image, color = int(neighbours.index[place]), INK
            theirs = train[image].pixels
        else:
            words, color, theirs = f"copy {words}", COPY_COLOR, train.whole(image)
        words = f"{words} {Path(train.names[image]).name}"
        panels.append(Panel(beside(generated[place].pixels, theirs), words, color))
    title = "generated (left), nearest in training (right)"
    return draw_grid(panels, columns=COLUMNS, title=title)


def places_of(words: Sequence[str]) -> dict[str, list[int]]:
    """Word -> the places where it stands."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, word in enumerate(words):
        places[word].append(place)
    return places


def spread(places: list[int]) -> list[int]:
    """Up to COLUMNS places, evenly apart: neighbours in a file are often of one part."""
    kept = min(COLUMNS, len(places))
    return [places[number * len(places) // kept] for number in range(kept)]


def beside(*images: np.ndarray) -> np.ndarray:
    """The images side by side, the longer side of each SIDE_PX."""
    scaled = [resize_image(pixels, scale_to_fit(pixels, SIDE_PX)) for pixels in images]
    return join_side_by_side(scaled)
