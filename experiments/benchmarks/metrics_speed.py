"""AUPRO and pixel AUROC from histograms beside a loop over thresholds and torchmetrics' curves.

Both sides see the same random anomaly maps and must agree before anything is timed. Ours is timed
from the maps of each image to the figure, binning included.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from experiments.measuring.measurements import BenchSettings, Measurement, throughput
from experiments.measuring.scored_scenes import ScoredScenes, scored_scenes
from experiments.measuring.threshold_loop import region_overlap_by_loop
from lightning_modules.metrics.anomaly import (
    AnomalyMetrics,
    area_under_region_overlap,
    weigh_regions,
)
from lightning_modules.metrics.score_histogram import area_under_roc, count_scores

VERB = "metrics"
SIDE_PX = 256
AUPRO_IMAGES, AUROC_IMAGES = 24, 20  # 1.6 and 1.3 Mpix
BINS, FALSE_POSITIVE_LIMIT = 16384, 0.3  # AnomalyMetrics' own
TOLERANCE = 1e-4
# One pass over the pixels against as many as there are thresholds, and against a sort.
AUPRO_LIMIT, AUROC_LIMIT = 300.0, 20.0
Words = dict[str, str | int | float]


def measure(settings: BenchSettings) -> list[Measurement]:
    """Images a second of either side; what `settings` says of pictures does not matter here."""
    return [
        measure_aupro(scored_scenes(AUPRO_IMAGES, side_px=SIDE_PX), repeats=settings.repeats),
        *measure_auroc(scored_scenes(AUROC_IMAGES, side_px=SIDE_PX), repeats=settings.repeats),
    ]


def measure_aupro(scenes: ScoredScenes, *, repeats: int) -> Measurement:
    """AUPRO in one pass beside the loop; RuntimeError where they differ."""
    scores, is_defect = scenes.scores, scenes.is_defect
    values, mask = scores.numpy(), is_defect.numpy()
    return compare(
        "AUPRO beside a loop over 200 thresholds",
        lambda: region_overlap(scores, is_defect),
        lambda: region_overlap_by_loop(values, mask, limit=FALSE_POSITIVE_LIMIT),
        scenes,
        repeats=repeats,
        limit=AUPRO_LIMIT,
    )


def measure_auroc(scenes: ScoredScenes, *, repeats: int) -> list[Measurement]:
    """Pixel AUROC beside torchmetrics' exact curve, and all our figures beside two such curves."""
    scores, is_defect = scenes.scores, scenes.is_defect
    labels = is_defect.long()

    def exact_auroc() -> float:
        return float(BinaryAUROC(thresholds=None)(scores, labels))

    def exact_auroc_after_ap() -> float:
        BinaryAveragePrecision(thresholds=None)(scores, labels)
        return exact_auroc()

    return [
        compare(
            "pixel AUROC beside torchmetrics' exact curve",
            lambda: pixel_auroc(scores, is_defect),
            exact_auroc,
            scenes,
            repeats=repeats,
            limit=AUROC_LIMIT,
        ),
        compare(
            "all anomaly figures beside torchmetrics' exact pixel AUROC and AP",
            lambda: all_figures(scenes),
            exact_auroc_after_ap,
            scenes,
            repeats=repeats,
        ),
    ]


def region_overlap(scores: Tensor, is_defect: Tensor) -> float:
    """AUPRO of (N, H, W) as AnomalyMetrics takes it, image by image."""
    good = torch.zeros(BINS, dtype=torch.int64)
    weights, regions = torch.zeros(BINS, dtype=torch.float64), 0
    for anomaly_map, mask in zip(scores, is_defect, strict=True):
        good += count_scores(anomaly_map, mask, BINS)[0]
        if mask.any():
            added, found = weigh_regions(anomaly_map, mask, BINS)
            weights += added
            regions += found
    overlap = weights / regions
    return float(area_under_region_overlap(good, overlap, limit=FALSE_POSITIVE_LIMIT))


def pixel_auroc(scores: Tensor, is_defect: Tensor) -> float:
    """Pixel AUROC of (N, H, W) as AnomalyMetrics takes it, image by image."""
    counts = torch.zeros(2, BINS, dtype=torch.int64)
    for anomaly_map, mask in zip(scores, is_defect, strict=True):
        counts += count_scores(anomaly_map, mask, BINS)
    return float(area_under_roc(counts))


def all_figures(scenes: ScoredScenes) -> float:
    """Pixel AUROC from a metric that has found all its figures, AUPRO among them."""
    metric = AnomalyMetrics()
    metric.update(scenes.predictions, scenes.batch)
    return float(metric.compute()["pixel_auroc"])


def compare(
    name: str,
    ours: Callable[[], float],
    reference: Callable[[], float],
    scenes: ScoredScenes,
    *,
    repeats: int,
    limit: float | None = None,
) -> Measurement:
    """The row of two ways to one figure; RuntimeError where they part by more than TOLERANCE."""
    own, other = ours(), reference()
    if abs(own - other) > TOLERANCE:
        raise RuntimeError(
            f"{name}: the figures are {own:.5f} and {other:.5f}: expected them within {TOLERANCE}"
        )
    pixels = scenes.is_defect.numel() / 1e6
    words: Words = {"figures part by": f"{abs(own - other):.0e}", "Mpix": pixels}
    count = len(scenes.predictions)
    return throughput(
        name,
        ours,
        reference,
        count=count,
        unit="images/s per core",
        repeats=repeats,
        limit=limit,
        settings=words,
    )
