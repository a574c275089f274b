"""The rendered data set: balance, exact words, determinism."""

from collections import Counter

import numpy as np
import pytest

from datamodules.captions import Caption
from datamodules.decode import open_image
from datamodules.preparing.inspection import inspect
from datamodules.rendering.defects import DEFECTS, MIN_AREA_PX
from datamodules.rendering.materials import MATERIALS
from datamodules.sources.synthetic import Synthetic


def mask_of(record, root) -> np.ndarray:
    return open_image(root / record.mask)[..., 0] > 127


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture(scope="module")
def records(root):
    return Synthetic(64, 64, seed=3).records(root)


def test_a_quarter_is_good_types_are_even_and_each_meets_every_material(records):
    counts = Counter(record.defects for record in records)
    assert counts.pop(()) == 16
    assert set(counts.values()) == {6}
    assert len(counts) == len(DEFECTS) >= 8
    pairs = {(record.caption.material, record.defects) for record in records if record.defects}
    assert len(pairs) == len(MATERIALS) * len(DEFECTS)


def test_defects_cover_20_pixels_to_a_quarter(records, root):
    for record in records:
        area_px = mask_of(record, root).sum()
        expected = MIN_AREA_PX <= area_px <= 0.25 * 64 * 64 if record.defects else area_px == 0
        assert expected, record.image


def test_inspected_captions_fill_the_whole_template_and_parse_back(records, root):
    for record in records:
        caption = inspect(record, root).record.caption
        assert Caption.parse(caption.render()) == caption
        assert all(vars_of(caption)) == bool(record.defects)


def vars_of(caption: Caption) -> list[str]:
    names = ("product", "material", "defect", "location", "morphology", "cause")
    return [getattr(caption, name) for name in names]


def test_images_follow_from_the_seed_and_are_rendered_once(tmp_path, records, root):
    assert Synthetic(64, 64, seed=3).records(tmp_path) == records
    image = tmp_path / records[0].image
    before = image.stat().st_mtime_ns
    assert image.read_bytes() == (root / records[0].image).read_bytes()
    Synthetic(64, 64, seed=3).records(tmp_path)
    assert image.stat().st_mtime_ns == before
    other = tmp_path / Synthetic(64, 64, seed=4).records(tmp_path)[0].image
    assert other.read_bytes() != image.read_bytes()
