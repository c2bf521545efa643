"""The text that draws a block of examples of a task, and that of its reference losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.codegen.graph.build import NoCodeError
from pipeline.codegen.graph.nodes import ConstantNode, Dependence, Draw, Lookup, Map, Node
from pipeline.codegen.passes.extents import Flags
from pipeline.codegen.passes.homes import readers_of
from pipeline.codegen.passes.plan import Phase, ProgramPlan
from pipeline.codegen.passes.rows import reads_of
from pipeline.codegen.passes.strides import Strides
from pipeline.codegen.text.loops import literal
from pipeline.codegen.text.loss_text import QuestionEmitter

_ARGUMENTS = "const Stream* streams, const real* vectors, std::uint32_t first, Batch& batch"
# The number in the words `w` of a column, or the normal one.
_OF_WORDS = {
    "integer": "real_numbers(integers(w, {high}u))",
    "is_below": "is_below(w, {high}u, {bound})",
    "unit": "unit(w)",
    "normal": "z",
}


class SampleEmitter(QuestionEmitter):
    """Writes the examples of one plan: its "predictions" are the inputs, and its one "gradient" the targets.

    `is_whole` says of each whether they are whole numbers.
    """

    def __init__(self, plan: ProgramPlan, name: str, is_whole: tuple[bool, bool], *memory: Any) -> None:
        super().__init__(plan, name, *memory)
        self._is_whole = is_whole
        self._readers = readers_of(plan.steps)
        self._outputs = ("inputs", "targets")
        self._made_of = dict(self._made_as_drawn())
        self._conversions = {
            name: "on_numbers::whole_numbers({})" for name, one in zip(self._outputs, is_whole, strict=True) if one
        }

    def lines(self) -> list[str]:
        """The function."""
        (targets,) = self._plan.gradients
        types = ["Ints" if is_whole else "Lanes" for is_whole in self._is_whole]
        return [
            f"static void {self.name}({_ARGUMENTS}) {{",
            self._declared_memory(),
            f"{types[0]}* const inputs = reinterpret_cast<{types[0]}*>(&batch.tokens);",
            f"{types[1]}* const targets = batch.targets;",
            *self._poison(),
            *self._phase(Phase.BEGIN),
            *self._phase(Phase.FORWARD),
            *self._given("inputs", self._plan.predictions),
            *self._given("targets", targets),
            "}",
        ]

    def _made_as_drawn(self) -> Iterator[tuple[int, Draw]]:
        """Maps, by their id, that are computed by themselves, number by number of a draw that nothing else reads."""
        ends = [end.node for end in (self._plan.predictions, *self._plan.gradients)]
        steps = self._plan.steps
        reads = [(*read, number) for number, step in enumerate(steps) for read in reads_of(step, self._kept)]
        for draw in steps:
            mine = [read for read in reads if read[0] is draw]
            if not isinstance(draw, Draw) or draw.kind == "order" or draw in ends or len(mine) != 1:
                continue
            _, index, number = mine[0]
            is_each = steps[number].size == draw.size and (index.reshape(-1) == np.arange(draw.size)).all()
            if is_each and isinstance(steps[number], Map) and number not in self._plan.groups:
                yield id(steps[number]), draw

    def _loops_of(self, node: Node, needed: Flags) -> list[str]:
        count = int(np.flatnonzero(needed)[-1]) + 1
        if isinstance(node, Draw):
            return [] if node in self._made_of.values() else [*self._if_it_counts(node), *self._drawn(node, count)]
        if isinstance(node, Map) and id(node) in self._made_of:
            return self._mapped_as_drawn(node, self._made_of[id(node)], count)
        if isinstance(node, Lookup) and isinstance(node.table.node, ConstantNode):
            return self._entries(node, node.table.node.values[node.table.index].reshape(-1).tolist())
        return super()._loops_of(node, needed)

    def _mapped_as_drawn(self, node: Map, draw: Draw, count: int) -> list[str]:
        self._at_hand = {id(draw): _number_of(draw)}
        region = np.ones(node.size, bool)
        loop = self._loop(self._name(node), node.whole().index, node.whole(), region, node.level, "=", root=node)
        self._at_hand = {}
        return self._drawn(draw, count, loop.inside[0].strip())

    def _drawn(self, node: Draw, count: int, put: str = "") -> list[str]:
        """Draws the first `count` numbers; `put` is what is done with each, number i0, or they are kept."""
        stream = f"streams[{node.stream}]"
        if node.period:
            stream = f"repeated({stream}, {node.period}u)"
        name = self._name(node)
        if node.kind == "order":
            return [f"draw_order<{node.size}>({stream}, first, {node.substream}, {node.high}u, {name});"]
        put = put or f"({name})[i0] = {_number_of(node)};"
        draw, kind = ("draw_normals", "Lanes z") if node.kind == "normal" else ("draw", "Words w")
        return [f"{draw}({stream}, first, {count}, {node.substream}, [&](int i0, {kind}) {{ {put} }});"]

    def _if_it_counts(self, node: Node) -> list[str]:
        condition = self._condition_of(node)
        return [f"if ({condition} != 0)"] if condition else []

    def _condition_of(self, node: Node) -> str:
        """A number of the run without which what is made of a node does not count; empty where it always does."""
        ends = (self._plan.predictions, *self._plan.gradients)
        found = {"" for end in ends if end.node is node}
        for reader in self._readers.get(id(node), ()):
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


def _number_of(draw: Draw) -> str:
    return _OF_WORDS[draw.kind].format(high=draw.high, bound=draw.bound)


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
            *self._given("answer", self._plan.predictions),
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
