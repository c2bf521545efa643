"""The graph of an update in which every weight of a run is changed by itself, and every slot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import fx

from pipeline.codegen.graph.build import GraphBuilder
from pipeline.codegen.graph.nodes import ConstantNode, Index, Map, Move, Node, Operand, Reduce, SourceNode
from pipeline.codegen.graph.operands import operands_of
from pipeline.codegen.graph.trace import Trace
from pipeline.codegen.graph.updates import UpdateTrace

# What a number depends on, where that is not one slot or one weight.
_NOTHING, _SEVERAL = -1, -2


class ElementwiseBuilder(GraphBuilder):
    """Interprets the trace of an update; an operation that takes several weights or slots together is refused."""

    def __init__(self, trace: UpdateTrace) -> None:
        super().__init__(Trace(trace.graph, (), (), tuple(variable.kind for variable in trace.inputs)))
        self._inputs, self._sizes = trace.inputs, trace.sizes
        self._owners: dict[int, Index] = {}

    def _take(self, node: fx.Node) -> None:
        super()._take(node)
        for operand in operands_of(self._values[node]):
            if (self._owners_of(operand) == _SEVERAL).any():
                raise NotImplementedError(f"no C++ is written for {node.target} across the weights of a run")

    def _owners_of(self, operand: Operand) -> Index:
        """(2, ...): the slot and the weight that each number of an operand depends on."""
        node = operand.node
        if id(node) not in self._owners:
            self._owners[id(node)] = self._found(node)
        return self._owners[id(node)][:, operand.index]

    def _found(self, node: Node) -> Index:
        if isinstance(node, SourceNode):
            places, width = np.arange(node.size), self._sizes.num_weights
            is_row = self._inputs[node.place].is_row
            return np.stack([places // width, places % width] if is_row else [places, np.full_like(places, _NOTHING)])
        parts = [self._owners_of(operand) for operand in node.operands()]
        if isinstance(node, Map):
            return _together([part.reshape(2, -1) for part in parts])
        if isinstance(node, Reduce):
            terms = parts[0].reshape(2, node.size, -1)
            return _together([terms[..., number] for number in range(terms.shape[-1])])
        found = np.full((2, node.size), _NOTHING)
        if isinstance(node, Move):
            for number, part in enumerate(parts):
                found[:, node.which == number] = part
        elif not isinstance(node, ConstantNode):
            found[:] = _SEVERAL
        return found


def _together(parts: Sequence[Index]) -> Index:
    """What numbers depend on that are computed from those of several arrays."""
    stacked = np.stack(parts)
    most = stacked.max(0)
    differs = ((stacked != most) & (stacked != _NOTHING)).any(0)
    found: Index = np.where(differs, _SEVERAL, most)
    return found
