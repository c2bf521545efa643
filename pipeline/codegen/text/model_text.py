"""The text of a program's `Model` from its plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.codegen.graph.nodes import BatchSum, Dependence, Node, Operand
from pipeline.codegen.passes.plan import Phase, ProgramPlan
from pipeline.codegen.text.emit import Emitter
from pipeline.codegen.text.loop_text import offset_of


class ModelEmitter(Emitter):
    """Writes one plan as a model; `places` are the numbers of the parameters that its gradients are of."""

    def __init__(self, plan: ProgramPlan, places: Sequence[int], is_poisoned: bool = False) -> None:
        super().__init__(plan, is_poisoned)
        self._places = places
        # Sums over the batch that are gradients as they are: they are added up where those stand.
        self._offsets: dict[int, str] = {}
        for place, gradient in zip(places, plan.gradients, strict=True):
            if isinstance(gradient.node, BatchSum) and _is_whole(gradient):
                self._offsets.setdefault(id(gradient.node), offset_of(place))

    def _name(self, node: Node) -> str:
        offset = self._offsets.get(id(node))
        return super()._name(node) if offset is None else f"(g + {offset})"

    def text(self) -> str:
        """The structure `Model`."""
        bodies = {phase: self._phase(phase) for phase in Phase}
        bodies[Phase.FORWARD][:0] = self._poison()
        bodies[Phase.FORWARD] += self._written("predictions", self._plan.predictions, Dependence.EXAMPLE, "=")
        for place, gradient in zip(self._places, self._plan.gradients, strict=True):
            if self._offsets.get(id(gradient.node)) != offset_of(place):
                bodies[Phase.FINISH] += self._written(f"(g + {offset_of(place)})", gradient, Dependence.BATCH, "+=")
        if self._deferred.calls:
            bodies[Phase.BACKWARD].insert(0, f"Lanes* const kept = tape.kept + tape.num_kept * {self._deferred.size};")
            bodies[Phase.BACKWARD].append("if (++tape.num_kept == MOST_BLOCKS) flush(tape, g);")
            bodies[Phase.FINISH].insert(0, "flush(tape, g);")
        sums = [node for node in self._plan.steps if isinstance(node, BatchSum) and id(node) not in self._offsets]
        clear = [f"for (int i = 0; i < {node.size}; ++i) {self._name(node)}[i] = 0;" for node in sums]
        arguments = "const real* w, const Batch& batch, Tape& tape"
        pieces = [
            *self._flush(),
            *self._function(
                "begin", "const real* w, Tape& tape", ["tape.num_kept = 0;", *bodies[Phase.BEGIN], *clear], False
            ),
            *self._function("forward", f"{arguments}, Lanes* predictions", bodies[Phase.FORWARD], True),
            *self._function("backward", f"{arguments}, const Lanes* slopes, real* g", bodies[Phase.BACKWARD], True),
            *self._function("finish", "const real* w, Tape& tape, real* g", bodies[Phase.FINISH], False),
        ]
        return "\n".join([*_INCLUDES, *self._tables.lines(), *_HEAD, *self._tape(), *pieces, *_TAIL])

    def _tape(self) -> list[str]:
        return [
            "struct Tape {",
            f"  Lanes lanes[{max(1, self._plan.num_lanes)}];",
            f"  Lanes kept[MOST_BLOCKS * {max(1, self._deferred.size)}];",
            f"  alignas(64) real scalars[{max(1, self._plan.num_scalars)}];",
            "  int num_kept;",
            "};",
        ]

    def _function(self, name: str, arguments: str, body: Sequence[str], reads_batch: bool) -> list[str]:
        inputs = ["const auto* inputs = whole(batch.tokens);"] if reads_batch else []
        return [f"static void {name}({arguments}) {{", *inputs, *body, "}"]


def _is_whole(operand: Operand) -> bool:
    """Whether all numbers of a node are read in their order."""
    return np.array_equal(operand.index.reshape(-1), np.arange(operand.node.size))


_INCLUDES = """#pragma once

#include "functions.h"
#include "products.h"
""".splitlines()
_HEAD = """
struct Model {
using Batch = Task::Batch;
""".splitlines()
_TAIL = ["};", ""]
