"""Holds how many steps an epoch has, of how many images, and that each draw can be repeated."""

import pytest

from datamodules.refusals import check_shares
from datamodules.sampler import Draw
from datamodules.transforms import NativeCrop
from tests.datamodules.parts_data import MakeData, ready


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


def test_an_epoch_shorter_than_one_step_is_refused(make_data: MakeData) -> None:
    with pytest.raises(ValueError, match="expected at least global_batch_size 4096"):
        ready(make_data(global_batch_size=4096)).batches_per_epoch(1)


def test_batches_of_an_epoch_are_those_that_the_loader_has(make_data: MakeData) -> None:
    data = ready(make_data(batch_size=5))
    assert data.batches_per_epoch(1) == len(data.train_dataloader())


def test_validation_crops_are_the_same_in_every_epoch(make_data: MakeData) -> None:
    data = ready(make_data(val_transform=NativeCrop(32), eval_batch_size=4))
    loader = data.val_dataloader()
    once, again = ([batch.image for batch in loader] for _ in range(2))
    assert once[0].shape == (4, 3, 32, 32)
    assert all(one.equal(other) for one, other in zip(once, again, strict=True))


def test_a_draw_keeps_its_seed_and_another_turn_has_another(make_data: MakeData) -> None:
    data = ready(make_data(draws_per_epoch=60))
    dataset = data.training_dataset()
    row = int(dataset.rows[0])
    seeds = [dataset[Draw(row, turn)].seed for turn in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_fewer_images_to_evaluate_than_processes_are_refused() -> None:
    check_shares(2, 2)
    with pytest.raises(ValueError, match="1 images to evaluate for 2 processes"):
        check_shares(1, 2)


@pytest.mark.parametrize("process_count", [1, 8, 64])
def test_the_papers_corpus_is_484500_steps_on_any_number_of_gpus(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch, process_count: int
) -> None:
    data = ready(make_data(batch_size=32, global_batch_size=256))
    monkeypatch.setattr(data, "_training_rows", lambda: range(1_240_379))
    steps = data.batches_per_epoch(process_count) / data.plan(process_count).accumulation
    assert 100 * steps == 484_500


def test_place_in_the_order_of_other_data_is_refused(make_data: MakeData) -> None:
    data = ready(make_data())
    state = data.train_dataloader().state_dict()
    assert state["sha256"] == data.index.sha256
    with pytest.raises(ValueError, match=r"data sha256 .* resume with the same manifest"):
        data.train_dataloader().load_state_dict(state | {"sha256": "another"})
