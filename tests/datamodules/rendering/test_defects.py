"""Rendered defects: exact masks, sizes and severity."""

import numpy as np
import pytest

from datamodules.rendering.defects import DEFECTS, add_defect
from datamodules.rendering.materials import MATERIALS

SEEDS = range(6)
each_defect = pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)


def surface(seed: int) -> np.ndarray:
    return MATERIALS[seed % len(MATERIALS)].draw(np.random.default_rng(seed), 96)


@each_defect
def test_pixels_outside_the_mask_are_untouched(defect):
    for seed in SEEDS:
        image, mask = add_defect(np.random.default_rng(seed), surface(seed), defect, severity=1.0)
        np.testing.assert_array_equal(image[~mask], surface(seed)[~mask])


@each_defect
def test_most_pixels_inside_the_mask_are_changed(defect):
    for seed in SEEDS:
        image, mask = add_defect(np.random.default_rng(seed), surface(seed), defect, severity=0.5)
        assert (image != surface(seed)).any(axis=-1)[mask].mean() > 0.9


@each_defect
def test_severity_raises_the_contrast(defect):
    bare = surface(1)
    faint, mask = add_defect(np.random.default_rng(5), bare, defect, severity=0.0)
    strong, same_mask = add_defect(np.random.default_rng(5), bare, defect, severity=1.0)
    np.testing.assert_array_equal(mask, same_mask)
    assert np.abs(strong - bare)[mask].mean() > np.abs(faint - bare)[mask].mean() > 0


def test_sizes_run_from_tens_of_pixels_to_tenths_of_the_picture():
    stain = next(defect for defect in DEFECTS if defect.name == "stain")
    bare = surface(0)
    areas_px = [
        add_defect(np.random.default_rng(seed), bare, stain, severity=1.0)[1].sum()
        for seed in range(40)
    ]
    assert min(areas_px) < 60
    assert max(areas_px) > 0.1 * 96 * 96
