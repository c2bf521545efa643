"""The text that draws a block of examples of a task, and that of its reference losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.codegen.graph.build import NoCodeError
from pipeline.codegen.graph.nodes import ConstantNode, Dependence, Draw, Lookup, Map, Node, Operand
from pipeline.codegen.passes.extents import Flags
from pipeline.codegen.passes.plan import Phase, ProgramPlan
from pipeline.codegen.passes.strides import Strides
from pipeline.codegen.text.loops import literal
from pipeline.codegen.text.loss_text import QuestionEmitter

_ARGUMENTS = "const Stream* streams, const real* vectors, std::uint32_t first, Batch& batch"
# The number in the words `w` of a column.
_OF_WORDS = {
    "integer": "real_numbers(integers(w, {high}u))",
    "is_below": "is_below(w, {high}u, {bound})",
    "unit": "unit(w)",
}


class SampleEmitter(QuestionEmitter):
    """Writes the examples of one plan: its "predictions" are the inputs, and its one "gradient" the targets.

    `is_whole` says of each whether they are whole numbers.
    """

    def __init__(self, plan: ProgramPlan, name: str, is_whole: tuple[bool, bool], *memory: Any) -> None:
        super().__init__(plan, name, *memory)
        self._is_whole = is_whole

    def lines(self) -> list[str]:
        """The function."""
        (targets,) = self._plan.gradients
        outputs = (("inputs", self._plan.predictions), ("targets", targets))
        types = ["Ints" if is_whole else "Lanes" for is_whole in self._is_whole]
        return [
            f"static void {self.name}({_ARGUMENTS}) {{",
            self._declared_memory(),
            f"{types[0]}* const inputs = reinterpret_cast<{types[0]}*>(&batch.tokens);",
            f"{types[1]}* const targets = batch.targets;",
            *self._poison(),
            *self._phase(Phase.BEGIN),
            *self._phase(Phase.FORWARD),
            *(
                line
                for (name, operand), is_whole in zip(outputs, self._is_whole, strict=True)
                for line in self._put(name, operand, is_whole)
            ),
            "}",
        ]

    def _put(self, name: str, operand: Operand, is_whole: bool) -> list[str]:
        if not is_whole:
            return self._written(name, operand, Dependence.EXAMPLE, "=")
        flat = operand.at_shape(-1)
        root = Map(flat.index.size, Dependence.EXAMPLE, False, "whole_numbers", (flat,))
        region = np.ones(root.size, bool)
        return self._loop(name, root.whole().index, root.whole(), region, Dependence.EXAMPLE, "=", root=root).lines()

    def _loops_of(self, node: Node, needed: Flags) -> list[str]:
        if isinstance(node, Draw):
            return self._drawn(node, int(np.flatnonzero(needed)[-1]) + 1)
        if isinstance(node, Lookup) and isinstance(node.table.node, ConstantNode):
            return self._entries(node, node.table.node.values[node.table.index].reshape(-1).tolist())
        return super()._loops_of(node, needed)

    def _drawn(self, node: Draw, count: int) -> list[str]:
        stream = f"streams[{node.stream}]"
        if node.period:
            stream = f"repeated({stream}, {node.period}u)"
        name = self._name(node)
        if node.kind == "order":
            return [f"draw_order<{node.size}>({stream}, first, {node.substream}, {node.high}u, {name});"]
        if node.kind == "normal":
            put = f"[&](int i, Lanes z) {{ ({name})[i] = z; }}"
            return [f"draw_normals({stream}, first, {count}, {node.substream}, {put});"]
        number = _OF_WORDS[node.kind].format(high=node.high, bound=node.bound)
        put = f"[&](int i, Words w) {{ ({name})[i] = {number}; }}"
        return [f"draw({stream}, first, {count}, {node.substream}, {put});"]

    def _entries(self, node: Lookup, table: list[float]) -> list[str]:
        rows = Strides.of(node.rows.index)
        if rows is None:
            raise NoCodeError("no C++ is written for such positions in a table")
        values = self._tables.named([literal(float(value)) for value in table], "real")
        where = f"({self._name(node.rows.node)})[{rows.base} + {rows.steps[0]} * i]"
        loop = f"for (int i = 0; i < {node.rows.index.size}; ++i)"
        return [loop, f"  ({self._name(node)})[i] = entries({values}, {where});"]


class ReferenceEmitter(QuestionEmitter):
    """Writes the mean of an example's reference losses."""

    def lines(self) -> list[str]:
        """The function."""
        return [
            f"static Lanes {self.name}(const Batch& batch) {{",
            self._declared_memory(),
            "const auto* inputs = whole(batch.tokens);",
            "const auto* targets = batch.targets;",
            "Lanes answer[1];",
            *self._poison(),
            *self._phase(Phase.BEGIN),
            *self._phase(Phase.FORWARD),
            *self._written("answer", self._plan.predictions, Dependence.EXAMPLE, "="),
            "return answer[0];",
            "}",
        ]


def choice_of_split(keys: Mapping[str, tuple[int, int]]) -> list[str]:
    """The function `sample`, which calls one for each split: `keys` are those of the first stream in held-out ones."""
    lines = [f"static void sample({_ARGUMENTS}) {{"]
    for split, (one, other) in keys.items():
        is_here = f"streams[0].key[0] == {one}u && streams[0].key[1] == {other}u"
        lines.append(f"if ({is_here}) return sample_{split}(streams, vectors, first, batch);")
    return [*lines, "sample_train(streams, vectors, first, batch);", "}"]
