"""How near generated images are to real ones and how varied they are, from features (N, D).

FID, KID and the inception score are torchmetrics', fed with features in the place of images. The
names of their figures get the extractor's: `fid_inception` and `fid_mobilenetv2_100` are different
scales. The distance of two features is 1 - cosine: 0 for one direction, 1 for unrelated ones, at
most 2.
"""

import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

MOST_SPLITS, IMAGES_A_SPLIT = 10, 1000
QUERY_BLOCK = 64  # with a million references a quarter of a gigabyte


class GivenFeatures(nn.Module):
    """Hands features on as they are; torchmetrics asks for their number."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        """The features themselves."""
        return features


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """FID: the Fréchet distance of two Gaussians fitted to features (Heusel et al. 2017).

    Biased upwards by about the number of dimensions over the number of images: compare only at
    equal counts, and give the counts with the figure. NaN with fewer than two images.
    """
    if min(len(real), len(generated)) < 2:
        return math.nan
    width = real.shape[1]
    metric = FrechetInceptionDistance(GivenFeatures(width), input_img_size=(width,))  # type: ignore[arg-type]
    metric.set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    # Fewer images than dimensions leave covariances singular, and their root is off by rounding.
    return max(0.0, float(metric.compute()))


def kernel_distance(
    real: Tensor, generated: Tensor, *, subset_size: int = 1000, subsets: int = 100, seed: int = 0
) -> tuple[float, float]:
    """KID: mean and deviation over random subsets of the squared maximum mean discrepancy.

    Unlike FID not biased by the number of images (Binkowski et al. 2018); may fall below zero.
    subset_size: of either set, at most all of it. NaN with fewer than two images in one of them.
    """
    size = min(subset_size, len(real), len(generated))
    if size < 2:
        return math.nan, math.nan
    features = GivenFeatures(real.shape[1])
    with warnings.catch_warnings(action="ignore"):  # of memory, which the features take anyway
        metric = KernelInceptionDistance(features, subsets=subsets, subset_size=size)
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    return _computed(metric, seed)


def inception_score(logits: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """Exp E KL(p(y|x) || p(y)), mean and deviation over random splits (Salimans et al. 2016).

    logits: (N, K) class scores of generated images by any classifier. Measures them without the
    real ones, by classes of photographs. At most the number of images in a split: there are ten
    where each has a thousand, else fewer, and of one the deviation is 0.
    """
    splits = min(MOST_SPLITS, max(1, len(logits) // IMAGES_A_SPLIT))
    with warnings.catch_warnings(action="ignore"):
        metric = InceptionScore(GivenFeatures(logits.shape[1]), splits=splits)
        metric.update(logits.double())
        score, deviation = _computed(metric, seed)
    return score, deviation if splits > 1 else 0.0


def _computed(metric: KernelInceptionDistance | InceptionScore, seed: int) -> tuple[float, float]:
    """Both figures of a metric that draws its subsets from the global random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def mean_pairwise_distance(features: Tensor, origins: Tensor) -> tuple[float, int]:
    """Mean distance over all pairs of different origin, and the number of such pairs.

    features: (N, D); origins: (N,) int, equal for views of one image, whose likeness says
    nothing. NaN without a pair. From sums alone: no matrix of pairs is made.
    """
    unit = functional.normalize(features.double(), dim=1)
    _, owner, sizes = origins.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(sizes), unit.shape[1], dtype=torch.float64)
    sums.index_add_(0, owner, unit)
    similarity = sums.sum(0).square().sum() - sums.square().sum()
    pairs = len(unit) ** 2 - int(sizes.square().sum())
    if pairs == 0:
        return float("nan"), 0
    return float(1 - similarity / pairs), pairs // 2


def nearest_neighbours(
    queries: Tensor, references: Tensor, *, kept: int = 1
) -> tuple[Tensor, Tensor]:
    """Of each query (N, D) its nearest of references (M, D): distances and indices, both (N, kept).

    Best first; at most M are kept.
    """
    unit = functional.normalize(references.float(), dim=1)
    found = [
        (functional.normalize(block.float(), dim=1) @ unit.T).topk(min(kept, len(unit)), dim=1)
        for block in queries.split(QUERY_BLOCK)
    ]
    similarity = torch.cat([one.values for one in found])
    return (1 - similarity).clamp(min=0), torch.cat([one.indices for one in found])
