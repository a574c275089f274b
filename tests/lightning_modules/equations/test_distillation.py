"""Teacher and student apart, and the nearest of few codes, against loops."""

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.distillation import distillation_loss, distillation_map, quantise


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def maps(seed: int) -> list[Tensor]:
    return [draw(2, 3, 8, 8, seed=seed), draw(2, 5, 4, 4, seed=seed + 1)]


def test_loss_sums_over_maps_the_mean_of_one_minus_the_cosine_of_whole_images() -> None:
    expected = 0.0
    for one, other in zip(maps(0), maps(7), strict=True):
        for a, b in zip(one, other, strict=True):
            cosine = float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())
            expected += (1 - cosine) / 2
    torch.testing.assert_close(distillation_loss(maps(0), maps(7)), torch.tensor(expected))


def test_student_that_repeats_its_teacher_up_to_a_factor_loses_nothing() -> None:
    scaled = [3 * one for one in maps(0)]
    assert distillation_loss(maps(0), scaled).abs() < 1e-5
    assert distillation_map(maps(0), scaled, 16).abs().max() < 1e-5


def test_map_is_one_minus_the_cosine_of_each_place_added_up_over_maps() -> None:
    found = distillation_map(maps(0), maps(7), 8)
    fine, coarse = (
        1 - (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))
        for one, other in zip(maps(0), maps(7), strict=True)
    )
    coarse = functional.interpolate(coarse[:, None], (8, 8), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found, fine[:, None] + coarse)


def test_vector_becomes_its_nearest_code_and_the_gradient_goes_past_it() -> None:
    vectors, codes = draw(6, 4).requires_grad_(), draw(3, 4, seed=1).requires_grad_()
    coded, _ = quantise(vectors, codes)
    for vector, code in zip(vectors, coded, strict=True):
        nearest = min(codes, key=lambda one: float((one - vector).detach().square().sum()))
        torch.testing.assert_close(code, nearest)
    weights = draw(6, 4, seed=2)
    of_vectors, of_codes = torch.autograd.grad(
        (coded * weights).sum(), (vectors, codes), allow_unused=True
    )
    torch.testing.assert_close(of_vectors, weights)
    assert of_codes is None


def test_loss_of_codes_moves_them_and_a_quarter_as_much_the_vectors() -> None:
    vectors, codes = draw(6, 4).requires_grad_(), draw(3, 4, seed=1).requires_grad_()
    coded, loss = quantise(vectors, codes)
    apart = (coded - vectors).detach()
    torch.testing.assert_close(loss, 1.25 * apart.square().mean())
    of_vectors, of_codes = torch.autograd.grad(loss, (vectors, codes))
    torch.testing.assert_close(of_vectors, -0.25 * 2 * apart / apart.numel())
    torch.testing.assert_close(of_codes.sum(0), (2 * apart / apart.numel()).sum(0))
