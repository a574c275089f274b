"""Stage 2 at its smallest, trained by one process or by several that share the work.

`python -m torch.distributed.run --nproc-per-node 2 THIS_FILE FOLDER` trains by each supervision in
two processes; what they leave in FOLDER is what tests compare.
"""

import os
import sys
from pathlib import Path

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor

from callbacks.frozen_audit import FrozenAudit
from lightning_modules.supervision import SUPERVISIONS, supervision_of
from tests.lightning_modules.shared_training import small_data
from tests.lightning_modules.small_parts import small_finetune


def train(
    folder: Path, name: str, supervision: str, *, batch_size: int, strategy: Strategy | str
) -> None:
    """The weights that train before and after four steps, in `NAME_SUPERVISION.pt`.

    Soon after, a pixel on the rim of a mask falls to the other side, and the two part.
    """
    data = small_data(folder, batch_size)
    seed_everything(0, verbose=False)
    module = small_finetune(names=data.vocabulary.names[1:])
    module.supervise = supervision_of(supervision)
    module.measure(data.training_images(16))
    before = trained_weights(module)
    trainer = Trainer(
        accelerator="cpu",
        devices=int(os.environ.get("WORLD_SIZE", "1")),
        strategy=strategy,
        max_steps=4,
        limit_val_batches=0,
        gradient_clip_val=0.01,
        callbacks=[FrozenAudit()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, data)
    if trainer.is_global_zero:
        torch.save((before, trained_weights(module)), folder / f"{name}_{supervision}.pt")


def trained_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of the weights that train, by name."""
    return {n: w.detach().clone() for n, w in module.named_parameters() if w.requires_grad}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for kind in SUPERVISIONS:
        train(Path(sys.argv[1]), "two", kind, batch_size=4, strategy=DDPStrategy())
