"""AUPRO as it is defined: a loop over thresholds, images and regions. Slow on purpose.

Ours, in one pass over the pixels, is in `lightning_modules/metrics/anomaly.py`.
"""

import numpy as np
from scipy import ndimage

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def region_overlap_by_loop(
    scores: np.ndarray, is_defect: np.ndarray, *, thresholds: int = 200, limit: float = 0.3
) -> float:
    """AUPRO of scores (N, H, W) at truth is_defect (N, H, W), up to false-positive rate `limit`.

    The thresholds lie closest where the false-positive rate is low and the curve bends most. As in
    the scripts that go about, the regions of the truth are looked for anew at each threshold.
    """
    rates, overlaps = [], []
    good = np.sort(scores[~is_defect])[::-1]
    # The first threshold lies above all good pixels: no false positive.
    ladder = np.concatenate([np.nextafter(good[:1], np.inf), good])
    places = limit * len(good) * np.linspace(0, 1, thresholds) ** 2
    for threshold in ladder[places.round().astype(int)]:
        shares: list[float] = []
        false_positives = 0
        for image, mask in zip(scores, is_defect, strict=True):
            found = image >= threshold
            false_positives += int((found & ~mask).sum())
            regions, count = ndimage.label(mask, structure=EIGHT_NEIGHBOURS)
            shares += [float(found[regions == region].mean()) for region in range(1, count + 1)]
        rates.append(false_positives / len(good))
        overlaps.append(float(np.mean(shares)))
    return float(np.trapezoid(overlaps, rates) / rates[-1])
