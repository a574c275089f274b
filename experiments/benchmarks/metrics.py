"""Anomaly metrics from histograms beside torchmetrics' exact curves and a loop over thresholds.

Both sides see the same random anomaly maps and must agree before anything is timed. Ours is timed
from the maps of each image to the figure, binning included.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from experiments.benchmarks.measurement import (
    BenchSettings,
    Measurement,
    compare_times,
    time_in_turns,
)
from lightning_modules.metrics.anomaly import area_under_region_overlap, weigh_regions
from lightning_modules.metrics.score_histogram import area_under_roc, count_scores

SIDE_PX, IMAGES, DEFECTS_PER_IMAGE = 256, 24, 3
BINS, FALSE_POSITIVE_LIMIT = 16384, 0.3  # AnomalyMetrics' own
TOLERANCE, THRESHOLDS = 1e-4, 200
# One pass over the pixels against as many as there are thresholds, and against a sort.
AUPRO_LIMIT, AUROC_LIMIT = 300.0, 20.0
Figure = Callable[[Tensor, Tensor], float]


def measure(
    settings: BenchSettings, *, images: int = IMAGES, side_px: int = SIDE_PX
) -> list[Measurement]:
    """Images a second of either side; RuntimeError where their figures differ."""
    maps = scored_images(images, side_px)
    sides: list[tuple[str, Figure, Figure, float]] = [
        ("AUPRO beside a loop over 200 thresholds", aupro, aupro_by_loop, AUPRO_LIMIT),
        (
            "pixel AUROC beside torchmetrics' exact curve",
            auroc,
            lambda scores, is_defect: float(binary_auroc(scores, is_defect.long())),
            AUROC_LIMIT,
        ),
    ]
    rows = []
    for name, ours, reference, limit in sides:
        difference = abs(ours(*maps) - reference(*maps))
        if difference > TOLERANCE:
            raise RuntimeError(
                f"{name}: the figures differ by {difference:.5f}, expected {TOLERANCE} at most"
            )
        calls = [lambda f=f: f(*maps) for f in (ours, reference)]  # type: ignore[misc]
        rows.append(
            compare_times(
                name,
                *time_in_turns(calls, repeats=settings.repeats),
                count=images,
                unit="images/s per core",
                limit=limit,
                settings={"figures differ by": f"{difference:.0e}", "px": side_px},
            )
        )
    return rows


def scored_images(count: int, side_px: int) -> tuple[Tensor, Tensor]:
    """Anomaly maps of a middling net (pixel AUROC about 0.9) and the truth, both (B, H, W).

    Defects are discs of up to an eighth of the side, which may touch; one image in four is good.
    """
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:side_px, :side_px]
    scores, masks = [], []
    for index in range(count):
        mask = np.zeros((side_px, side_px), dtype=bool)
        discs = 0 if index % 4 == 3 else DEFECTS_PER_IMAGE
        for y, x, radius in random.uniform((0, 0, 0.02), (1, 1, 0.12), (discs, 3)) * side_px:
            mask |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        noise = ndimage.gaussian_filter(random.standard_normal(mask.shape), 3.0)
        defect = ndimage.gaussian_filter(mask.astype(float), 2.0)
        logits = -3.0 + 3.0 * defect + 1.5 * noise / noise.std()
        scores.append(torch.from_numpy(logits).float().sigmoid())
        masks.append(torch.from_numpy(mask))
    return torch.stack(scores), torch.stack(masks)


def aupro(scores: Tensor, is_defect: Tensor) -> float:
    """AUPRO as AnomalyMetrics takes it, image by image."""
    good = torch.zeros(BINS, dtype=torch.int64)
    weights, regions = torch.zeros(BINS, dtype=torch.float64), 0
    for anomaly_map, mask in zip(scores, is_defect, strict=True):
        good += count_scores(anomaly_map, mask, BINS)[0]
        if mask.any():
            added, found = weigh_regions(anomaly_map, mask, BINS)
            weights += added
            regions += found
    return float(area_under_region_overlap(good, weights / regions, limit=FALSE_POSITIVE_LIMIT))


def aupro_by_loop(scores: Tensor, is_defect: Tensor) -> float:
    """AUPRO as it is defined: a loop over thresholds, images and regions. Slow on purpose.

    The thresholds lie closest where the false-positive rate is low and the curve bends most. As in
    the scripts that are in use, the regions of the truth are looked for anew at each threshold.
    """
    values, masks = scores.numpy(), is_defect.numpy()
    rates, overlaps = [], []
    good = np.sort(values[~masks])[::-1]
    # The first threshold lies above all good pixels: no false positive.
    ladder = np.concatenate([np.nextafter(good[:1], np.inf), good])
    places = FALSE_POSITIVE_LIMIT * len(good) * np.linspace(0, 1, THRESHOLDS) ** 2
    for threshold in ladder[places.round().astype(int)]:
        shares: list[float] = []
        false_positives = 0
        for image, mask in zip(values, masks, strict=True):
            found = image >= threshold
            false_positives += int((found & ~mask).sum())
            regions, count = ndimage.label(mask, structure=np.ones((3, 3)))
            shares += [float(found[regions == region].mean()) for region in range(1, count + 1)]
        rates.append(false_positives / len(good))
        overlaps.append(float(np.mean(shares)))
    return float(np.trapezoid(overlaps, rates) / rates[-1])


def auroc(scores: Tensor, is_defect: Tensor) -> float:
    """Pixel AUROC as AnomalyMetrics takes it, image by image."""
    counts = torch.zeros(2, BINS, dtype=torch.int64)
    for anomaly_map, mask in zip(scores, is_defect, strict=True):
        counts += count_scores(anomaly_map, mask, BINS)
    return float(area_under_roc(counts))


PARTS = {"anomaly": measure}
