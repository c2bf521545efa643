"""Looks at the operations of a step: how many a GPU would launch, and for which of them the host would wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations that give a tensor without computing anything, beside views.
_NO_KERNEL = frozenset({"_unsafe_view", "detach", "empty", "empty_like", "empty_strided", "lift_fresh", "new_empty"})
_INDEXED = frozenset({"index", "index_put", "index_put_", "_unsafe_index"})


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operations under it, those of backward passes included, on any device; they compute as ever.

    `num_launches`: those that launch a kernel at least. `waits`: names of those for which the host waits for a GPU,
    since what they give depends on numbers that are there, or since they copy between host and device. `read`: the
    tensors that they read and none of them made, as long as this lives.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_launches = 0
        self.waits: list[str] = []
        self.read: list[Tensor] = []
        self._made: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What the operation gives."""
        name, given = func.overloadpacket.__name__, list(_tensors((args, kwargs)))
        if not func.is_view and name not in _NO_KERNEL:
            self.num_launches += 1
        if _has_mask(args[1]) if name in _INDEXED else _depends_on_numbers(func):
            self.waits.append(name)
        self.read += [tensor for tensor in given if self._storage(tensor) not in self._made]
        made = func(*args, **(kwargs or {}))
        if _crosses([*given, *_tensors(made)]):
            self.waits.append(name)
        self._made |= {self._storage(tensor) for tensor in _tensors(made)}
        return made

    @staticmethod
    def _storage(tensor: Tensor) -> int:
        return int(tensor.untyped_storage()._cdata)


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _depends_on_numbers(func: Any) -> bool:
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _crosses(tensors: Sequence[Tensor]) -> bool:
    """Whether numbers go from one device to another; a number on the host is a kernel's argument."""
    return len({tensor.device.type for tensor in tensors if tensor.dim() or tensor.device.type != "cpu"}) > 1
