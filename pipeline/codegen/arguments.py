"""Arguments of operations: what they hold of the graph, and as the tensors that torch takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline.codegen.nodes import ConstantNode, Operand


def operands_of(value: Any) -> list[Operand]:
    """All operands in nested arguments."""
    if isinstance(value, Operand):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return []
    return [one for part in value for one in operands_of(part)]


def differ_by_example(value: Any) -> bool:
    """Whether any of them is not known when the program is written."""
    return any(not isinstance(one.node, ConstantNode) for one in operands_of(value))


def tensors(value: Any, of: Callable[[Operand], Tensor] | None = None) -> Any:
    """Arguments with operands as tensors: constants as their values, others by `of`."""
    if isinstance(value, Operand):
        return _values(value) if of is None else of(value)
    if isinstance(value, Mapping):
        return {name: tensors(one, of) for name, one in value.items()}
    if isinstance(value, tuple | list):
        # The indices of an operation that gathers are constants beside what is gathered.
        return type(value)(tensors(one, of) for one in value)
    return value


def _values(operand: Operand) -> Tensor:
    if not isinstance(operand.node, ConstantNode):
        raise NotImplementedError("no C++ is written for positions that depend on an example")
    return torch.from_numpy(operand.node.values[operand.index])
