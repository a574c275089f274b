"""Claims about the DataModule: from a folder to batches, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from datamodules.imdd import IMDDDataModule
from datamodules.manifest import Manifest, write_manifest
from datamodules.sample import UNLABELLED, Batch, Record
from datamodules.splits import check_groups
from datamodules.transforms import ResizedCrop
from tests.datamodules.parts_data import MakeData, Parts, ready

MakeRecords = Callable[[int], list[Record]]


def test_training_batches_are_crops_of_one_size(make_data: MakeData) -> None:
    batches = list(ready(make_data()).train_dataloader())
    assert all(batch.image.shape[1:] == (3, 32, 32) for batch in batches)
    assert batches[0].mask.shape == (4, 32, 32)
    assert len(batches[0].captions) == len(batches[0].class_ids) == 4


def test_validation_and_test_are_whole_images_in_order(make_data: MakeData) -> None:
    data = ready(make_data())
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        batches = list(loader)
        assert [int(batch.row) for batch in batches] == data.index.rows_of(split).tolist()
        assert all(batch.image.shape == (1, 3, 40, 60) for batch in batches)


def test_splits_share_no_group(make_data: MakeData) -> None:
    index = ready(make_data()).index
    check_groups([index[row] for row in range(len(index))])
    assert {len(index.rows_of(split)) > 0 for split in ("train", "val", "test")} == {True}


def test_vocabulary_is_that_of_the_source(make_data: MakeData) -> None:
    assert ready(make_data()).vocabulary.names == ("good", "crack", "stain")


def test_draws_per_epoch_set_the_length_of_an_epoch(make_data: MakeData) -> None:
    loader = ready(make_data(draws_per_epoch=10)).train_dataloader()
    assert len(loader) == 3
    assert sum(len(batch.row) for batch in loader) == 10


def test_fewer_validation_images_keep_the_mix_of_types(make_data: MakeData) -> None:
    data = ready(
        make_data(train_fraction=0.3, val_fraction=0.5, test_fraction=0.2, max_val_images=6)
    )
    batches = list(data.val_dataloader())
    assert len(batches) == 6
    assert {batch.class_ids[0] for batch in batches} == {(), (1,), (2,)}


def test_prepared_manifest_opens_without_its_source(make_data: MakeData, tmp_path: Path) -> None:
    first = ready(make_data())
    data = ready(IMDDDataModule(manifest=str(first.index.path), eval_batch_size=2))
    assert data.index.sha256 == first.index.sha256
    assert next(iter(data.test_dataloader())).image.shape[0] == 2


def test_root_replaces_the_folder_of_a_manifest(make_data: MakeData, tmp_path: Path) -> None:
    path = ready(make_data()).index.path
    (tmp_path / "raw").rename(tmp_path / "moved")
    data = ready(IMDDDataModule(manifest=str(path), root=str(tmp_path / "moved")))
    assert (
        next(iter(data.test_dataloader())).row.tolist() == data.index.rows_of("test")[:1].tolist()
    )


def test_other_settings_never_share_a_manifest(make_data: MakeData) -> None:
    first, second = make_data(), make_data(split_seed=1)
    first.prepare_data()
    second.prepare_data()
    first.setup()
    second.setup()
    assert first.index.path != second.index.path
    assert first.index.split_sha256 != second.index.split_sha256


def test_bad_picture_is_left_out_and_named(
    make_data: MakeData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_data()
    (tmp_path / "raw" / "007.png").write_bytes(b"gone")
    assert "007.png" not in ready(data).index.column("image")
    assert "1 unusable pictures of parts are left out, the first is 007.png" in caplog.text


def leaking(make_manifest: Callable[[int], Manifest], leaks: int) -> Manifest:
    whole = make_manifest(6)
    records = [replace(whole[row], split="train") for row in range(len(whole))]
    return write_manifest(
        whole.path,
        records,
        root=whole.root,
        vocabulary=whole.vocabulary,
        source="parts",
        leaks=leaks,
    )


@pytest.mark.parametrize(("leaks", "why"), [(2, "2 pairs of alike"), (-1, "nobody has looked")])
def test_leaking_manifest_is_not_trained_on(make_manifest, leaks: int, why: str) -> None:
    path = leaking(make_manifest, leaks).path
    with pytest.raises(ValueError, match=why):
        IMDDDataModule(manifest=str(path)).setup()


def test_leaking_manifest_is_trained_on_where_the_config_says_so(make_manifest) -> None:
    data = IMDDDataModule(manifest=str(leaking(make_manifest, 2).path), allow_leakage=True)
    data.setup()
    assert data.samples_per_epoch == 6


def test_shots_limit_the_training_images_of_each_type(make_data: MakeData) -> None:
    data = ready(make_data(shots_per_type=2))
    assert data.samples_per_epoch == 6


def test_unlabelled_pictures_train_only_where_asked_and_never_with_their_group(
    make_data: MakeData, make_records: MakeRecords
) -> None:
    records = make_records(48)
    records[47] = replace(records[47], split=UNLABELLED, defects=(), mask="", mask_values=())
    source = Parts([replace(r, group=f"own{k}") for k, r in enumerate(records)])
    counts = [
        ready(make_data(source=source, use_unlabelled=use)).samples_per_epoch
        for use in (False, True)
    ]
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize(("given", "word"), [({}, "neither"), ({"manifest": "m"}, "both")])
def test_exactly_one_of_source_and_manifest(
    given: dict[str, str], word: str, make_records: MakeRecords
) -> None:
    source = Parts(make_records(1)) if given else None
    with pytest.raises(ValueError, match=f"the data has {word} of source and manifest"):
        IMDDDataModule(source=source, root="raw", **given)


def test_source_without_root_is_refused(make_data: MakeData) -> None:
    with pytest.raises(ValueError, match="source parts has no root"):
        make_data(root="")


def test_missing_root_is_one_line(make_data: MakeData, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere is missing"):
        make_data(root=str(tmp_path / "nowhere")).prepare_data()


def test_empty_folder_is_one_line(make_data: MakeData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no pictures of source parts"):
        make_data(source=Parts([])).prepare_data()


def test_leaking_source_is_refused(make_data: MakeData, make_records: MakeRecords) -> None:
    splits = ("train", "val", "test")
    records = [replace(r, split=splits[k % 3]) for k, r in enumerate(make_records(12))]
    with pytest.raises(ValueError, match="is in the splits"):
        make_data(source=Parts(records)).prepare_data()


def test_missing_manifest_is_one_line() -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.parquet is missing: run python -m"):
        IMDDDataModule(manifest="none.parquet").setup()


def test_split_without_images_is_one_line(make_data: MakeData) -> None:
    with pytest.raises(ValueError, match="has no val images among 48"):
        ready(make_data(train_fraction=0.75, val_fraction=0.0)).val_dataloader()


def test_asking_before_setup_is_our_own_fault(make_data: MakeData) -> None:
    with pytest.raises(RuntimeError, match="call prepare_data"):
        make_data().vocabulary  # noqa: B018


class Summed(LightningModule):
    """A module of one weight that counts the images it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained, self.validated = 0, 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.trained += len(batch.row)
        return (self.weight * batch.image.mean()).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.validated += len(batch.row)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_lightning_trains_on_it(make_data: MakeData, tmp_path: Path) -> None:
    module, data = Summed(), make_data(train_transform=ResizedCrop(24), draws_per_epoch=12)
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        devices=1,
    )
    trainer.fit(module, data)
    assert module.trained == 24
    assert module.validated == 2 * len(data.index.rows_of("val"))


def test_manifest_written_here_is_one_that_opens(make_data: MakeData) -> None:
    path = ready(make_data()).index.path
    assert path.name.startswith("parts-")
    assert Manifest.open(path).source == "parts"
