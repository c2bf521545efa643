"""The text of a program's `Model` from its plan."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np

from pipeline.codegen.graph.nodes import BatchSum, Dependence, Draw, Node, Product, SourceNode, in_order, readers_of
from pipeline.codegen.passes.moved import product_strides
from pipeline.codegen.passes.plan import Phase, ProgramPlan
from pipeline.codegen.passes.strides import Strides
from pipeline.codegen.text.emit import Emitter
from pipeline.codegen.text.loop_text import offset_of
from pipeline.codegen.text.product_text import is_box

# Fewer rows or terms than this of one block make poor use of registers.
_FEW = 4


class ModelEmitter(Emitter):
    """Writes one plan as a model; `places` are the numbers of the parameters that its gradients are of."""

    _arena = "numbers"

    def __init__(self, plan: ProgramPlan, places: Sequence[int], is_poisoned: bool = False) -> None:
        super().__init__(plan, is_poisoned)
        self._places = places
        self._draws = any(isinstance(node, Draw) for node in plan.steps)
        # Sums over the batch that are gradients as they are are added up where those stand.
        self._offsets: dict[int, str] = {}
        self._in_gradients: dict[int, Strides] = {}
        readers, ends = readers_of(in_order(plan.steps)), [one.node for one in plan.gradients]
        for place, gradient in zip(places, plan.gradients, strict=True):
            node = gradient.node
            if isinstance(node, BatchSum) and gradient.is_whole:
                self._offsets.setdefault(id(node), offset_of(place))
            elif isinstance(node, Product) and id(node) not in readers and ends.count(node) == 1:
                # So do products of such sums.
                strides = product_strides(node, gradient.index.reshape(-1), np.arange(gradient.index.size))
                if strides is not None and node.level == Dependence.BATCH and not plan.extents.filled(node).any():
                    self._offsets[id(node)], self._in_gradients[id(node)] = offset_of(place), strides

    def _name(self, node: Node) -> str:
        offset = self._offsets.get(id(node))
        return super()._name(node) if offset is None else f"(g + {offset})"

    def _out(self, node: Product) -> tuple[str, Strides]:
        name, strides = super()._out(node)
        return name, self._in_gradients.get(id(node), strides)

    def text(self) -> str:
        """The structure `Model`."""
        forward, backward = self._in_blocks(Phase.FORWARD), self._in_blocks(Phase.BACKWARD)
        finish = self._phase(Phase.FINISH)
        for place, gradient in zip(self._places, self._plan.gradients, strict=True):
            if self._offsets.get(id(gradient.node)) != offset_of(place):
                finish += self._written(f"(g + {offset_of(place)})", gradient, Dependence.BATCH, "+=")
        sums = [node for node in self._plan.steps if isinstance(node, BatchSum) and id(node) not in self._offsets]
        clear = [f"for (int i = 0; i < {node.size}; ++i) {self._name(node)}[i] = 0;" for node in sums]
        arguments = "const real* w, const Batch* batches, Tape& tape"
        pieces = [
            *self._function("begin", "const real* w, Tape& tape", [*self._phase(Phase.BEGIN), *clear]),
            *self._function("forward", f"{arguments}, Lanes* all_predictions", forward),
            *self._function("backward", f"{arguments}, const Lanes* all_slopes, real* g", backward),
            *self._function("finish", "const real* w, Tape& tape, real* g", finish),
        ]
        includes = [*_INCLUDES, '#include "noise.h"'] if self._draws else _INCLUDES
        return "\n".join([*includes, *self._tables.lines(), *_HEAD, *self._tape(), *pieces, *_TAIL])

    def _num_blocks(self) -> str:
        """How many blocks of examples are computed at once, as C++: several where single rows are much of the work."""
        cost = cost_of_rows = 0
        for node in self._plan.steps:
            product = node.summed.node if isinstance(node, BatchSum) else node
            if isinstance(product, Product) and product.level == Dependence.EXAMPLE:
                b, m, n, k = product.sizes
                cost += b * m * n * k
                is_of_rows = self._spans_blocks(node) and (k if isinstance(node, BatchSum) else m) <= _FEW
                cost_of_rows += b * m * n * k * is_of_rows
        return "blocks_at_once(STRIDE, constants::batch_size)" if cost < 4 * cost_of_rows else "1"

    def _spans_blocks(self, node: Node) -> bool:
        if isinstance(node, Product):
            is_row = node.sizes[:2] == (1, 1) and is_box(self._plan.extents.terms[id(node)])
            is_known = self._plan.extents.filled(node).any() or not self._has_step(node.left.node)
            return is_row and not is_known and node.right.node.level < Dependence.EXAMPLE
        product = node.summed.node if isinstance(node, BatchSum) else node
        is_turned = isinstance(product, Product) and id(product) not in self._kept and self._turns(product)
        return is_turned and all(self._has_step(one.node) for one in product.inputs)

    def _has_step(self, node: Node) -> bool:
        """Whether what blocks of examples have of a node stands at equal steps, in vectors."""
        return node.level == Dependence.EXAMPLE and not (isinstance(node, SourceNode) and node.is_integer)

    def _in_blocks(self, phase: Phase) -> list[str]:
        """The steps of a phase: what does not span blocks in loops over them."""
        pieces = [(self._spans_blocks(node), lines) for node, lines in self._steps(phase)]
        at_ends = "const Lanes* const slopes = all_slopes"
        if phase == Phase.FORWARD:
            predictions = self._written("predictions", self._plan.predictions, Dependence.EXAMPLE, "=")
            pieces = [(False, self._poison()), *pieces, (False, predictions)]
            at_ends = "Lanes* const predictions = all_predictions"
        numbers = f"Lanes* const {self._arena} = tape.lanes"
        found = [f"{numbers};", f"{at_ends};", "const auto* const inputs = whole(batches->tokens);"]
        for spans, some in groupby(pieces, key=itemgetter(0)):
            lines = [line for _, piece in some for line in piece]
            if not spans:
                head = "for (int block = 0; block < BLOCKS; ++block) {"
                own = [f"{numbers} + block * STRIDE;", f"{at_ends} + block * NUM_PREDICTIONS;"]
                lines = [head, *own, "const auto* const inputs = whole(batches[block].tokens);", *lines, "}"]
            found += lines
        return found

    def _tape(self) -> list[str]:
        return [
            f"static constexpr int STRIDE = {max(1, self._plan.num_lanes)}, BLOCKS = {self._num_blocks()};",
            f"static constexpr int NUM_PREDICTIONS = {self._plan.predictions.index.size};",
            "struct Tape {",
            "  Lanes lanes[BLOCKS * STRIDE];",
            f"  alignas(64) real scalars[{max(1, self._plan.num_scalars)}];",
            *(["  Stream noise;", "  int first;"] if self._draws else []),
            "};",
        ]

    def _function(self, name: str, arguments: str, body: Sequence[str]) -> list[str]:
        return [f"static void {name}({arguments}) {{", *body, "}"]


_INCLUDES = """#pragma once

#include "functions.h"
#include "products.h"
""".splitlines()
_HEAD = """
struct Model {
using Batch = Task::Batch;
""".splitlines()
_TAIL = ["};", ""]
