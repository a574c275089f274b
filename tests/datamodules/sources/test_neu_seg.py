"""The quirks of NEU-Seg, on fake and on real files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.sources.neu_seg import NeuSeg, turned_copies


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (20, 20))
    return np.kron(coarse, np.ones((3, 3))).astype(np.uint8)


def save(
    root: Path, split: str, number: int, *, pixels: np.ndarray, mask: np.ndarray | None = None
):
    for folder in ("images", "annotations"):
        (root / folder / split).mkdir(parents=True, exist_ok=True)
    if mask is None:
        mask = np.eye(60, dtype=np.uint8)
    rgb = np.repeat(pixels[..., None], 3, axis=2)
    Image.fromarray(rgb).save(root / f"images/{split}/{number:06d}.jpg", quality=95)
    Image.fromarray(mask.astype(np.uint8)).save(root / f"annotations/{split}/{number:06d}.png")


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    save(tmp_path, "training", 1, pixels=picture(1))
    save(tmp_path, "training", 2, pixels=np.rot90(picture(9)))
    save(tmp_path, "training", 3, pixels=np.rot90(picture(1), 2))
    save(tmp_path, "training", 4, pixels=picture(4))
    save(tmp_path, "test", 1, pixels=picture(9))
    return tmp_path


def test_turned_copies_of_test_pictures_are_dropped(leaking):
    kept = [record.image for record in NeuSeg().records(leaking)]
    names = ("training/000001", "training/000003", "training/000004", "test/000001")
    assert kept == [f"images/{name}.jpg" for name in names]


def test_turned_copies_in_training_are_one_group(leaking):
    first, third, fourth, _ = NeuSeg().records(leaking)
    assert first.group == third.group != fourth.group


def test_equal_numbers_of_both_splits_are_different_groups(leaking):
    records = NeuSeg().records(leaking)
    assert records[0].group != records[-1].group


def test_the_published_split_is_kept_on_demand(leaking):
    records = NeuSeg(drop_turned_copies=False).records(leaking)
    assert [record.split for record in records] == ["train"] * 4 + ["test"]
    assert len({record.group for record in records}) == 5


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_copies_are_found_at_every_turn_and_contrast(quarter_turns):
    small = np.random.default_rng(0).normal(size=(3, 20, 20))
    turned = 0.5 * np.rot90(small, quarter_turns, axes=(1, 2)) + 30
    np.testing.assert_array_equal(turned_copies(turned, small), np.eye(3, dtype=bool))


def test_even_pictures_are_nobodys_copies():
    assert not turned_copies(np.ones((2, 20, 20)), np.ones((2, 20, 20))).any()


def test_the_largest_type_of_a_composite_is_dominant(tmp_path):
    mask = np.zeros((60, 60))
    mask[:5], mask[20:50] = 3, 2
    save(tmp_path, "training", 1, pixels=picture(1), mask=mask)
    save(tmp_path, "test", 1, pixels=picture(2))
    record = NeuSeg().records(tmp_path)[0]
    assert record.defects == ("patches", "scratches")
    assert record.caption.defect == "patches and scratches"


def test_unknown_mask_id_is_one_clear_line(tmp_path):
    save(tmp_path, "training", 1, pixels=picture(1), mask=np.full((60, 60), 7))
    save(tmp_path, "test", 1, pixels=picture(2))
    with pytest.raises(ValueError, match="unknown id 7"):
        NeuSeg().records(tmp_path)


def test_missing_mask_is_one_clear_line(leaking):
    (leaking / "annotations/training/000004.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"000004\.png is missing"):
        NeuSeg().records(leaking)


def test_real_training_part_loses_its_copies_of_test_pictures(shared_data):
    records = NeuSeg().records(shared_data / "neu_seg")
    assert sum(record.split == "test" for record in records) == 210
    assert sum(record.split == "train" for record in records) == 627
