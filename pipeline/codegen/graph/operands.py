"""Operands of operations: found in arguments, as tensors, and those that leave nothing to compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves, tree_map_only

from pipeline.codegen.graph.nodes import ConstantNode, Dependence, Index, Map, Move, Node, Operand


def arguments_with(node: fx.Node, of: Callable[[fx.Node], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an operation, with what `of` gives for the results of others."""
    return cast("tuple[tuple[Any, ...], dict[str, Any]]", fx.map_arg((node.args, node.kwargs), of))


def operands_of(value: Any) -> list[Operand]:
    """All operands in nested arguments."""
    return [one for one in tree_leaves(value) if isinstance(one, Operand)]


def differ_by_example(value: Any) -> bool:
    """Whether any of them is not known when the program is written."""
    return any(not isinstance(one.node, ConstantNode) for one in operands_of(value))


def tensors(value: Any, of: Callable[[Operand], Tensor] | None = None) -> Any:
    """Nested arguments with operands as tensors: constants as their values, others by `of`."""
    return tree_map_only(Operand, of or _values, value)


def _values(operand: Operand) -> Tensor:
    if operand.known is None:
        raise NotImplementedError("no C++ is written for positions that depend on an example")
    return torch.from_numpy(operand.known)


def simplified(function: str, inputs: tuple[Operand, ...]) -> Operand | None:
    """One of the operands, where the function gives just that: x + 0, x - 0, 1 x, x / 1."""
    neutral = {"plus": 0, "times_": 1, "minus": 0, "over": 1}.get(function)
    for place, one in enumerate(inputs if neutral is not None else ()):
        is_possible = place == 1 or function in ("plus", "times_")
        if is_possible and one.known is not None and (one.known == neutral).all():
            return inputs[1 - place]
    return None


def masked(inputs: tuple[Operand, ...]) -> tuple[NDArray[np.bool_], Operand] | None:
    """Where a sum with a mask of 0 and -inf is -inf, and the other operand."""
    for place, one in enumerate(inputs):
        if one.known is not None:
            is_gone = np.isneginf(one.known)
            if is_gone.any() and (is_gone | (one.known == 0)).all():
                return is_gone, inputs[1 - place]
    return None


def summands(operand: Operand) -> Iterator[Operand]:
    """The operands that a sum adds up, those of sums within it included."""
    node = operand.node
    if isinstance(node, Map) and node.function == "plus":
        for one in node.inputs:
            yield from summands(one.at(operand.index))
    else:
        yield operand


def direct(operand: Operand) -> Operand:
    """The same numbers, not read through a move if all of them are zeros, or the whole of one node."""
    if not isinstance(operand.node, Move):
        return operand
    node, places = behind_moves(operand)
    if (places < 0).all():
        zero = ConstantNode(1, Dependence.CONSTANT, False, values=np.zeros(1))
        return Operand(zero, np.zeros(operand.shape, np.int64))
    source = Operand(node, places)
    return source if source.is_whole else operand


def behind_moves(operand: Operand) -> tuple[Node, Index]:
    """Where the numbers of an operand are moved from, -1 for zeros; up to the first move from several nodes."""
    node, places = operand.node, operand.index
    while isinstance(node, Move):
        which = np.where(places >= 0, node.which[places], -1)
        for number in np.unique(which[which >= 0]):
            here = which == number
            if Operand(node.parts[number], node.places[places[here]]).is_zero:
                which[here] = -1
        if len(used := np.unique(which[which >= 0])) > 1:
            break
        places = np.where(which >= 0, node.places[places], -1)
        if not used.size:
            break
        node = node.parts[used[0]]
    return node, places
