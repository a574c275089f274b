"""Training whose weights, gradients and optimizer state are shared out over the processes.

Plain data parallelism is Lightning's own DDPStrategy; what either is for, and how several
machines are started, is in `docs/stages.md`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.collectives.torch_collective import default_pg_timeout
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer


class ShardedStrategy(DDPStrategy):
    """Fully sharded data parallelism (FSDP2) of the trainable parts; frozen parts stay whole.

    Between steps each process holds its share of weights, gradients and optimizer state; weights
    are gathered for the forward pass and kept until their backward pass is done (ZeRO-2 in
    memory, and in traffic the same as DDP). Unlike Lightning's FSDP strategies it also runs on
    CPUs, over gloo, needs nothing of a module, evaluates with gathered weights, so that
    processes may have unequal shares of the images, and saves checkpoints that one process can
    open. unit_weights: weights that are gathered at once, at least.
    """

    def __init__(
        self,
        unit_weights: int = 10_000_000,
        process_group_backend: str | None = None,
        timeout: timedelta | None = default_pg_timeout,
    ) -> None:
        if unit_weights < 1:
            raise ValueError(f"unit_weights: got {unit_weights}, expected 1 or more")
        super().__init__(process_group_backend=process_group_backend, timeout=timeout)
        self.unit_weights = unit_weights
        self._is_whole = False

    def setup(self, trainer: Trainer) -> None:
        """Shard the parts that train, then make their optimizer; nothing is sharded to evaluate."""
        assert self.accelerator is not None and self.lightning_module is not None
        self.accelerator.setup(trainer)
        self.precision_plugin.convert_module(self.lightning_module)
        self.model_to_device()
        parts = self._sharded_parts()
        if not parts:
            _send_from_first_process(self.lightning_module.parameters())
            _send_from_first_process(self.lightning_module.buffers())
        if trainer.state.fn == TrainerFn.FITTING:
            if not parts:
                self._shard(self.lightning_module)
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def on_validation_start(self) -> None:
        """Gather all weights, after the averages have taken their place in the shares."""
        self._gather()
        self._share_buffers()

    def on_validation_end(self) -> None:
        """Give the memory of the gathered weights back."""
        self._scatter()

    on_test_start = on_predict_start = on_validation_start
    on_test_end = on_predict_end = on_validation_end

    def on_train_end(self) -> None:
        """Gather all weights for good: from here on a process may run the model by itself."""
        self._gather()
        self._share_buffers()

    def lightning_module_state_dict(self) -> dict[str, Tensor]:
        """The whole state on the first process, which saves it, and nothing on the others."""
        assert self.lightning_module is not None
        state = self.lightning_module.state_dict()
        if self._is_whole:
            self._gather()  # `state_dict` has put the shares back into the module
        return self._on_first_process(state)

    def load_model_state_dict(self, checkpoint: Mapping[str, object], strict: bool = True) -> None:
        """Fill the module, sharded or not yet, with a whole state."""
        assert self.lightning_module is not None
        state = checkpoint["state_dict"]
        assert isinstance(state, dict)
        options = StateDictOptions(full_state_dict=True, strict=strict)
        set_model_state_dict(self.lightning_module, state, options=options)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state of the optimizer, as one process would have it, on the first process."""
        inner = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        saved = inner.state_dict()
        saved["state"] = {
            place: self._on_first_process(values) for place, values in saved["state"].items()
        }
        return saved

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, object]) -> None:
        """Fill the optimizers with their shares of whole states."""
        states = checkpoint["optimizer_states"]
        assert isinstance(states, list)
        for optimizer, state in zip(self.optimizers, states, strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            places = [place for group in state["param_groups"] for place in group["params"]]
            shares = {
                place: _shares_of(state["state"][place], like=weight)
                for place, weight in zip(places, weights, strict=True)
                if place in state["state"]
            }
            optimizer.load_state_dict({**state, "state": shares})

    def teardown(self) -> None:
        """Leave the module on its device: moving it would take the gathered weights away."""
        assert self.cluster_environment is not None and self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()

    def _shard(self, module: LightningModule) -> None:
        """Shard each part of the module that trains, in units and the rest of the part as one."""
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        for part in list(trainable_parts(module)):
            for weight in part.parameters():
                weight.data = weight.data.contiguous()  # no other layout can be sharded
            if shard_units(part, mesh, self.unit_weights):
                fully_shard(part, mesh=mesh, reshard_after_forward=False)

    def _sharded_parts(self) -> list[FSDPModule]:
        assert self.lightning_module is not None
        return [part for part in self.lightning_module.modules() if isinstance(part, FSDPModule)]

    def _gather(self) -> None:
        """Put whole weights into the module, on all processes together."""
        for part in self._sharded_parts():
            part.unshard()
        self._is_whole = True

    def _share_buffers(self) -> None:
        """Make what each process has counted, as batch norms do, that of the first, as DDP does."""
        assert self.lightning_module is not None
        _send_from_first_process(self.lightning_module.buffers())

    def _scatter(self) -> None:
        """Put the shares back into the module."""
        for part in self._sharded_parts():
            part.reshard()
        self._is_whole = False

    def _on_first_process(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole values on the first process, by name, gathered one after the other; else none."""
        kept: dict[str, Tensor] = {}
        for name, value in values.items():
            is_share = isinstance(value, DTensor)
            whole = value.full_tensor().cpu() if is_share else value  # type: ignore[attr-defined]
            if self.is_global_zero:
                kept[name] = whole
        return kept


def trainable_parts(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules below `module` that are called and of which every weight trains.

    Raises ValueError where a trainable weight is in none of them.
    """
    for name, child in module.named_children():
        trains = {weight.requires_grad for weight in child.parameters()}
        if trains == {True} and is_called(child):
            yield child
        elif True in trains:
            own = [weight for weight in child.parameters(recurse=False) if weight.requires_grad]
            if own:
                raise ValueError(
                    f"{name} ({type(child).__name__}) holds trainable weights beside frozen ones, "
                    "which cannot be sharded: expected parts that train as a whole; use "
                    "strategy_ddp.yaml"
                )
            yield from trainable_parts(child)


def is_called(module: nn.Module) -> bool:
    """Whether the module has a forward pass of its own, before which its weights are gathered."""
    return type(module).forward is not nn.Module.forward


def shard_units(module: nn.Module, mesh: DeviceMesh, unit_weights: int) -> int:
    """Shard the smallest modules that hold `unit_weights` or more; the weights left over."""
    left_over = sum(shard_units(child, mesh, unit_weights) for child in module.children())
    left_over += sum(weight.numel() for weight in module.parameters(recurse=False))
    if left_over < unit_weights or not is_called(module):
        return left_over
    fully_shard(module, mesh=mesh, reshard_after_forward=False)
    return 0


@torch.no_grad()
def _send_from_first_process(tensors: Iterable[Tensor]) -> None:
    """Make the tensors those of the first process."""
    for tensor in tensors:
        torch.distributed.broadcast(tensor, src=0)


def _shares_of(values: Mapping[str, Tensor], *, like: Tensor) -> dict[str, Tensor]:
    """An optimizer's values for one weight; those of its shape are shared out as it is."""
    return {
        name: distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
        if isinstance(like, DTensor) and value.shape == like.shape
        else value
        for name, value in values.items()
    }
