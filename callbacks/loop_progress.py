"""What a checkpoint tells Lightning's loops, so that a resume does what an unbroken run does.

Lightning leaves out the validation that a checkpoint was saved just before, and counts batches,
not samples; both are put right here, in the checkpoint's plain numbers.
"""

from collections.abc import Mapping
from typing import Any

BATCHES = "epoch_loop.batch_progress"
VALIDATED = "epoch_loop.val_loop.batch_progress"


def mark_validation_pending(checkpoint: Mapping[str, Any]) -> None:
    """Let a resume begin with the validation that follows the last training batch.

    The training batch is told as completed and the validation as one that stood in its first
    batch, which Lightning begins anew.
    """
    loop = checkpoint["loops"]["fit_loop"]
    for counts in (loop[BATCHES]["total"], loop[BATCHES]["current"]):
        counts["completed"] = counts["processed"]
    done = loop[VALIDATED]["total"]["completed"]
    loop[VALIDATED] = {
        "total": _inside_batch(done),
        "current": _inside_batch(0),
        "is_last_batch": False,
    }


def count_in_batches_of(checkpoint: Mapping[str, Any], *, saved: int, samples: int) -> None:
    """Recount the batches of the epoch where one has `samples` samples now and had `saved`.

    Both are over all processes. Raises ValueError where the place is inside one of the new batches.
    """
    loop = checkpoint["loops"]["fit_loop"]
    counts = loop[BATCHES]["current"]
    done = counts["processed"] * saved
    if loop[BATCHES]["is_last_batch"] or saved == samples:
        return
    if done % samples:
        raise ValueError(
            f"the checkpoint stands {done} samples into its epoch, which {samples} samples a step "
            "do not divide: resume with a batch size and number of processes whose product divides "
            f"{saved}"
        )
    shift = done // samples - counts["processed"]
    for name in ("ready", "started", "processed", "completed"):
        counts[name] += shift
        loop[BATCHES]["total"][name] += shift


def _inside_batch(done: int) -> dict[str, int]:
    """The counts of a loop that has done so many batches and is in the next one."""
    return {"ready": done + 1, "started": done + 1, "processed": done, "completed": done}
