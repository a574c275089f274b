"""The losses and gradients of stage 2 for one batch, by one process or by two that share it.

`python -m torch.distributed.run --nproc-per-node 2 THIS_FILE FOLDER` leaves each process's in
FOLDER, for each supervision; a test compares their mean with those of one process.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, distributed

from datamodules.sample import Batch
from tests.lightning_modules.small_parts import defect_batch, measured_finetune, rows_of

KINDS = ("labels", "captions", "captions_ungrounded")
CAPTIONS = [
    "Steel plate with crack located at the left, characterized by a small round area.",
    "Steel plate with stain and scratch.",
    "Copper sheet with crack.",
    "Steel plate with no defect.",
]


def told_batch() -> Batch:
    """The four images of `defect_batch`; the first one's mask is a box, its caption is whole."""
    return replace(
        defect_batch(), captions=CAPTIONS, is_box=torch.tensor([True, False, False, False])
    )


def gradients(supervision: str, rows: Sequence[int]) -> dict[str, Tensor]:
    """The loss and the gradient of each weight from some rows of the batch, by name."""
    module = measured_finetune(supervision=supervision, loss_weight_point=1.0).eval()
    loss = module.training_step(rows_of(told_batch(), rows), 0)
    loss.backward()
    weights = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    missing = [name for name, weight in weights.items() if weight.grad is None]
    assert not missing, missing
    return {"loss": loss.detach()} | {name: weight.grad for name, weight in weights.items()}  # type: ignore[dict-item]


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    for kind in KINDS:
        found = gradients(kind, range(2 * rank, 2 * rank + 2))
        torch.save(found, Path(sys.argv[1]) / f"{kind}_{rank}.pt")
    distributed.destroy_process_group()
