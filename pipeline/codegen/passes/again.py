"""What the backward pass reads of the forward pass and can compute again from numbers that it reads anyway."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from pipeline.codegen.graph.nodes import ConstantNode, Dependence, Index, Map, Node, Operand, Reduce
from pipeline.codegen.passes.rows import reads_of

# Functions that cost no more than the load of their result.
_CHEAP = {"plus", "minus", "times_", "negative", "rectified"}


def compute_again(order: list[Node], ends: Collection[Node], inlined: Collection[int]) -> None:
    """Give every loop of the backward pass its own copy of such maps, which no step then keeps.

    A copy reads nothing that its loop does not read, at the same positions: no load is added, one is saved, and what
    is kept from the forward pass needs less memory. `inlined` are the maps that are computed where they are read.
    """
    kept = {id(node) for node in order if id(node) not in inlined}
    is_end = set(map(id, ends))
    for node in order:
        if id(node) not in kept or not node.is_backward or not isinstance(node, Map | Reduce):
            continue
        reads = list(_reads_in_loop(node, inlined))
        cheap = [one for one in reads if _is_cheap(one[0].inputs[one[1]].node, one[2], is_end)]
        known = {_key(*one) for one in reads_of(node, kept)} if cheap else set()
        for reader, place, index in cheap:
            if _is_known(reader.inputs[place].node, index, known):
                _copy_for(reader, place)


def _reads_in_loop(root: Map | Reduce, inlined: Collection[int]) -> Iterator[tuple[Map | Reduce, int, Index]]:
    """Each operand in the loop of `root`: its reader, its number there, and its positions in the order of the loop."""
    stack: list[tuple[Map | Reduce, Index]] = [(root, np.arange(root.inputs[0].index.size))]
    while stack:
        reader, loop = stack.pop()
        for place, operand in enumerate(reader.inputs):
            index = operand.index.reshape(-1)[loop]
            if id(operand.node) in inlined and isinstance(operand.node, Map):
                stack.append((operand.node, index))
            else:
                yield reader, place, index


def _is_cheap(node: Node, index: Index, ends: Collection[int]) -> bool:
    """Whether a node is a cheap map of the forward pass, read at different positions."""
    is_map = isinstance(node, Map) and node.function in _CHEAP and node.level == Dependence.EXAMPLE
    return is_map and not node.is_backward and id(node) not in ends and np.unique(index).size == index.size


def _is_known(node: Node, index: Index, known: Collection[tuple[int, bytes]]) -> bool:
    """Whether all that a map reads for these positions is read anyway."""
    inputs = [one.at(index) for one in node.inputs if not isinstance(one.node, ConstantNode)]
    return all(_key(one.node, one.index) in known for one in inputs)


def _key(node: Node, index: Index) -> tuple[int, bytes]:
    return id(node), index.tobytes()


def _copy_for(reader: Map | Reduce, place: int) -> None:
    old = reader.inputs[place]
    assert isinstance(old.node, Map)
    new = Map(old.node.size, old.node.level, old.node.is_backward, old.node.inputs, old.node.function)
    reader.inputs = (*reader.inputs[:place], Operand(new, old.index), *reader.inputs[place + 1 :])
