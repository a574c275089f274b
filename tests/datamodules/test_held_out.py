"""Claims about types held out of training: who trains, who is tested, and by which names."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from datamodules.sample import UNLABELLED, Batch, Record
from tests.datamodules.parts_data import MakeData, Parts, ready

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


def test_class_ids_of_training_are_those_of_the_seen_names(
    make_data: MakeData, lonely: Parts
) -> None:
    data = ready(make_data(source=lonely, held_out_types=("crack",)))
    batches = [*data.train_dataloader(), *data.val_dataloader()]
    assert data.vocabulary.names == ("good", "stain")
    assert shown(batches) == {(), (1,)}
    assert {class_id for b in batches for class_id in b.mask.unique().tolist()} == {0, 1}


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


def test_picture_with_a_seen_and_a_held_out_type_is_in_neither_half_of_the_test(
    make_data: MakeData, lonely: Parts
) -> None:
    lonely.given[0] = replace(lonely.given[0], defects=("crack", "stain"), split="test")
    for test_types in ("seen", "held_out"):
        data = make_data(source=lonely, held_out_types=("stain",), test_types=test_types)
        rows = ready(data).division.rows_of("test")
        assert lonely.given[0].image not in [data.index[row].image for row in rows]


def test_without_held_out_types_all_rows_and_names_take_part(make_data: MakeData) -> None:
    data = ready(make_data())
    assert data.vocabulary == data.division.tested == data.index.vocabulary
    assert data.division.rows_of("train").tolist() == data.index.rows_of("train").tolist()


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


def test_unlabelled_pictures_do_not_train_beside_held_out_types(make_data: MakeData) -> None:
    with pytest.raises(ValueError, match=f"{UNLABELLED} pictures may show them, set only one"):
        make_data(use_unlabelled=True, held_out_types=("crack",))
