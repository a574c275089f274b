"""Claims about opened samples: what they show, what is said of it, and what bad files do."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.captions import Caption
from datamodules.dataset import DefectDataset
from datamodules.manifest import Manifest, write_manifest
from datamodules.sample import MaskValues, Record, Sample
from datamodules.sampler import Draw
from datamodules.transforms import NativeCrop, Transform, Unchanged
from datamodules.vocabulary import Vocabulary

MakeRecords = Callable[[int], list[Record]]
MakeManifest = Callable[[int], Manifest]


def opened(manifest: Manifest, transform: Transform, *, in_memory: bool = False) -> DefectDataset:
    rows = np.arange(len(manifest))
    return DefectDataset(manifest, rows, transform, seed=0, in_memory=in_memory)


def of_records(records: list[Record], root: Path) -> DefectDataset:
    names = Vocabulary.from_names(["crack", "stain"])
    path = root.parent / "m.parquet"
    manifest = write_manifest(path, records, root=root, vocabulary=names, source="parts")
    return opened(manifest, Unchanged())


def same(first: Sample, second: Sample) -> bool:
    return torch.equal(first.image, second.image) and torch.equal(first.mask, second.mask)


def test_a_sample_is_image_mask_and_words(make_manifest: MakeManifest) -> None:
    sample = opened(make_manifest(3), Unchanged())[1]
    assert sample.image.shape == (3, 40, 60)
    assert -1 <= float(sample.image.min()) < float(sample.image.max()) == 1
    assert sample.mask.dtype == torch.int64
    assert sample.mask.unique().tolist() == [0, 1]
    assert (sample.class_ids, sample.has_mask, sample.row) == ((1,), True, 1)
    assert sample.caption == "Plate of steel with crack located at the left."


def test_good_part_has_no_class(make_manifest: MakeManifest) -> None:
    sample = opened(make_manifest(3), Unchanged())[0]
    assert (sample.class_ids, sample.caption) == ((), "Plate of steel with no defect.")


def test_index_follows_the_rows(make_manifest: MakeManifest) -> None:
    dataset = DefectDataset(make_manifest(6), np.array([4, 2]), Unchanged(), seed=0)
    assert [dataset[index].row for index in range(len(dataset))] == [4, 2]


def test_good_part_without_mask_file_is_known_to_be_good(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    record = replace(make_records(1)[0], mask="", mask_values=())
    sample = of_records([record], tmp_path / "raw")[0]
    assert sample.has_mask
    assert not sample.mask.any()


def test_defect_without_mask_file_keeps_its_type(make_records: MakeRecords, tmp_path: Path) -> None:
    record = replace(make_records(2)[1], mask="", mask_values=())
    sample = of_records([record], tmp_path / "raw")[0]
    assert (sample.has_mask, sample.class_ids) == (False, (1,))


def test_class_ids_are_those_in_sight_and_the_recorded_one_first(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    record = make_records(3)[2]
    mask = np.zeros((40, 60), np.uint8)
    mask[:30], mask[35:] = 1, 2
    Image.fromarray(mask).save(tmp_path / "raw" / record.mask)
    sample = of_records([record], tmp_path / "raw")[0]
    assert sample.class_ids == (2, 1)


def test_caption_names_only_the_types_in_sight(make_records: MakeRecords, tmp_path: Path) -> None:
    both = replace(
        make_records(3)[2],
        defects=("stain", "crack"),
        caption=Caption("plate", defect="stain and crack", cause="age"),
    )
    assert of_records([both], tmp_path / "raw")[0].caption == "Plate with stain."


def test_crop_beside_the_defect_is_a_good_sample(make_manifest: MakeManifest) -> None:
    crop = NativeCrop(12, defect_probability=0.0)
    dataset = opened(make_manifest(2), crop)
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
    manifest = make_manifest(3)
    dataset = opened(manifest, NativeCrop(32))
    dataset.rows = np.arange(3).repeat(100_000)
    sent = pickle.dumps(dataset)
    assert len(sent) < 5_000
    assert same(pickle.loads(sent)[Draw(1, 4)], dataset[Draw(1, 4)])


def test_epoch_is_the_turn_of_plain_indices(make_manifest: MakeManifest) -> None:
    dataset = opened(make_manifest(3), NativeCrop(32))
    dataset.set_epoch(4)
    assert same(dataset[1], dataset[Draw(1, 4)])


def test_samples_from_memory_equal_those_from_files(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(3)
    kept, read = (opened(manifest, NativeCrop(32), in_memory=flag) for flag in (True, False))
    for row in range(3):
        first = kept[row]
        assert same(kept[row], first)
        assert same(first, read[row])


def test_memory_spares_the_files(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(2)
    dataset = opened(manifest, Unchanged(), in_memory=True)
    before = dataset[1]
    (manifest.root / "001.png").unlink()
    assert same(dataset[1], before)


def test_memory_is_limited(make_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.dataset.CACHE_LIMIT_BYTES", 40 * 60 * 2)
    manifest = make_manifest(2)
    dataset = opened(manifest, Unchanged(), in_memory=True)
    _, second = dataset[0], dataset[1]
    (manifest.root / "000.png").unlink()
    assert same(dataset[1], second)
    assert dataset[0].row == 0, "grey pictures are kept with one channel"
    (manifest.root / "001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"001\.png is missing"):
        dataset[1]


def test_picture_that_went_bad_is_one_line(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(2)
    (manifest.root / "001.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"001\.png is not a readable image"):
        opened(manifest, Unchanged())[1]


def test_unknown_mask_id_is_one_line(make_records: MakeRecords, tmp_path: Path) -> None:
    record = replace(make_records(3)[2], mask_values=(MaskValues(1, 1, "crack"),))
    with pytest.raises(ValueError, match="unknown id 2"):
        of_records([record], tmp_path / "raw")[0]


def test_variants_of_a_picture_come_in_turn(make_manifest: MakeManifest) -> None:
    dataset = opened(make_manifest(4), NativeCrop(32, variants=2))
    first, second, third = (dataset[Draw(1, turn)] for turn in range(3))
    assert third.image.equal(first.image) and not second.image.equal(first.image)
    assert third.variant_id == first.variant_id != second.variant_id


def test_noise_of_a_variant_that_comes_again_is_new(make_manifest: MakeManifest) -> None:
    dataset = opened(make_manifest(4), NativeCrop(32, variants=1))
    assert dataset[Draw(1, 0)].seed != dataset[Draw(1, 1)].seed


def test_pictures_never_share_a_variant(make_manifest: MakeManifest) -> None:
    dataset = opened(make_manifest(4), NativeCrop(32, variants=2))
    drawn = [dataset[Draw(row, turn)].variant_id for row in range(4) for turn in range(4)]
    assert len(set(drawn)) == 8
