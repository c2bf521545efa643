"""The text that draws a block of examples of a task, and that of its reference losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.codegen.graph.build import NoCodeError
from pipeline.codegen.graph.nodes import ConstantNode, Dependence, Draw, Lookup, Map, Node, in_order, readers_of
from pipeline.codegen.passes.extents import Flags
from pipeline.codegen.passes.plan import ProgramPlan
from pipeline.codegen.passes.strides import Strides
from pipeline.codegen.text.loops import literal
from pipeline.codegen.text.loss_text import QuestionEmitter

_ARGUMENTS = "const Stream* streams, const real* vectors, std::uint32_t first, Batch& batch"


class SampleEmitter(QuestionEmitter):
    """Writes the examples of one plan: its "predictions" are the inputs, and its one "gradient" the targets.

    `is_whole` says of each whether they are whole numbers.
    """

    def __init__(self, plan: ProgramPlan, name: str, is_whole: tuple[bool, bool], *memory: Any) -> None:
        super().__init__(plan, name, *memory)
        self._is_whole = is_whole
        self._readers = readers_of(in_order(plan.steps))
        self._outputs = ("inputs", "targets")
        self._conversions = {
            name: "on_numbers::whole_numbers({})" for name, one in zip(self._outputs, is_whole, strict=True) if one
        }

    def lines(self) -> list[str]:
        """The function."""
        kind, other = ("Ints" if is_whole else "Lanes" for is_whole in self._is_whole)
        inputs = f"{kind}* const inputs = reinterpret_cast<{kind}*>(&batch.tokens);"
        outputs = dict(zip(self._outputs, (self._plan.predictions, *self._plan.gradients), strict=True))
        given = [inputs, f"{other}* const targets = batch.targets;"]
        return self._function(f"void {self.name}({_ARGUMENTS})", given, outputs)

    def _loops_of(self, node: Node, needed: Flags) -> list[str]:
        if isinstance(node, Lookup) and isinstance(node.table.node, ConstantNode):
            return self._entries(node, node.table.node.values[node.table.index].reshape(-1).tolist())
        lines = super()._loops_of(node, needed)
        return [*self._if_it_counts(node), *lines] if isinstance(node, Draw) and lines else lines

    def _if_it_counts(self, node: Node) -> list[str]:
        condition = self._condition_of(node)
        return [f"if ({condition} != 0)"] if condition else []

    def _condition_of(self, node: Node) -> str:
        """A number of the run without which what is made of a node does not count; empty where it always does."""
        ends = (self._plan.predictions, *self._plan.gradients)
        found = {"" for end in ends if end.node is node}
        for reader, _ in self._readers.get(id(node), ()):
            if isinstance(reader, Map) and reader.function == "either" and reader.inputs[1].node is node:
                condition, _, other = reader.inputs
                is_one = condition.node.level <= Dependence.WEIGHTS and np.unique(condition.index).size == 1
                is_kept = id(condition.node) in self._kept and other.node is not node
                found.add(f"{self._name(condition.node)}[{condition.index.flat[0]}]" if is_one and is_kept else "")
            else:
                found.add(self._condition_of(reader) if self._is_inlined(reader) else "")
        return found.pop() if len(found) == 1 else ""

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
        sources = ["const auto* inputs = whole(batch.tokens);", "const auto* targets = batch.targets;"]
        given, outputs = [*sources, "Lanes answer[1];"], {"answer": self._plan.predictions}
        return self._function(f"Lanes {self.name}(const Batch& batch)", given, outputs, ["return answer[0];"])


def choice_of_split(keys: Mapping[str, tuple[int, int]]) -> list[str]:
    """The function `sample`, which calls one for each split: `keys` are those of the first stream in held-out ones."""
    lines = [f"static void sample({_ARGUMENTS}) {{"]
    for split, (one, other) in keys.items():
        is_here = f"streams[0].key[0] == {one}u && streams[0].key[1] == {other}u"
        lines.append(f"if ({is_here}) return sample_{split}(streams, vectors, first, batch);")
    return [*lines, "sample_train(streams, vectors, first, batch);", "}"]
