"""Rendered surfaces: ranges and repetition by seed."""

import numpy as np
import pytest

from datamodules.rendering.materials import MATERIALS


@pytest.mark.parametrize("size_px", [64, 97, 128])
@pytest.mark.parametrize("material", MATERIALS, ids=lambda material: material.draw.__name__)
def test_surfaces_are_colour_pictures_with_structure(material, size_px):
    image = material.draw(np.random.default_rng(0), size_px)
    assert image.shape == (size_px, size_px, 3)
    assert image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1
    assert image.std() > 0.02


@pytest.mark.parametrize("material", MATERIALS, ids=lambda material: material.draw.__name__)
def test_surfaces_repeat_by_seed_and_only_by_seed(material):
    first, again, other = (material.draw(np.random.default_rng(seed), 64) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
