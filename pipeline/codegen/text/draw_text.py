"""The text of draws: of the examples of a task, a row each, and of what a model draws for a batch while it trains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.codegen.graph.nodes import Draw, Map
from pipeline.codegen.passes.plan import ProgramPlan
from pipeline.codegen.passes.rows import reads_of
from pipeline.codegen.text.loops import literal
from pipeline.codegen.text.product_text import ProductEmitter

# The number in the words `w` of a column, or the normal one.
_OF_WORDS = {
    "integer": "real_numbers(integers(w, {high}u))",
    "is_below": "is_below(w, {high}u, {bound})",
    "unit": "unit(w)",
    "normal": "z",
}
# What makes four numbers of four words, in native/noise.h.
_OF_FOUR_WORDS = {"is_below": "Below{{{bound}, 1 / {divisor}}}", "unit": "Units{{}}", "normal": "Normals{{}}"}


class DrawEmitter(ProductEmitter):
    """Writes the draws of one plan. A map that alone reads a draw, number by number, is computed where it is drawn."""

    def __init__(self, plan: ProgramPlan, table: str = "table") -> None:
        super().__init__(plan, table)
        self._made_of = dict(self._made_as_drawn())

    def _made_as_drawn(self) -> Iterator[tuple[int, Draw]]:
        """Maps, by their id, that are computed by themselves, number by number of a draw that nothing else reads."""
        ends = [end.node for end in (self._plan.predictions, *self._plan.gradients)]
        steps = self._plan.steps
        draws = [node for node in steps if isinstance(node, Draw) and node.kind != "order" and node not in ends]
        readers = enumerate(steps if draws else ())
        reads = [(*read, number) for number, step in readers for read in reads_of(step, self._kept)]
        for draw in draws:
            mine = [read for read in reads if read[0] is draw]
            if len(mine) != 1:
                continue
            _, index, number = mine[0]
            is_each = steps[number].size == draw.size and np.array_equal(index.reshape(-1), np.arange(draw.size))
            if is_each and isinstance(steps[number], Map) and number not in self._plan.groups:
                yield id(steps[number]), draw

    def _mapped_as_drawn(self, node: Map, draw: Draw, count: int) -> list[str]:
        self._at_hand = {id(draw): _number_of(draw)}
        region = np.ones(node.size, bool)
        loop = self._loop(self._name(node), node.whole().index, node.whole(), region, node.level, "=", root=node)
        self._at_hand = {}
        return self._drawn(draw, count, loop.inside[0].strip())

    def _drawn(self, node: Draw, count: int, put: str = "") -> list[str]:
        """Draws the first `count` numbers; `put` is what is done with each, number i0, or they are kept."""
        put = put or f"({self._name(node)})[i0] = {_number_of(node)};"
        if node.pieces:
            numbers = _OF_FOUR_WORDS[node.kind].format(bound=node.bound, divisor=literal(node.divisor))
            sizes, given = f"{node.pieces}, {node.size // node.pieces}", f"{node.substream}, {numbers}"
            put = f"[&](int i0, Lanes drawn) {{ {put} }}"
            return [f"draw_noise<{sizes}>(tape.noise, tape.first + block * LANES, {given}, {put});"]
        stream = f"streams[{node.stream}]"
        if node.period:
            stream = f"repeated({stream}, {node.period}u)"
        if node.kind == "order":
            return [f"draw_order<{node.size}>({stream}, first, {node.substream}, {node.high}u, {self._name(node)});"]
        draw, kind = ("draw_normals", "Lanes z") if node.kind == "normal" else ("draw", "Words w")
        return [f"{draw}({stream}, first, {count}, {node.substream}, [&](int i0, {kind}) {{ {put} }});"]


def _number_of(draw: Draw) -> str:
    return "drawn" if draw.pieces else _OF_WORDS.get(draw.kind, "").format(high=draw.high, bound=draw.bound)
