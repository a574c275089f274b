"""Claims about the loop counts in a checkpoint."""

from typing import Any

import pytest

from callbacks.loop_progress import BATCHES, VALIDATED, count_in_batches_of, mark_validation_pending


def counts(done: int, completed: int) -> dict[str, int]:
    return {"ready": done, "started": done, "processed": done, "completed": completed}


def checkpoint(*, done: int, is_last_batch: bool = False) -> dict[str, Any]:
    """After so many batches of the second epoch of ten, at the end of a batch."""
    batches = {
        "total": counts(10 + done, 9 + done),
        "current": counts(done, done - 1),
        "is_last_batch": is_last_batch,
    }
    validated = {"total": counts(5, 5), "current": counts(5, 5), "is_last_batch": True}
    return {"loops": {"fit_loop": {BATCHES: batches, VALIDATED: validated}}}


def test_pending_validation_stands_in_its_first_batch_after_a_whole_training_batch() -> None:
    saved = checkpoint(done=4)
    mark_validation_pending(saved)
    loop = saved["loops"]["fit_loop"]
    assert loop[BATCHES]["current"] == counts(4, 4) and loop[BATCHES]["total"] == counts(14, 14)
    expected = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    assert loop[VALIDATED]["current"] == expected
    assert loop[VALIDATED]["total"] == {name: 5 + count for name, count in expected.items()}


@pytest.mark.parametrize(("samples", "batches"), [(8, 4), (4, 8), (16, 2), (32, 1)])
def test_place_in_the_epoch_is_counted_in_the_batches_of_now(samples: int, batches: int) -> None:
    saved = checkpoint(done=4)
    count_in_batches_of(saved, saved=8, samples=samples)
    assert saved["loops"]["fit_loop"][BATCHES]["current"] == counts(batches, batches - 1)


def test_place_inside_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="stands 24 samples into its epoch, which 16 samples"):
        count_in_batches_of(checkpoint(done=3), saved=8, samples=16)


def test_end_of_an_epoch_is_one_in_any_batches() -> None:
    saved = checkpoint(done=10, is_last_batch=True)
    count_in_batches_of(saved, saved=8, samples=3)
    assert saved == checkpoint(done=10, is_last_batch=True)
