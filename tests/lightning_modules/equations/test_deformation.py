"""Fields of offsets against loops over places."""

import math

import pytest
import torch
from torch import Tensor

from lightning_modules.equations.deformation import (
    coordinates,
    deformation_loss,
    magnitude,
    roughness,
    warp,
    warp_twice,
)

SHAPE = (2, 3, 5, 7)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def looped_warp(image: Tensor, field: Tensor) -> Tensor:
    """`warp`, place by place, in pixels."""
    count, _, height, width = image.shape
    out = torch.zeros_like(image)
    for b in range(count):
        for i in range(height):
            for j in range(width):
                x = j + float(field[b, 0, i, j]) * (width - 1) / 2
                y = i + float(field[b, 1, i, j]) * (height - 1) / 2
                x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
                left, top = min(int(x), width - 2), min(int(y), height - 2)
                right, low = x - left, y - top
                upper = image[b, :, top, left] * (1 - right) + image[b, :, top, left + 1] * right
                lower = (
                    image[b, :, top + 1, left] * (1 - right)
                    + image[b, :, top + 1, left + 1] * right
                )
                out[b, :, i, j] = upper * (1 - low) + lower * low
    return out


def test_warp_is_what_a_loop_over_places_reads() -> None:
    image, field = draw(*SHAPE), 0.6 * draw(2, 2, 5, 7, seed=1)
    torch.testing.assert_close(warp(image, field), looped_warp(image, field))


def test_warp_by_a_whole_pixel_shifts_and_by_nothing_keeps() -> None:
    image = draw(*SHAPE)
    field = torch.zeros(2, 2, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(warp(image, field), image)
    field[:, 0] = 2 / 6  # of seven columns: one to the right
    shifted = warp(image, field)
    torch.testing.assert_close(shifted[..., :-1], image[..., 1:])
    torch.testing.assert_close(shifted[..., -1], image[..., -1])


def test_way_back_undoes_a_constant_way_forth_within_the_rim() -> None:
    image = draw(1, 1, 9, 9)
    coarse = torch.full((1, 2, 9, 9), 2 / 8, dtype=torch.float64)
    back = warp_twice(warp_twice(image, coarse, coarse), -coarse, -coarse)
    torch.testing.assert_close(back[..., 2:, 2:], image[..., 2:, 2:])


def test_coordinates_are_the_formulas_of_the_row_and_of_the_column() -> None:
    found = coordinates(8, 16)
    for i in range(8):
        for j in range(16):
            expected = []
            for place, length in ((i, 8), (j, 16)):
                step = math.floor(place / 4) / (length / 4 - 1)
                expected += [2 * (place / (length - 1) - step) - 1, 2 * step - 1]
            assert found[:, i, j].tolist() == pytest.approx(expected, abs=1e-6)


def test_roughness_is_each_place_less_its_neighbours_mean() -> None:
    field = draw(1, 2, 4, 5)
    total = 0.0
    for i in range(4):
        for j in range(5):
            value = 0.0
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    if 0 <= i + di < 4 and 0 <= j + dj < 5:
                        weight = 1.0 if di == dj == 0 else -1 / 8
                        value += weight * float(field[0, :, i + di, j + dj].sum())
            total += abs(value)
    assert float(roughness(field)) == pytest.approx(total / 20)
    assert roughness(torch.ones(1, 2, 64, 64)) < 0.1  # at the rim alone


def test_loss_is_length_roughness_and_what_does_not_come_back() -> None:
    image, fields = draw(*SHAPE), [0.2 * draw(2, 2, 5, 7, seed=seed) for seed in range(4)]
    d1, d2, e1, e2 = fields
    bent = looped_warp(looped_warp(image, d1), d2)
    returned = looped_warp(looped_warp(bent, e2), e1)
    expected = (returned - image).square().mean() + sum(roughness(one) for one in fields)
    expected = expected + d1.square().sum(1).sqrt().mean() + d2.square().sum(1).sqrt().mean()
    torch.testing.assert_close(deformation_loss(image, bent, (d1, d2), (e1, e2)), expected)


def test_fields_of_nothing_cost_nothing_and_have_a_gradient() -> None:
    image = draw(*SHAPE)
    still = torch.zeros(2, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    loss = deformation_loss(image, warp_twice(image, still, still), (still, still), (still, still))
    [gradient] = torch.autograd.grad(loss, still)
    assert loss < 1e-12 and torch.isfinite(gradient).all()


def test_magnitude_adds_the_lengths_of_both_ways_where_they_lead() -> None:
    e1, e2 = (0.2 * draw(2, 2, 5, 7, seed=seed) for seed in (2, 3))
    length = [one.square().sum(1, keepdim=True).sqrt() for one in (e1, e2)]
    torch.testing.assert_close(magnitude((e1, e2)), looped_warp(length[1], e1) + length[0])
