"""Holds the sinusoids against hand-worked numbers and diffusers."""

import math

import pytest
import torch
from diffusers.models.embeddings import get_timestep_embedding

from lightning_modules.equations.embedding import embed_positions, embed_time

TIMES = torch.tensor([0, 1, 50, 999, 1000])


def test_time_by_hand_follows_the_printed_exponents() -> None:
    # i = 0, 1: 10,000^0; i = 2, 3: 10,000^(4/8) = 100; then 10,000^(8/8), 10,000^(12/8).
    angles = [3 / 1, 3 / 100, 3 / 10_000, 3 / 1_000_000]
    expected = [turn(angle) for angle in angles for turn in (math.sin, math.cos)]
    assert embed_time(torch.tensor([3]), 8)[0].tolist() == pytest.approx(expected, abs=1e-7)


def test_time_as_printed_equals_diffusers_at_the_square_of_its_period() -> None:
    sines, cosines = get_timestep_embedding(
        TIMES, 256, downscale_freq_shift=0, max_period=10_000**2
    ).chunk(2, dim=1)
    expected = torch.stack([sines, cosines], dim=-1).flatten(1)
    torch.testing.assert_close(embed_time(TIMES), expected, rtol=1e-5, atol=1e-5)


def test_embedding_equals_diffusers() -> None:
    expected = get_timestep_embedding(TIMES, 256, downscale_freq_shift=0)
    torch.testing.assert_close(embed_positions(TIMES, 256), expected, rtol=1e-5, atol=1e-5)


def test_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width is 65: expected an even number"):
        embed_positions(TIMES, 65)
