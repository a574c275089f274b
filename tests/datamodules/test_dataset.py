"""Opened samples: what they show, what is said of it, and what bad files do."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.captions import Caption
from datamodules.dataset import DefectDataset
from datamodules.manifest import Manifest, write_manifest
from datamodules.sample import Record, Sample
from datamodules.sampler import Draw
from datamodules.transforms import NativeCrop, Transform, Unchanged
from datamodules.vocabulary import Vocabulary
from tests.datamodules.conftest import TYPES, MakeManifest, MakeRecords


def opened(manifest: Manifest, transform: Transform, *, in_memory: bool = False) -> DefectDataset:
    rows = np.arange(len(manifest))
    return DefectDataset(manifest, rows, transform, seed=0, in_memory=in_memory)


def sample_of(record: Record, root: Path) -> Sample:
    """The whole image of a record, opened."""
    names, path = Vocabulary.from_names(TYPES), root / "m.parquet"
    manifest = write_manifest(path, [record], root=root, vocabulary=names, source="parts")
    return opened(manifest, Unchanged())[Draw(0, 0)]


def same(first: Sample, second: Sample) -> bool:
    return torch.equal(first.image, second.image) and torch.equal(first.mask, second.mask)


def test_a_sample_is_image_mask_and_words(make_manifest: MakeManifest) -> None:
    dataset = opened(make_manifest(3), Unchanged())
    good, sample = (dataset[Draw(row, 0)] for row in (0, 1))
    assert sample.image.shape == (3, 40, 60)
    assert -1 <= float(sample.image.min()) < float(sample.image.max()) == 1
    assert sample.mask.dtype == torch.int64
    assert sample.mask.unique().tolist() == [0, 1]
    assert (sample.class_ids, sample.has_mask, sample.row) == ((1,), True, 1)
    assert sample.caption == "Plate of steel with crack located at the left."
    assert (good.class_ids, good.caption) == ((), "Plate of steel with no defect.")


def test_class_ids_are_those_in_sight_and_the_recorded_one_first(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    record = make_records(3)[2]
    mask = np.zeros((40, 60), np.uint8)
    mask[:30], mask[35:] = 1, 2
    Image.fromarray(mask).save(tmp_path / "raw" / record.mask)
    assert sample_of(record, tmp_path / "raw").class_ids == (2, 1)


def test_caption_names_only_the_types_in_sight(make_records: MakeRecords, tmp_path: Path) -> None:
    caption = Caption("plate", defect="stain and crack", cause="age")
    both = replace(make_records(3)[2], defects=("stain", "crack"), caption=caption)
    assert sample_of(both, tmp_path / "raw").caption == "Plate with stain."


def test_crop_beside_the_defect_is_a_good_sample(make_manifest: MakeManifest) -> None:
    dataset = opened(make_manifest(2), NativeCrop(12, defect_probability=0.0))
    samples = [dataset[Draw(1, turn)] for turn in range(20)]
    empty = [sample for sample in samples if not sample.mask.any()]
    assert empty
    assert all(s.class_ids == () and s.caption.endswith("no defect.") for s in empty)


def test_same_draw_is_the_same_sample(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(3)
    first, second = (opened(manifest, NativeCrop(32)) for _ in range(2))
    assert same(first[Draw(2, 5)], second[Draw(2, 5)])
    assert not same(first[Draw(2, 5)], first[Draw(2, 6)])


def test_loader_workers_carry_no_list_of_rows(make_manifest: MakeManifest) -> None:
    dataset = opened(make_manifest(3), NativeCrop(32))
    dataset.rows = np.arange(3).repeat(100_000)
    sent = pickle.dumps(dataset)
    assert len(sent) < 5_000
    assert same(pickle.loads(sent)[Draw(1, 4)], dataset[Draw(1, 4)])


def test_memory_spares_the_files_up_to_its_limit(
    make_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One grey image and its mask: grey is kept with one channel.
    monkeypatch.setattr("datamodules.dataset.CACHE_LIMIT_BYTES", 40 * 60 * 2)
    manifest = make_manifest(2)
    kept, read = (opened(manifest, NativeCrop(32), in_memory=flag) for flag in (True, False))
    draws = Draw(0, 0), Draw(1, 0)
    first, second = (read[draw] for draw in draws)
    assert same(kept[draws[0]], first)
    assert same(kept[draws[1]], second)
    for name in ("000.png", "001.png"):
        (manifest.root / name).unlink()
    assert same(kept[draws[0]], first)
    with pytest.raises(FileNotFoundError, match=r"001\.png is missing"):
        kept[draws[1]]


def test_variants_of_an_image_come_in_turn_with_new_noise(make_manifest: MakeManifest) -> None:
    dataset = opened(make_manifest(4), NativeCrop(32, variants=2))
    first, second, third = (dataset[Draw(1, turn)] for turn in range(3))
    assert third.image.equal(first.image) and not second.image.equal(first.image)
    assert third.variant_id == first.variant_id != second.variant_id
    assert third.seed != first.seed
    drawn = [dataset[Draw(row, turn)].variant_id for row in range(4) for turn in range(4)]
    assert len(set(drawn)) == 8
