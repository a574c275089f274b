"""Holds FID and IS against hand-worked Gaussians, scipy and torchmetrics."""

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore

from lightning_modules.metrics.generation import ClassScore, FrechetDistance, frechet_distance


class Features(nn.Module):
    """Takes features for pictures; torchmetrics asks for their number."""

    num_features = 12

    def forward(self, features: Tensor) -> Tensor:
        return features


def draw(seed: int, count: int = 300, *, shift: float = 0.0) -> Tensor:
    """Correlated features (count, 12)."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(12, 12, generator=random)
    return torch.randn(count, 12, generator=random) @ mix + shift


def measured(real: Tensor, generated: Tensor) -> float:
    metric = FrechetDistance(real.shape[1])
    metric.update(real, is_real=True)
    metric.update(generated, is_real=False)
    return float(metric.compute())


def test_distance_of_two_numbers_is_worked_by_hand() -> None:
    # Means 0 and 3, variances 4 and 9: 3^2 + (2 - 3)^2.
    mean = [torch.tensor([value], dtype=torch.float64) for value in (0.0, 3.0)]
    variance = [torch.tensor([[value]], dtype=torch.float64) for value in (4.0, 9.0)]
    assert float(frechet_distance(mean[0], variance[0], mean[1], variance[1])) == pytest.approx(10)


def test_distance_equals_scipys_matrix_root() -> None:
    real, generated = draw(0).double().numpy(), draw(1, shift=0.5).double().numpy()
    first, second = np.cov(real.T), np.cov(generated.T)
    shift = ((real.mean(0) - generated.mean(0)) ** 2).sum()
    expected = shift + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)
    found = measured(torch.from_numpy(real), torch.from_numpy(generated))
    assert found == pytest.approx(expected, rel=1e-6)


def test_distance_equals_torchmetrics() -> None:
    reference = FrechetInceptionDistance(Features(), input_img_size=(12,), normalize=True)
    reference.set_dtype(torch.float64)
    real, generated = draw(2).double(), draw(3, shift=0.2).double()
    reference.update(real, real=True)
    reference.update(generated, real=False)
    assert measured(real, generated) == pytest.approx(float(reference.compute()), rel=1e-4)


@pytest.mark.parametrize("count", [300, 5])
def test_a_set_is_at_no_distance_from_itself_even_with_few_pictures(count: int) -> None:
    assert measured(draw(4, count), draw(4, count)) == pytest.approx(0, abs=1e-9)


def test_distance_without_enough_pictures_has_no_answer() -> None:
    assert np.isnan(measured(draw(5), draw(6, 1)))


def test_sums_of_two_processes_add_up_to_one_pass() -> None:
    real, generated = draw(7), draw(8)
    first, second = FrechetDistance(12), FrechetDistance(12)
    for metric, half in ((first, slice(0, 100)), (second, slice(100, 300))):
        metric.update(real[half], is_real=True)
        metric.update(generated[half], is_real=False)
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(measured(real, generated))


def test_class_score_of_one_split_equals_torchmetrics() -> None:
    reference, metric = InceptionScore(Features(), splits=1), ClassScore(12, splits=1)
    reference.update(draw(9))
    metric.update(draw(9))
    assert float(metric.compute()[0]) == pytest.approx(float(reference.compute()[0]), rel=1e-4)


def test_class_score_of_splits_is_the_mean_over_every_third_picture() -> None:
    logits, metric = draw(10, 90), ClassScore(12, splits=3)
    for batch in logits.split(40):
        metric.update(batch)
    scores = []
    for number in range(3):
        chances = logits[number::3].double().softmax(1)
        gain = (chances * (chances.log() - chances.mean(0).log())).sum(1).mean()
        scores.append(float(gain.exp()))
    mean, deviation = metric.compute()
    assert float(mean) == pytest.approx(np.mean(scores))
    assert float(deviation) == pytest.approx(np.std(scores))


def test_sure_and_evenly_spread_classes_score_their_number() -> None:
    metric = ClassScore(4, splits=1)
    metric.update(200 * torch.eye(4).repeat(5, 1))
    assert float(metric.compute()[0]) == pytest.approx(4)
