"""Figures of what is seen in real and generated pictures: quality, diversity, memorisation.

Every function takes `Described` views, wherever these come from. The names of figures of features
end in the extractor's name: those of different extractors do not compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from experiments.judging.nearest_neighbours import Neighbours
from experiments.judging.picture_sets import Described
from lightning_modules.metrics.generation import (
    frechet_distance,
    inception_score,
    kernel_distance,
    mean_pairwise_distance,
)

# A picture nearer to a training picture than all but this share of held-out ones is suspicious.
SUSPICIOUS_QUANTILE = 0.01


@dataclass(frozen=True, slots=True)
class Settings:
    """What the figures depend on beside the pictures."""

    kid_subset_size: int = 1000
    kid_subsets: int = 100
    is_splits: int = 10
    seed: int = 0


def measure_distance(
    real: Described, other: Described, *, extractor: str, settings: Settings
) -> dict[str, float]:
    """FID and KID between two sets of views, and the number of views in each."""
    kid, kid_deviation = kernel_distance(
        real.features,
        other.features,
        subset_size=settings.kid_subset_size,
        subsets=settings.kid_subsets,
        seed=settings.seed,
    )
    return {
        f"fid_{extractor}": frechet_distance(real.features, other.features),
        f"kid_{extractor}": kid,
        f"kid_std_{extractor}": kid_deviation,
        "views_real": float(len(real)),
        "views_generated": float(len(other)),
    }


def measure_classes(
    generated: Described, *, extractor: str, settings: Settings
) -> dict[str, float]:
    """The inception score; nothing where the extractor names no classes."""
    if generated.logits is None:
        return {}
    mean, deviation = inception_score(
        generated.logits, splits=settings.is_splits, seed=settings.seed
    )
    return {f"is_{extractor}": mean, f"is_std_{extractor}": deviation}


def measure_diversity(
    generated: Described, real: Described, *, prompts: Sequence[str], extractor: str
) -> dict[str, float]:
    """Mean distance among pictures of one prompt, and among real ones of the prompts' types.

    A mean over prompts with two pictures or more; real types weigh as their prompts do. NaN
    where no prompt has two pictures.
    """
    asked: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        asked.setdefault(prompt, []).append(index)
    among, among_real, pairs = [], [], [0, 0]
    for places in asked.values():
        rows = torch.tensor(places)
        distance, count = mean_pairwise_distance(generated.features[rows], generated.origins[rows])
        kind = generated.kinds[places[0]]
        alike = torch.tensor([not kind or kind == other for other in real.kinds])
        if count == 0:
            continue
        real_distance, real_count = mean_pairwise_distance(
            real.features[alike], real.origins[alike]
        )
        among.append(distance)
        if real_count:
            among_real.append(real_distance)
        pairs = [pairs[0] + count, pairs[1] + real_count]
    return {
        f"diversity_{extractor}": float(np.mean(among)) if among else float("nan"),
        f"diversity_real_{extractor}": float(np.mean(among_real)) if among_real else float("nan"),
        "diversity_prompts": float(len(among)),
        "diversity_pairs": float(pairs[0]),
        "diversity_real_pairs": float(pairs[1]),
    }


def measure_memorisation(
    generated: Neighbours, held_out: Neighbours, *, extractor: str
) -> dict[str, float]:
    """How near generated pictures come to training ones, beside how near held-out ones come."""
    limit = torch.quantile(held_out.distance.double(), SUSPICIOUS_QUANTILE)
    copies, held_out_copies = generated.is_copy, held_out.is_copy
    return {
        f"nearest_{extractor}": float(generated.distance.median()),
        f"nearest_held_out_{extractor}": float(held_out.distance.median()),
        f"nearest_limit_{extractor}": float(limit),
        f"nearer_than_limit_{extractor}": float((generated.distance < limit).double().mean()),
        "copies": float(copies.sum()),
        "copies_share": float(copies.mean()),
        "copies_share_held_out": float(held_out_copies.mean()),
        "views_held_out": float(len(held_out.distance)),
    }


def doubts(real: Described, generated: Described, *, extractor: str) -> list[str]:
    """What must be said with the figures: too few pictures, types that differ."""
    width = real.features.shape[1]
    said = []
    for name, views in (("real", real), ("generated", generated)):
        if len(views) <= width:
            said.append(
                f"{len(views)} {name} views are fewer than the {width} features: "
                f"fid_{extractor} is biased upwards, compare it only at these counts (KID is not)"
            )
    if set(generated.kinds) != set(real.kinds):
        said.append(
            f"types differ: generated {_named(generated.kinds)}; real {_named(real.kinds)}: "
            "FID and KID measure that difference too"
        )
    return said


def _named(kinds: Sequence[str]) -> str:
    return ", ".join(sorted({kind or "unknown" for kind in kinds}))
