"""Rendered surfaces and defects: ranges, repetition by seed, exact masks, sizes and severity."""

import numpy as np
import pytest

from datamodules.rendering.defects import DEFECTS, add_defect
from datamodules.rendering.materials import MATERIALS

each_defect = pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)


def surface(seed: int) -> np.ndarray:
    return MATERIALS[seed % len(MATERIALS)].draw(np.random.default_rng(seed), 96)


@pytest.mark.parametrize("size_px", [64, 97])
@pytest.mark.parametrize("material", MATERIALS, ids=lambda material: material.draw.__name__)
def test_surfaces_are_color_images_with_structure_that_repeat_by_seed_alone(material, size_px):
    image, again, other = (material.draw(np.random.default_rng(k), size_px) for k in (1, 1, 2))
    assert (image.shape, image.dtype) == ((size_px, size_px, 3), np.float32)
    assert 0 <= image.min() < image.max() <= 1 and image.std() > 0.02
    np.testing.assert_array_equal(image, again)
    assert not np.array_equal(image, other)


@each_defect
def test_a_mask_is_exactly_what_was_changed(defect):
    for seed in range(6):
        bare, rng = surface(seed), np.random.default_rng(seed)
        image, mask = add_defect(rng, bare, defect, severity=0.5)
        np.testing.assert_array_equal(image[~mask], bare[~mask])
        assert (image != bare).any(axis=-1)[mask].mean() > 0.9


@each_defect
def test_severity_raises_the_contrast_and_keeps_the_mask(defect):
    bare = surface(1)
    faint, mask = add_defect(np.random.default_rng(5), bare, defect, severity=0.0)
    strong, same_mask = add_defect(np.random.default_rng(5), bare, defect, severity=1.0)
    np.testing.assert_array_equal(mask, same_mask)
    assert np.abs(strong - bare)[mask].mean() > np.abs(faint - bare)[mask].mean() > 0


def test_sizes_run_from_tens_of_pixels_to_tenths_of_the_image():
    stain = next(defect for defect in DEFECTS if defect.name == "stain")
    rngs = map(np.random.default_rng, range(40))
    areas_px = [add_defect(rng, surface(0), stain, severity=1.0)[1].sum() for rng in rngs]
    assert min(areas_px) < 60 and max(areas_px) > 0.1 * 96 * 96
