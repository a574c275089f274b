"""Holds the sinusoid against hand-worked numbers and diffusers."""

import math

import pytest
import torch
from diffusers.models.embeddings import get_timestep_embedding

from lightning_modules.equations.embedding import embed_positions


def test_position_zero_is_zeros_then_ones() -> None:
    assert embed_positions(torch.tensor([0]), 6).tolist() == [[0, 0, 0, 1, 1, 1]]


def test_position_one_by_hand() -> None:
    expected = [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)]
    assert embed_positions(torch.tensor([1]), 4)[0].tolist() == pytest.approx(expected)


def test_embedding_equals_diffusers() -> None:
    positions = torch.tensor([0, 1, 50, 999])
    expected = get_timestep_embedding(positions, 256, downscale_freq_shift=0)
    torch.testing.assert_close(embed_positions(positions, 256), expected, rtol=1e-5, atol=1e-5)
