"""How near generated pictures are to real ones, and how sure and varied their classes are.

Both keep sums of features alone, whatever the number of pictures. The names of their figures get
the extractor's: `fid_inception` and `fid_mobilenetv2_100` are different scales. KID is in
`kernel_distance.py`; diversity and neighbours are in `feature_distances.py`.
"""

import torch
from torch import Tensor
from torchmetrics import Metric


class FrechetDistance(Metric):
    """FID: the Fréchet distance of two Gaussians fitted to features (Heusel et al. 2017).

    Biased upwards by about the number of dimensions over the number of pictures: compare only at
    equal counts, and give the counts with the figure. NaN with fewer than two pictures.
    """

    full_state_update = False
    sums: Tensor
    products: Tensor
    counts: Tensor

    def __init__(self, width: int) -> None:
        """width: the number of features D; the state is 2 D (D + 1) numbers in float64."""
        super().__init__()
        sums = torch.zeros(2, width, dtype=torch.float64)
        products = torch.zeros(2, width, width, dtype=torch.float64)
        self.add_state("sums", sums, dist_reduce_fx="sum")
        self.add_state("products", products, dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Tensor, *, is_real: bool) -> None:
        """Adds the features (B, D) of real or of generated pictures."""
        rows = features.to(self.sums.device, torch.float64)
        side = int(is_real)
        self.sums[side] += rows.sum(0)
        self.products[side] += rows.T @ rows
        self.counts[side] += len(rows)

    def compute(self) -> Tensor:
        """The distance, a float64 scalar of at least 0."""
        if int(self.counts.min()) < 2:
            return torch.full((), torch.nan, dtype=torch.float64, device=self.sums.device)
        counts = self.counts.double()[:, None]
        means = self.sums / counts
        spread = self.products - counts[:, :, None] * means[:, :, None] * means[:, None, :]
        covariances = spread / (counts - 1)[:, :, None]
        return frechet_distance(means[0], covariances[0], means[1], covariances[1])


class ClassScore(Metric):
    """Inception score over splits, of any classifier: exp E KL(p(y|x) || p(y)), mean and deviation.

    Pictures go to the splits in turns, so that the state is sums alone (Salimans et al. 2016).
    It judges generated pictures without the real ones, by classes of photographs.
    """

    full_state_update = False
    probability_sums: Tensor
    negative_entropies: Tensor
    counts: Tensor

    def __init__(self, class_count: int, *, splits: int = 10) -> None:
        super().__init__()
        sums = torch.zeros(splits, class_count, dtype=torch.float64)
        entropies = torch.zeros(splits, dtype=torch.float64)
        self.splits = splits
        self.add_state("probability_sums", sums, dist_reduce_fx="sum")
        self.add_state("negative_entropies", entropies, dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(splits, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor) -> None:
        """Adds the class scores (B, K) of generated pictures, before the softmax."""
        log_probabilities = logits.to(self.counts.device, torch.float64).log_softmax(1)
        probabilities = log_probabilities.exp()
        order = torch.arange(len(logits), device=self.counts.device)
        split = (self.counts.sum() + order) % self.splits
        self.probability_sums.index_add_(0, split, probabilities)
        entropies = (probabilities * log_probabilities).sum(1)
        self.negative_entropies.index_add_(0, split, entropies)
        self.counts += torch.bincount(split, minlength=self.splits)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation over the splits that have pictures; NaN without any."""
        used = self.counts > 0
        counts = self.counts[used].double()
        marginal = self.probability_sums[used] / counts[:, None]
        marginal_term = torch.special.xlogy(marginal, marginal).sum(1)
        scores = (self.negative_entropies[used] / counts - marginal_term).exp()
        return scores.mean(), scores.std(correction=0)


def frechet_distance(
    first_mean: Tensor, first_covariance: Tensor, second_mean: Tensor, second_covariance: Tensor
) -> Tensor:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of means (D,) and covariances (D, D).

    The trace of the root is the sum of singular values of A1^T A2 with Ci = Ai Ai^T: unlike a
    matrix root it is exact where fewer pictures than dimensions leave the covariances singular.
    """
    roots = square_root(first_covariance).T @ square_root(second_covariance)
    spread = first_covariance.trace() + second_covariance.trace()
    distance = (first_mean - second_mean).square().sum() + spread
    return (distance - 2 * torch.linalg.svdvals(roots).sum()).clamp(min=0)


def square_root(covariance: Tensor) -> Tensor:
    """A (D, R) with A A^T = covariance (D, D), without the directions that are rounding noise."""
    values, vectors = torch.linalg.eigh(covariance)
    noise = values.abs().max() * len(values) * torch.finfo(values.dtype).eps
    kept = values > noise
    return vectors[:, kept] * values[kept].sqrt()
