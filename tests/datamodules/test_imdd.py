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
from datamodules.transforms import NativeCrop, ResizedCrop
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


def test_bad_image_is_left_out_and_named(
    make_data: MakeData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_data()
    (tmp_path / "raw" / "007.png").write_bytes(b"gone")
    assert "007.png" not in ready(data).index.column("image")
    assert "1 unusable images of parts are left out, the first is 007.png" in caplog.text


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


def test_unlabelled_images_train_only_where_asked_and_never_with_their_group(
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


@pytest.mark.parametrize("process_count", [1, 2, 4])
def test_an_epoch_has_the_same_whole_steps_on_any_number_of_processes(
    make_data: MakeData, process_count: int
) -> None:
    data = ready(make_data(batch_size=2, global_batch_size=8))
    plan, batches = data.plan(process_count), data.batches_per_epoch(process_count)
    assert plan.device_batch_size * plan.accumulation * process_count == 8
    assert batches == data.samples_per_epoch // 8 * plan.accumulation > 0


def test_the_loader_hands_out_whole_steps_only(make_data: MakeData) -> None:
    data = ready(make_data(batch_size=4, global_batch_size=8))
    batches = list(data.train_dataloader())
    assert [len(batch.row) for batch in batches] == [4] * data.batches_per_epoch(1)
    assert data.samples_per_epoch == 4 * len(batches) < len(data.index.rows_of("train"))


def test_validation_crops_are_the_same_in_every_epoch(make_data: MakeData) -> None:
    data = ready(make_data(val_transform=NativeCrop(32), eval_batch_size=4))
    loader = data.val_dataloader()
    once, again = ([batch.image for batch in loader] for _ in range(2))
    assert once[0].shape == (4, 3, 32, 32)
    assert all(one.equal(other) for one, other in zip(once, again, strict=True))


@pytest.mark.parametrize("process_count", [1, 8, 64])
def test_the_papers_corpus_is_484500_steps_on_any_number_of_gpus(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch, process_count: int
) -> None:
    data = ready(make_data(batch_size=32, global_batch_size=256))
    monkeypatch.setattr(data, "_training_rows", lambda: range(1_240_379))
    steps = data.batches_per_epoch(process_count) / data.plan(process_count).accumulation
    assert 100 * steps == 484_500


MakeRecords = Callable[[int], list[Record]]


def shown(batches: list[Batch]) -> set[tuple[int, ...]]:
    """The class ids that the images show."""
    return {ids for batch in batches for ids in batch.class_ids}


@pytest.fixture
def lonely(make_records: MakeRecords) -> Parts:
    """48 parts, each a group of its own: a third of them good, cracked and stained."""
    return Parts([replace(r, group=f"own{k}") for k, r in enumerate(make_records(48))])


def test_held_out_type_neither_trains_nor_validates(make_data: MakeData, lonely: Parts) -> None:
    data = ready(make_data(source=lonely, held_out_types=("crack",)))
    rows = [*data.train_dataloader().sampler, *data.val_dataloader().sampler]
    assert {data.index[draw.row].defects for draw in rows} == {(), ("stain",)}


def test_group_of_a_held_out_type_stays_out_whole(make_data: MakeData) -> None:
    data = ready(make_data(held_out_types=("crack",)))
    records = [data.index[row] for row in range(len(data.index))]
    cracked = {record.group for record in records if "crack" in record.defects}
    assert not cracked & {records[row].group for row in data.division.rows_of("train")}


@pytest.mark.parametrize(
    ("test_types", "names", "ids"),
    [
        ("all", ("good", "crack", "stain"), {(), (1,), (2,)}),
        ("seen", ("good", "crack"), {(), (1,)}),
        ("held_out", ("good", "stain"), {(1,)}),
    ],
)
def test_test_shows_and_names_the_types_asked_for(
    make_data: MakeData, lonely: Parts, test_types: str, names: tuple[str, ...], ids: set
) -> None:
    data = make_data(source=lonely, held_out_types=("stain",), test_types=test_types)
    batches = list(ready(data).test_dataloader())
    assert data.division.tested.names == names
    assert shown(batches) == ids
    assert {int(batch.mask.max()) for batch in batches} == {max(each, default=0) for each in ids}


def test_image_with_a_seen_and_a_held_out_type_is_in_neither_half_of_the_test(
    make_data: MakeData, lonely: Parts
) -> None:
    lonely.given[0] = replace(lonely.given[0], defects=("crack", "stain"), split="test")
    for test_types in ("seen", "held_out"):
        data = make_data(source=lonely, held_out_types=("stain",), test_types=test_types)
        rows = ready(data).division.rows_of("test")
        assert lonely.given[0].image not in [data.index[row].image for row in rows]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"held_out_types": ("crck",)}, "class 'crck' is not in the vocabulary: did you mean cr"),
        ({"held_out_types": ("good",)}, "'good' is asked for as a novel class"),
        ({"held_out_types": ("crack", "stain")}, "names all types of .*: expected at least one"),
        ({"test_types": "novel"}, "test_types is 'novel': expected all, seen or held_out"),
        ({"test_types": "held_out"}, "held_out_types names none: name some"),
    ],
)
def test_division_that_means_nothing_is_one_line(
    make_data: MakeData, settings: dict, why: str
) -> None:
    data = make_data(**settings)
    data.prepare_data()
    with pytest.raises(ValueError, match=why):
        data.setup()


def test_types_that_every_group_shows_leave_nothing_to_train_on(
    make_data: MakeData, make_records: MakeRecords
) -> None:
    records = make_records(12)
    splits = ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    source = Parts([replace(r, split=s, group=s) for r, s in zip(records, splits, strict=True)])
    data = ready(make_data(source=source, held_out_types=("crack",)))
    with pytest.raises(ValueError, match="but those that held_out_types crack leave out: hold"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"source": None, "root": ""}, "the data has neither of source and manifest"),
        ({"manifest": "m"}, "the data has both of source and manifest"),
        ({"root": ""}, "source parts has no root"),
        ({"batch_size": 0}, "batch sizes are 0 and 1 and 1, expected 1 or more"),
        ({"use_unlabelled": True, "held_out_types": ("crack",)}, "set only one of both"),
    ],
)
def test_settings_that_contradict_are_one_line(make_data: MakeData, settings, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make_data(**settings)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"root": "nowhere"}, "nowhere is missing"),
        ({"source": Parts([])}, "holds no images of source parts"),
        ({"train_fraction": 0.75, "val_fraction": 0.0}, "has no val images among 48"),
        ({"global_batch_size": 4096}, "expected at least global_batch_size 4096"),
    ],
)
def test_data_that_cannot_be_trained_on_is_one_line(
    make_data: MakeData, settings: dict, why: str
) -> None:
    def train_and_validate() -> None:
        data = ready(make_data(**settings))
        assert data.samples_per_epoch
        data.val_dataloader()

    with pytest.raises((ValueError, FileNotFoundError), match=why):
        train_and_validate()


def test_fewer_images_to_evaluate_than_processes_are_refused(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ready(make_data())
    monkeypatch.setattr(data, "_rank", lambda: (0, 64))
    with pytest.raises(ValueError, match="images to evaluate for 64 processes"):
        data.val_dataloader()
