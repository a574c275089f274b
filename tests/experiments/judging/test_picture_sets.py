"""Claims about views of real pictures, and what is seen in views."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from datamodules.transforms import to_pixels
from experiments.judging.picture_sets import (
    RealPictures,
    TensorPictures,
    crop_views,
    describe,
    whole_views,
)
from lightning_modules.nets.feature_extractors import TimmExtractor
from tests.experiments.audits.small_manifest import small_manifest
from tests.lightning_modules.small_weights import NET, save_net


def real_crops(folder: Path, **settings: int) -> RealPictures:
    manifest = small_manifest(folder)
    return RealPictures(manifest, manifest.rows_of("train"), crop_views(24), **settings)


def test_a_crop_is_pixels_of_the_picture_unchanged(tmp_path: Path) -> None:
    pictures = real_crops(tmp_path)
    for number, row in enumerate(pictures.origins):
        crop = pictures[number].pixels[..., 0]
        windows = sliding_window_view(pictures.whole(row)[..., 0], (24, 24))
        assert (windows == crop).all(axis=(2, 3)).any()


def test_a_whole_view_of_a_square_picture_is_the_picture(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    record = manifest[0]
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)
    image, _, _ = whole_views(40)(
        pixels[:, :40], np.zeros((40, 40), np.uint8), record.caption, has_mask=True, seed=3
    )
    assert np.array_equal(image, pixels[:, :40])


def test_views_are_the_same_at_each_call_and_differ_by_seed(tmp_path: Path) -> None:
    first, second = real_crops(tmp_path), real_crops(tmp_path, seed=1)
    assert np.array_equal(first[0].pixels, first[0].pixels)
    assert not np.array_equal(first[0].pixels, second[0].pixels)


def test_views_of_one_picture_share_its_origin_and_differ(tmp_path: Path) -> None:
    pictures = real_crops(tmp_path, views_per_picture=2)
    half = len(pictures) // 2
    assert pictures.origins[:half] == pictures.origins[half:]
    assert not np.array_equal(pictures[0].pixels, pictures[half].pixels)


def test_a_view_is_named_by_what_is_in_sight(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    always = RealPictures(manifest, np.arange(9), crop_views(24, 1.0))
    never = RealPictures(manifest, np.arange(9), crop_views(1, 0.0))
    assert {always[number].kind for number in range(9)} == {"good", "crack", "stain"}
    assert [never[number].kind for number in range(9)].count("good") > 5


def test_description_is_what_the_extractor_sees_whatever_the_batch(
    tmp_path: Path, seed: int
) -> None:
    save_net(tmp_path)
    extractor = TimmExtractor(NET, tmp_path / "net.safetensors")
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    seen = describe(extractor, TensorPictures(images, ["crack"] * 5), batch_size=2)
    pixels = np.stack([to_pixels(image) for image in images])
    direct = extractor(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    torch.testing.assert_close(seen.features, direct.features)
    assert seen.logits is not None
    torch.testing.assert_close(seen.logits, direct.logits)
    assert seen.thumbnails.shape == (5, 48, 48)


@pytest.mark.parametrize("workers", [0, 1])
def test_views_are_opened_by_workers_too(tmp_path: Path, workers: int) -> None:
    save_net(tmp_path)
    extractor = TimmExtractor(NET, tmp_path / "net.safetensors")
    pictures = real_crops(tmp_path)
    seen = describe(extractor, pictures, batch_size=2, workers=workers)
    assert seen.kinds == tuple(pictures[number].kind for number in range(len(pictures)))
