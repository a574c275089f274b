"""Holds that painted anomalies follow from their seed, stay in range and leave the target clean."""

import math

import pytest
import torch
from torch import Generator

from lightning_modules.nets.synthetic_anomalies import (
    RECOLOURINGS,
    SyntheticAnomalies,
    blend_texture,
    paste_piece,
    perlin_noise,
    turn_about_corner,
)

SIZES = [(32, 32), (40, 24), (17, 50)]


def image_of(size: tuple[int, int]) -> torch.Tensor:
    return torch.rand(3, *size, generator=Generator().manual_seed(1))


@pytest.mark.parametrize("size", SIZES)
def test_same_seed_paints_the_same(size: tuple[int, int]) -> None:
    images, paint = image_of(size).expand(6, 3, *size), SyntheticAnomalies(1.0)
    spoilt, clean = paint(images, range(6))
    again, _ = paint(images.flip(0), range(6))
    assert torch.equal(spoilt, again)
    assert spoilt.shape == clean.shape == images.shape
    assert not torch.equal(spoilt[0], spoilt[1])
    assert spoilt.min() >= 0 and spoilt.max() <= 1


def test_about_half_of_the_images_stay_clean_and_a_third_is_turned() -> None:
    images = image_of((16, 16)).expand(400, 3, 16, 16)
    spoilt, clean = SyntheticAnomalies()(images, range(400))
    unpainted = (spoilt == clean).flatten(1).all(1)
    whole = (clean == images).flatten(1).all(1)
    # Noise of few cells may stay below its threshold.
    assert 0.45 < unpainted.float().mean() < 0.75
    assert whole.float().mean().item() == pytest.approx(0.7, abs=0.08)


def test_without_probability_nothing_is_painted() -> None:
    images = image_of((16, 16)).expand(20, 3, 16, 16)
    spoilt, clean = SyntheticAnomalies(0.0, 0.0)(images, range(20))
    assert torch.equal(spoilt, images) and torch.equal(clean, images)


@pytest.mark.parametrize("radians", [-5, 2, 4])
def test_turned_piece_is_read_about_its_corner_and_black_where_nothing_is(radians: int) -> None:
    image = 0.2 + 0.5 * image_of((20, 30))
    found = turn_about_corner(image, radians)
    torch.testing.assert_close(found[:, 0, 0], image[:, 0, 0])
    row, column = 7, 5
    x = math.cos(radians) * column - math.sin(radians) * row
    y = math.sin(radians) * column + math.cos(radians) * row
    left, top = math.floor(x), math.floor(y)
    expected = torch.zeros(3)
    for i, share_y in ((top, top + 1 - y), (top + 1, y - top)):
        for j, share_x in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= i < 20 and 0 <= j < 30:
                expected += share_y * share_x * image[:, i, j]
    torch.testing.assert_close(found[:, row, column], expected, atol=1e-4, rtol=0)


def test_piece_that_is_not_turned_stays_whole() -> None:
    image = image_of((20, 30))
    torch.testing.assert_close(turn_about_corner(image, 0.0), image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_pasted_piece_is_one_rectangle(size: tuple[int, int]) -> None:
    image = image_of(size)
    for seed in range(20):
        found = paste_piece(image, Generator().manual_seed(seed))
        changed = (found != image).any(0)
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        if len(rows):
            box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
            # Black and turned pixels differ nearly everywhere from noise.
            assert changed.sum() >= 0.9 * box


def test_texture_changes_spots_alone() -> None:
    image, spots = image_of((16, 16)), torch.zeros(16, 16)
    spots[4:8, 4:8] = 1
    found = blend_texture(image, spots, Generator().manual_seed(0))
    changed = (found != image).any(0)
    assert changed[4:8, 4:8].all() and changed.sum() == 16


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", SIZES)
def test_noise_follows_from_its_generator(size: tuple[int, int], seed: int) -> None:
    noise = perlin_noise(size, Generator().manual_seed(seed))
    assert noise.shape == size
    assert torch.equal(noise, perlin_noise(size, Generator().manual_seed(seed)))
    assert not torch.equal(noise, perlin_noise(size, Generator().manual_seed(seed + 10)))
    assert noise.abs().max() < 1.1 and noise.std() > 0.05


@pytest.mark.parametrize("recolour", RECOLOURINGS)
def test_recolouring_keeps_shape_and_takes_grey(recolour) -> None:  # type: ignore[no-untyped-def]
    grey = torch.rand(1, 12, 18, generator=Generator().manual_seed(1)).expand(3, 12, 18)
    for image in (grey, image_of((12, 18))):
        found = recolour(image, Generator().manual_seed(2))
        assert found.shape == image.shape and found.isfinite().all()
