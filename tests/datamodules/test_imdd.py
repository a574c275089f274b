"""The DataModule: from a folder to batches, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from datamodules.imdd import IMDDDataModule
from datamodules.manifest import write_manifest
from datamodules.sample import UNLABELLED
from datamodules.transforms import NativeCrop
from tests.datamodules.conftest import MakeData, MakeManifest, MakeRecords, Parts, ready


@pytest.fixture
def lonely(make_records: MakeRecords) -> Parts:
    """48 parts, each a group of its own: a third of them good, cracked and stained."""
    return Parts([replace(r, group=f"own{k}") for k, r in enumerate(make_records(48))])


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


def test_few_validation_crops_keep_the_mix_of_types_and_are_the_same_each_time(
    make_data: MakeData,
) -> None:
    shares = {"train_fraction": 0.3, "val_fraction": 0.5, "test_fraction": 0.2}
    data = ready(make_data(max_val_images=6, val_transform=NativeCrop(32), **shares))
    loader = data.val_dataloader()
    once, again = (list(loader) for _ in range(2))
    assert len(once) == 6
    assert {data.index[int(batch.row)].defects for batch in once} == {(), ("crack",), ("stain",)}
    assert once[0].image.shape == (1, 3, 32, 32)
    assert all(one.image.equal(other.image) for one, other in zip(once, again, strict=True))


def test_prepared_manifest_opens_without_its_source_and_with_another_root(
    make_data: MakeData, tmp_path: Path
) -> None:
    first = ready(make_data())
    (tmp_path / "raw").rename(tmp_path / "moved")
    path, root = str(first.index.path), str(tmp_path / "moved")
    data = ready(IMDDDataModule(manifest=path, root=root, eval_batch_size=2))
    assert data.index.sha256 == first.index.sha256
    assert next(iter(data.test_dataloader())).image.shape[0] == 2


def test_other_settings_never_share_a_manifest(make_data: MakeData) -> None:
    first, second = ready(make_data()), ready(make_data(split_seed=1))
    assert first.index.path != second.index.path
    assert first.index.split_sha256 != second.index.split_sha256


def test_bad_image_is_left_out_and_named(
    make_data: MakeData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_data()
    (tmp_path / "raw" / "007.png").write_bytes(b"gone")
    assert "007.png" not in ready(data).index.column("image")
    assert "1 unusable images of parts are left out, the first is 007.png" in caplog.text


@pytest.mark.parametrize(("leaks", "why"), [(2, "2 pairs of alike"), (-1, "nobody has looked")])
def test_leaking_manifest_is_trained_on_only_where_the_config_says_so(
    make_manifest: MakeManifest, leaks: int, why: str
) -> None:
    whole = make_manifest(6)
    path = write_manifest(
        whole.path,
        [replace(whole[row], split="train") for row in range(len(whole))],
        root=whole.root,
        vocabulary=whole.vocabulary,
        source="parts",
        leaks=leaks,
    ).path
    with pytest.raises(ValueError, match=why):
        IMDDDataModule(manifest=str(path)).setup()
    data = IMDDDataModule(manifest=str(path), allow_leakage=True)
    data.setup()
    assert data.samples_per_epoch == 6


def test_unlabelled_images_train_only_where_asked(make_data: MakeData, lonely: Parts) -> None:
    lonely.given[47] = replace(
        lonely.given[47], split=UNLABELLED, defects=(), mask="", mask_values=()
    )
    without, more = (
        ready(make_data(source=lonely, use_unlabelled=use)).samples_per_epoch
        for use in (False, True)
    )
    assert more == without + 1


def test_good_images_alone_train_where_asked_and_the_rest_stays(
    make_data: MakeData, lonely: Parts
) -> None:
    everything, good = (
        ready(make_data(source=lonely, train_on=train_on)) for train_on in ("all", "good")
    )
    shown = [ids for batch in good.train_dataloader() for ids in batch.class_ids]
    assert 0 < len(shown) < everything.samples_per_epoch and not any(shown)
    for split in ("val", "test"):
        assert good.division.rows_of(split).tolist() == everything.division.rows_of(split).tolist()
    few = ready(make_data(source=lonely, train_on="good", image_budget=3))
    assert few.samples_per_epoch == 3
    with pytest.raises(ValueError, match="train_on is good, and this system learns from defects"):
        good.check(["train"], learns_types=True)


def test_no_good_images_to_train_on_are_one_line(
    make_data: MakeData, make_records: MakeRecords
) -> None:
    records = [replace(r, group=f"own{k}") for k, r in enumerate(make_records(48)) if r.defects]
    data = ready(make_data(source=Parts(records), train_on="good"))
    with pytest.raises(ValueError, match="has no good training images, expected some to learn"):
        data.train_dataloader()


def test_asking_before_setup_is_our_own_fault(make_data: MakeData) -> None:
    with pytest.raises(RuntimeError, match="call prepare_data"):
        make_data().vocabulary  # noqa: B018


@pytest.mark.parametrize("process_count", [1, 2, 4])
def test_an_epoch_has_the_same_whole_steps_on_any_number_of_processes(
    make_data: MakeData, process_count: int
) -> None:
    data = ready(make_data(batch_size=2, global_batch_size=8))
    plan, batches = data.plan(process_count), data.batches_per_epoch(process_count)
    assert plan.device_batch_size * plan.accumulation * process_count == 8
    assert batches == data.samples_per_epoch // 8 * plan.accumulation > 0
    if process_count == 1:
        assert [len(batch.row) for batch in data.train_dataloader()] == [2] * batches


@pytest.mark.parametrize("process_count", [1, 8, 64])
def test_the_papers_corpus_is_484500_steps_on_any_number_of_gpus(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch, process_count: int
) -> None:
    data = ready(make_data(batch_size=32, global_batch_size=256))
    monkeypatch.setattr(data, "_training_rows", lambda: range(1_240_379))
    steps = data.batches_per_epoch(process_count) / data.plan(process_count).accumulation
    assert 100 * steps == 484_500


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
    ("test_types", "names", "ids", "shows_both"),
    [
        ("all", ("good", "crack", "stain"), {(), (1,), (2,), (1, 2)}, True),
        ("seen", ("good", "crack"), {(), (1,)}, False),
        ("held_out", ("good", "stain"), {(1,)}, False),
    ],
)
def test_test_shows_and_names_the_types_asked_for(
    make_data: MakeData,
    lonely: Parts,
    test_types: str,
    names: tuple[str, ...],
    ids: set,
    shows_both: bool,
) -> None:
    both = replace(lonely.given[0], defects=("crack", "stain"), mask="", group="own")
    lonely.given[0] = replace(both, split="test")
    data = ready(make_data(source=lonely, held_out_types=("stain",), test_types=test_types))
    batches = list(data.test_dataloader())
    assert data.division.tested.names == names
    assert {shown for batch in batches for shown in batch.class_ids} == ids
    assert ("000.png" in [data.index[int(b.row)].image for b in batches]) == shows_both


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"source": None, "root": ""}, "the data has neither of source and manifest"),
        ({"manifest": "m"}, "the data has both of source and manifest"),
        ({"root": ""}, "source parts has no root"),
        ({"root": "nowhere"}, "nowhere is missing"),
        ({"source": Parts([])}, "holds no images of source parts"),
        ({"batch_size": 0}, "batch sizes are 0 and 1 and 1, expected 1 or more"),
        ({"global_batch_size": 4096}, "expected at least global_batch_size 4096"),
        ({"train_fraction": 0.75, "val_fraction": 0.0}, "has no val images among 48"),
        ({"use_unlabelled": True, "held_out_types": ("crack",)}, "set only one of both"),
        ({"use_unlabelled": True, "train_on": "good"}, "unlabelled images may show defects, set"),
        ({"held_out_types": ("crck",)}, "class 'crck' is not in the vocabulary: did you mean cr"),
        ({"held_out_types": ("good",)}, "'good' is asked for as a novel class"),
        ({"held_out_types": ("crack", "stain")}, "names all types of .*: expected at least one"),
        ({"test_types": "novel"}, "test_types is 'novel': expected one of all, seen, held_out"),
        ({"test_types": "held_out"}, "held_out_types names none: name some"),
        ({"labels": "crack, fissure; dent"}, "class 'dent' is not in the vocabulary"),
    ],
)
def test_settings_and_data_that_cannot_be_are_one_line(
    make_data: MakeData, settings: dict, why: str
) -> None:
    def train_and_validate() -> None:
        data = ready(make_data(**settings))
        assert data.samples_per_epoch
        data.val_dataloader()

    with pytest.raises((ValueError, FileNotFoundError), match=why) as caught:
        train_and_validate()
    assert "\n" not in str(caught.value)


def test_types_that_every_group_shows_leave_nothing_to_train_on(
    make_data: MakeData, make_records: MakeRecords
) -> None:
    splits = ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    records = [replace(r, split=s, group=s) for r, s in zip(make_records(12), splits, strict=True)]
    data = ready(make_data(source=Parts(records), held_out_types=("crack",)))
    with pytest.raises(ValueError, match="but those that held_out_types crack leave out: hold"):
        data.train_dataloader()


def test_fewer_images_to_evaluate_than_processes_are_refused(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ready(make_data())
    monkeypatch.setattr(data, "_rank", lambda: (0, 64))
    with pytest.raises(ValueError, match="images to evaluate for 64 processes"):
        data.val_dataloader()
