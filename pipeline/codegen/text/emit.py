"""The text of a plan's computations: loops over what is needed of each node."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.codegen.graph.build import NoCodeError
from pipeline.codegen.graph.nodes import (
    BatchSum,
    Dependence,
    Draw,
    Index,
    Lookup,
    LookupSum,
    Map,
    Move,
    Node,
    Operand,
    Product,
    Reduce,
    Scatter,
    ScatterToAll,
)
from pipeline.codegen.passes.extents import Flags, any_along
from pipeline.codegen.passes.plan import Phase, ProgramPlan, phase_of
from pipeline.codegen.passes.rows import RowGroup
from pipeline.codegen.passes.strides import Strides
from pipeline.codegen.text.draw_text import DrawEmitter
from pipeline.codegen.text.fused import Loop, fused
from pipeline.codegen.text.loop_text import as_rows, call
from pipeline.codegen.text.loops import Nest, literal


class Emitter(DrawEmitter):
    """Writes the computations of one plan, phase by phase; `table` begins the names of its arrays of constants.

    Memory `is_poisoned`, for tests: what is read before it is written is not a number.
    """

    def __init__(self, plan: ProgramPlan, is_poisoned: bool = False, table: str = "table") -> None:
        super().__init__(plan, table)
        self._is_poisoned = is_poisoned

    def _poison(self) -> list[str]:
        """Lines that come first in the forward phase."""
        num_lanes = self._plan.num_lanes if self._is_poisoned else 0
        return [f'for (int i = 0; i < {num_lanes}; ++i) {self._arena}[i] = lanes(std::nan(""));'] if num_lanes else []

    def _phase(self, phase: Phase) -> list[str]:
        return [line for _, lines in self._steps(phase) for line in lines]

    def _steps(self, phase: Phase) -> Iterator[tuple[Node, list[str]]]:
        """The steps of a phase, the first of each group for all of it, with their text."""
        for number, node in enumerate(self._plan.steps):
            group = self._plan.groups.get(number)
            if phase_of(node) != phase:
                continue
            if group is None:
                yield node, ["{", *self._computed(node), "}"]
            elif number == group.first:
                yield node, self._in_rows(group)

    def _in_rows(self, group: RowGroup) -> list[str]:
        """The steps of a group, a row at a time."""
        self._group = group
        lines = [f"for (int i0 = 0; i0 < {group.num_rows}; ++i0) {{"]
        members = self._plan.steps[group.first : group.last + 1]
        held = [node for node in members if group.is_in_registers(node)]
        lines += [line for node in held for line in self._declared(node, group.row_size(node))]
        loops = [self._loop_of(node, self._plan.extents.computed(node)) for node in members]
        lines += [line for loop in fused(loops) for line in loop.lines()]
        self._group = None
        return [*lines, "}"]

    def _declared(self, node: Node, size: int) -> list[str]:
        name = self._name(node)
        poison = [f'for (Lanes& one : {name}) one = lanes(std::nan(""));'] if self._is_poisoned else []
        return [f"Lanes {name}[{size}];", *poison]

    def _loop_of(self, node: Node, needed: Flags) -> Loop:
        """That of a map or a reduction."""
        if isinstance(node, Reduce):
            return self._reduced(node, needed)
        assert isinstance(node, Map)
        shape = node.inputs[0].shape
        whole = node.whole(*shape)
        return self._loop(self._name(node), whole.index, whole, needed.reshape(shape), node.level, "=", root=node)

    def _computed(self, node: Node) -> list[str]:
        """What is computed, then what is known: loops over what is not regular may compute too much."""
        extents = self._plan.extents
        computed, filled = extents.computed(node), extents.filled(node)
        lines = self._loops_of(node, computed) if computed.any() else []
        for value in np.unique(extents.known[id(node)][filled]):
            lines += self._filled(node, filled & (extents.known[id(node)] == value), float(value))
        return lines

    def _filled(self, node: Node, here: Flags, value: float) -> list[str]:
        text = f"lanes({literal(value)})" if node.level == Dependence.EXAMPLE else literal(value)
        name = self._name(node)
        places = np.flatnonzero(here)
        if isinstance(node, Move) and (box := _box(here.reshape(node.shape))) is not None:
            places = node.whole(*node.shape).index[box]
        nest = Nest(np.ones(places.shape, bool), places.ndim, [places], self._tables)
        return [*nest.outer(), f"  {name}[{nest.position(places)}] = {self._converted(name, text)};"]

    def _loops_of(self, node: Node, needed: Flags) -> list[str]:
        count = int(np.flatnonzero(needed)[-1]) + 1
        if isinstance(node, Draw):
            return [] if node in self._made_of.values() else self._drawn(node, count)
        if isinstance(node, Map) and id(node) in self._made_of:
            return self._mapped_as_drawn(node, self._made_of[id(node)], count)
        if isinstance(node, Map | Reduce):
            return self._loop_of(node, needed).lines()
        if isinstance(node, Product):
            return self._product(node, needed)
        if isinstance(node, Move):
            return self._moved(node, needed)
        if isinstance(node, Lookup):
            return self._looked_up(node)
        if isinstance(node, LookupSum):
            return self._looked_up_sum(node)
        if isinstance(node, BatchSum):
            return self._summed(node)
        raise NoCodeError(f"no C++ is written for {type(node).__name__}")

    def _reduced(self, node: Reduce, needed: Flags) -> Loop:
        (operand,) = node.inputs
        region = self._plan.extents.terms[id(node)] & needed.reshape(*node.shape, *[1] * node.num_gone)
        split = len(node.shape)
        places = np.broadcast_to(
            node.whole(*node.shape).index.reshape(*node.shape, *[1] * node.num_gone), operand.shape
        )
        places = self._in_own_row(node, places)
        if self._group is not None:
            shape = as_rows(region.shape, self._group.num_rows)
            split -= region.ndim - len(shape)
            places, region, operand = places.reshape(shape), region.reshape(shape), operand.at_shape(*shape)
        leaves: list[Index] = [places]
        self._leaves(operand, leaves)
        nest = Nest(region, split, leaves, self._tables, has_rows=self._group is not None)
        kind = "Lanes" if node.level == Dependence.EXAMPLE else "real"
        start = "real(0)" if node.function == "add" else "-INFINITELY_LARGE"
        self._reads = set()
        total = f"total{self._plan.steps.index(node)}"
        value = self._read(operand, nest, region, node.level)
        larger = {"maximum": "larger", "maximum_number": "larger_number"}.get(node.function)
        add = f"{total} += {value};" if larger is None else f"{total} = {call(larger, [total, value])};"
        first = f"  {kind} {total} = {f'lanes({start})' if kind == 'Lanes' else start};"
        heads, name = self._heads(nest), self._name(node)
        last = f"  {name}[{nest.position(places)}] = {self._converted(name, total)};"
        if not heads:
            inside, reads = (f"    {add}",), frozenset(self._reads)
            return Loop((*self._unrolled(nest.inner()),), inside, (first,), (last,), reads, results=frozenset({name}))
        return Loop((), (*heads, "{", first, *self._unrolled(nest.inner()), f"    {add}", last, "}"))

    def _moved(self, node: Move, needed: Flags) -> list[str]:
        lines: list[str] = []
        for number, part in enumerate(node.parts):
            here = (node.which == number) & needed
            if not here.any() or self._stands_in(part, node):
                continue
            box = _box(here.reshape(node.shape))
            target, places = np.flatnonzero(here), node.places[here]
            if box is not None:
                target, places = (one.reshape(node.shape)[box] for one in (np.arange(node.size), node.places))
            region = np.ones(target.shape, bool)
            lines += self._loop(self._name(node), target, Operand(part, places), region, node.level, "=").lines()
        return lines

    def _stands_in(self, part: Node, node: Move) -> bool:
        """Whether a part is computed where it would be moved to."""
        if self._plan.in_moves.get(id(part), (None, 0))[0] is node:
            return True
        here, there = (self._plan.homes.get(id(one)) for one in (part, node))
        return here is not None and there is not None and here.output == there.output

    def _looked_up(self, node: Lookup) -> list[str]:
        table = Strides.of(node.table.index)
        rows = Strides.of(node.rows.index)
        if table is None or rows is None or node.table.node.level > Dependence.WEIGHTS:
            raise NoCodeError("no C++ is written for a lookup in such a table")
        count, width = node.rows.index.size, node.table.shape[1]
        sizes = f"{count}, {node.table.shape[0]}, {width}, {rows.steps[0]}, {table.steps[0]}, {table.steps[1]}"
        places = f"{self._name(node.table.node)} + {table.base}, {self._name(node.rows.node)} + {rows.base}"
        return [f"look_up<{sizes}>({places}, {self._name(node)});"]

    def _looked_up_sum(self, node: LookupSum) -> list[str]:
        tables, rows, size = node.tables.index, Strides.of(node.rows.index), node.tables.index.size
        if rows is None or (tables.reshape(-1) != tables.flat[0] + np.arange(size)).any():
            raise NoCodeError("no C++ is written for a lookup in such tables")
        sizes = ", ".join(map(str, (*tables.shape, *rows.steps)))
        places = f"{self._name(node.tables.node)} + {tables.flat[0]}, {self._name(node.rows.node)} + {rows.base}"
        return [f"look_up_sum<{sizes}>({places}, {self._name(node)});"]

    def _summed(self, node: BatchSum) -> list[str]:
        source = node.summed.node
        if isinstance(source, Product) and id(source) not in self._kept:
            return self._product_sum(node, source)
        if isinstance(source, Scatter | ScatterToAll):
            return self._added_by_row(node, source)
        return [f"add_sums({self._name(source)}, {node.size}, {self._name(node)});"]

    def _added_by_row(self, node: BatchSum, source: Scatter | ScatterToAll) -> list[str]:
        values, rows = Strides.of(source.values.index), Strides.of(source.rows.index)
        if values is None or rows is None:
            raise NoCodeError("no C++ is written for such a sum by rows")
        count, width = source.rows.index.size, source.values.shape[-1]
        is_of_all = isinstance(source, ScatterToAll)
        num_rows = node.size // width // (count if is_of_all else 1)
        sizes = ", ".join(map(str, [count, num_rows, width, *rows.steps, *values.steps]))
        places = f"{self._name(source.values.node)} + {values.base}, {self._name(source.rows.node)} + {rows.base}"
        return [f"{'add_to_rows' if is_of_all else 'add_by_row'}<{sizes}>({places}, {self._name(node)});"]


def _box(region: Flags) -> tuple[Index, ...] | None:
    """The True ones as all combinations of positions along each axis, as numpy takes them; None where they are none."""
    axes = range(region.ndim)
    found = np.ix_(*(np.flatnonzero(any_along(region, *(other for other in axes if other != axis))) for axis in axes))
    return found if region[found].all() else None
