"""What all processes of a run must do alike is decided by one of them, before training too.

Ranks that the first process starts itself read its early decisions in their environment; ranks
that torchrun, SLURM, LSF or MPI start are asked over the process group, which is made early then.
"""

import json
import os
from collections.abc import Callable
from itertools import count

import torch
from jsonargparse import Namespace
from lightning import Trainer
from lightning.fabric.plugins.environments import (
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed
from torch.distributed import distributed_c10d

from experiments.configuration import build_stage

DECISIONS_VARIABLE = "DIFFUSE_DEFECT_DECISIONS"
MACHINE_KEYS = ("accelerator", "devices", "num_nodes", "strategy")
# Of this process, over all its runs: the store keeps the answers to the earlier ones.
_QUESTIONS = count(1)
LAUNCHERS = (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment)


class Ranks:
    """The processes of one run; `stage` says on which devices they are.

    Every process must ask the same questions in the same order.
    """

    def __init__(self, stage: Namespace) -> None:
        self._stage = stage
        self._asked = 0
        self._launched = any(environment.detect() for environment in LAUNCHERS)
        # Ranks from outside may have inherited the decisions of another run.
        self._follows = int(os.environ.get("LOCAL_RANK", "0")) > 0 and not self._launched
        if not self._follows:
            os.environ.pop(DECISIONS_VARIABLE, None)

    def decide(self, choose: Callable[[], str]) -> str:
        """What `choose` answers on the first process, on each; it is called there alone.

        What it raises for a user's mistake is raised on every process.
        """
        decided: list[str] = json.loads(os.environ.get(DECISIONS_VARIABLE, "[]"))
        self._asked += 1
        if self._follows and self._asked <= len(decided):
            return decided[self._asked - 1]
        self._meet()
        if distributed.is_available() and distributed.is_initialized():
            return _decide_together(choose)
        answer = choose()
        os.environ[DECISIONS_VARIABLE] = json.dumps([*decided, answer])
        return answer

    def _meet(self) -> None:
        """Make the process group where somebody else has started the ranks."""
        if not self._launched or distributed.is_initialized():
            return
        settings = {key: getattr(self._stage.trainer, key) for key in MACHINE_KEYS}
        if not isinstance(settings["strategy"], str):
            with torch.device("meta"):
                settings["strategy"] = build_stage(self._stage).trainer.strategy
        # The group outlives this Trainer, and the run's own takes it as it is.
        Trainer(**settings, logger=False, enable_checkpointing=False).strategy.setup_environment()


def is_first() -> bool:
    """Whether this process is the first of the run, the one that writes."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _decide_together(choose: Callable[[], str]) -> str:
    """The first rank's answer, or its refusal, on all ranks.

    By the store in which they met: after a refusal the first one ends, which must not be before
    all have read it, and a broadcast does not wait for that.
    """
    store, rank = distributed_c10d._get_default_store(), distributed.get_rank()
    key = f"diffuse_defect/decision/{next(_QUESTIONS)}"
    if rank == 0:
        try:
            told = ["answer", choose()]
        except (ValueError, OSError) as error:
            told = ["refusal", str(error)]
        store.set(key, json.dumps(told))
        heard = [f"{key}/{other}" for other in range(1, distributed.get_world_size())]
        if heard:
            store.wait(heard)
    else:
        told = json.loads(store.get(key))
        store.set(f"{key}/{rank}", "heard")
    kind, words = told
    if kind == "refusal":
        raise ValueError(words)
    return words
