"""Holds FAIR's filter, similarities and colours to hand-worked numbers, limits and torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from lightning_modules.equations.restoration import (
    colour_difference,
    gradient_dissimilarity,
    gradient_magnitude,
    high_pass,
    restoration_map,
    structural_similarity,
    to_grey,
    to_lab,
)

SIZES = [(64, 64), (40, 33), (21, 96)]
GENERATOR = torch.Generator().manual_seed(0)


def noise(*size: int) -> torch.Tensor:
    return torch.rand(2, 3, *size, generator=GENERATOR)


@pytest.mark.parametrize("size", SIZES)
def test_high_pass_is_the_published_gain_on_the_shifted_spectrum(size: tuple[int, int]) -> None:
    grey = noise(*size)[:1, :1]
    rows, columns = (np.arange(n) - n // 2 for n in size)
    distance = np.hypot(rows[:, None], columns)
    gain = 1 / (1 + (30 / (distance + 1e-6)) ** 4)
    spectrum = np.fft.fftshift(np.fft.fft2(grey[0, 0].double().numpy()))
    expected = np.fft.ifft2(np.fft.ifftshift(spectrum * gain)).real
    np.testing.assert_allclose(high_pass(grey)[0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_high_pass_leaves_nothing_of_a_constant_and_no_mean(size: tuple[int, int]) -> None:
    assert high_pass(torch.full((1, 1, *size), 0.7)).abs().max() < 1e-6
    assert high_pass(noise(*size)[:, :1]).mean((2, 3)).abs().max() < 1e-6


def test_high_pass_is_linear() -> None:
    one, other = noise(32, 48)[:, :1], noise(32, 48)[:, :1]
    together = high_pass(2 * one - 3 * other)
    torch.testing.assert_close(together, 2 * high_pass(one) - 3 * high_pass(other))


def test_grey_weighs_the_channels() -> None:
    image = torch.tensor([1.0, 0.5, 0.25]).view(1, 3, 1, 1)
    assert to_grey(image).item() == pytest.approx(0.299 + 0.587 / 2 + 0.114 / 4)


@pytest.mark.parametrize("size", SIZES)
def test_similarity_is_that_of_torchmetrics(size: tuple[int, int]) -> None:
    one = noise(*size)
    other = (one + 0.2 * noise(*size)).clamp(0, 1)
    expected = structural_similarity_index_measure(
        other.double(), one.double(), data_range=1.0, reduction="none"
    )
    found = structural_similarity(one.double(), other.double())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_similarity_of_an_image_with_itself_is_one() -> None:
    image = noise(32, 32)
    torch.testing.assert_close(structural_similarity(image, image), torch.ones(2))


def test_gradient_of_a_ramp_is_its_slope() -> None:
    ramp = torch.arange(8.0).expand(1, 3, 8, 8) / 10
    # The kernel's ends lie two pixels apart.
    torch.testing.assert_close(
        gradient_magnitude(ramp)[..., 1:-1, 1:-1], torch.full((1, 3, 6, 6), 0.2)
    )


@pytest.mark.parametrize("size", SIZES)
def test_map_of_an_image_and_itself_is_zero(size: tuple[int, int]) -> None:
    image = noise(*size)
    assert restoration_map(image, image).shape == (2, 1, *size)
    assert restoration_map(image, image).abs().max() == 0


def test_dissimilarity_is_the_mean_of_two_scales_by_hand() -> None:
    # A constant against a step of 1: gradient 0 against 2/3 * 3/2 = 1 at both scales beside it.
    flat, step = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    step[..., 8:] = 1.0
    found = gradient_dissimilarity(flat, step)[0, 0, 8]
    similarity = 0.0026 / (1 + 0.0026)
    assert found[8].item() == pytest.approx(1 - similarity, abs=1e-3)
    assert found[2].item() == pytest.approx(0, abs=1e-6)


def test_colours_have_the_known_coordinates() -> None:
    colours = torch.tensor(
        [[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]]
    )
    known = torch.tensor(
        [
            *([100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]),
            *([87.73, -86.18, 83.18], [32.30, 79.19, -107.86], [53.39, 0, 0]),
        ]
    )
    found = to_lab(colours.T.reshape(1, 3, 1, 6))[0, :, 0].T
    torch.testing.assert_close(found, known, atol=0.02, rtol=0)


def test_colour_that_a_net_overshoots_stays_finite() -> None:
    assert to_lab(torch.tensor([-0.5, 0.0, 1.5]).view(1, 3, 1, 1)).isfinite().all()


def test_lightness_has_no_say_in_colours() -> None:
    dark, bright = torch.full((1, 3, 4, 4), 0.2), torch.full((1, 3, 4, 4), 0.8)
    assert colour_difference(dark, bright).max() < 1e-6
    red = dark.clone()
    red[:, 0] = 0.8
    apart = (to_lab(red) - to_lab(dark))[0, 1:, 0, 0]
    assert colour_difference(dark, red).max().item() == pytest.approx(
        0.0003 * apart.square().sum().item(), rel=1e-4
    )


def test_square_that_is_not_restored_has_the_highest_score() -> None:
    clean = torch.full((1, 3, 96, 96), 0.5) + 0.02 * noise(96, 96)[:1]
    planted = clean.clone()
    planted[..., 60:72, 20:32] = torch.rand(1, 3, 12, 12, generator=GENERATOR)
    scores = restoration_map(planted, clean)[0, 0]
    row, column = divmod(int(scores.argmax()), 96)
    assert 60 <= row < 72 and 20 <= column < 32


def test_smoothing_is_a_mean_over_441_pixels() -> None:
    one, other = noise(64, 64), noise(64, 64)
    apart = gradient_dissimilarity(one, other) + colour_difference(one, other)
    found = restoration_map(one, other)
    assert found[0, 0, 30, 30].item() == pytest.approx(
        apart[0, 0, 20:41, 20:41].sum().item() / 441, rel=1e-5
    )
    assert found[0, 0, 0, 0].item() == pytest.approx(
        apart[0, 0, :11, :11].sum().item() / 441, rel=1e-5
    )
