"""Peak memory of tensors by counting: each storage from its making to its end, on any device.

Fake tensors count like real ones, so that the peak of nets that do not fit here is known. What a
kernel takes for itself while it runs is not counted.
"""

import weakref
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Inside the block, counts the bytes of tensors that are made there and still alive.

    `peak_bytes` is the most there ever were at once. Tensors made before do not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live_bytes = self.peak_bytes = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """The operation's result, after its new storages were noted."""
        result = func(*args, **(kwargs or {}))
        read = {id(storage) for storage in _storages((args, kwargs))}
        for storage in _storages(result):
            # A view or an operation in place has the storage of what it reads.
            if id(storage) not in read and storage not in self._known:
                self._note(storage)
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        self._known.add(storage)
        self.live_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._forget, storage.nbytes()).atexit = False

    def _forget(self, size: int) -> None:
        self.live_bytes -= size


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
