"""The text of an optimiser's update, a vector of weights at a time, and of a schedule's factor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple, TypeVar

from pipeline.codegen.graph.build import GraphBuilder, NoCodeError
from pipeline.codegen.graph.nodes import ConstantNode, Map, Move, Node, Operand, Reduce, SourceNode
from pipeline.codegen.graph.trace import Trace, called_at
from pipeline.codegen.graph.updates import UpdateTrace, Variable
from pipeline.codegen.text.loop_text import call
from pipeline.codegen.text.loops import literal
from pipeline.numerics.cpp_names import cpp_name

_T = TypeVar("_T")
_UPDATE = (
    "static void update(real* weights, const real* gradient, real scale, real lr, const OptimiserState& state,",
    "                   const Hyperparameters& hyperparameters) {",
    "namespace its = constants::optimiser;",
)
_FACTOR = (
    "static real after_warmup(real step, const Hyperparameters& hyperparameters) {",
    "namespace its = constants::schedule;",
)


class Number(NamedTuple):
    """A number as C++: a vector where each weight has its own, else a single one."""

    text: str
    is_vector: bool = False

    @property
    def vector(self) -> str:
        """It as a vector."""
        return self.text if self.is_vector else f"lanes({self.text})"


def optimiser_text(traces: Sequence[UpdateTrace]) -> str:
    """The structure `Optimiser`, from traces of several sizes, whose texts have to be one. Raises NoCodeError."""
    writer = _written_alike(traces)
    loop = ["for (int i = 0; i < constants::row_width; i += LANES) {", *writer.by_weight, *writer.stores(True), "}"]
    return _structure("Optimiser", [*_UPDATE, *writer.by_run, *loop, *writer.stores(False), "}"])


def schedule_text(traces: Sequence[UpdateTrace]) -> str:
    """The structure `Schedule`, likewise."""
    writer = _written_alike(traces)
    (factor,) = writer.results
    return _structure("Schedule", [*_FACTOR, *writer.by_run, f"return {factor.text};", "}"])


def _structure(name: str, lines: Sequence[str]) -> str:
    head = ["#pragma once", "", '#include "functions.h"', '#include "hyperparameters.h"', ""]
    return "\n".join([*head, f"struct {name} {{", *lines, "};", ""])


def _written_alike(traces: Sequence[UpdateTrace]) -> UpdateWriter:
    """What is written for one weight of one slot, if it is the same for all, and whatever their numbers."""
    found: list[UpdateWriter] = []
    for trace in traces:
        builder = GraphBuilder(Trace(trace.graph, (), (), tuple(variable.kind for variable in trace.inputs)))
        values = builder.outputs()
        places = [(s, w) for s in range(trace.sizes.num_slots) for w in range(trace.sizes.num_weights)]
        found += [UpdateWriter(trace, builder, values, *place) for place in places]
    first, *others = ([*writer.by_run, *writer.by_weight, *writer.results] for writer in found)
    if any(lines != first for lines in others):
        raise NoCodeError(
            "no C++ is written for what depends on the place or number of weights or slots, or takes "
            "hyperparameters from anywhere but `columns`"
        )
    return found[0]


class UpdateWriter:
    """Writes what becomes of one weight of a slot: a line for each operation.

    `by_run` are those on single numbers of a run, `by_weight` those on vectors of weights, `results` the outputs.
    """

    def __init__(
        self, trace: UpdateTrace, builder: GraphBuilder, values: Sequence[Operand], slot: int, weight: int
    ) -> None:
        self._trace, self._builder, self._slot, self._weight = trace, builder, slot, weight
        self._numbers: dict[tuple[int, int], Number | None] = {}
        self._read: dict[Variable, Number] = {}
        self.by_run: list[str] = []
        self.by_weight: list[str] = []
        places = [(slot, weight if one.is_row else 0)[: value.index.ndim] for one, value in self._pairs(values)]
        found = [self._number(value.node, int(value.index[place])) for value, place in zip(values, places, strict=True)]
        self.results = [number for number in found if number is not None]
        if len(self.results) < len(found):
            raise NoCodeError("no C++ is written for what moves numbers from one weight to another")

    def stores(self, of_rows: bool) -> list[str]:
        """Lines that store the results: arrays like the weights, or single numbers."""
        return [
            f"put({number.vector}, {self._address(variable)} + i);"
            if of_rows
            else f"{self._address(variable)} = {number.text};"
            for variable, number in self._pairs(self.results)
            if variable.is_row == of_rows and number != self._read.get(variable)
        ]

    def _pairs(self, values: Sequence[_T]) -> list[tuple[Variable, _T]]:
        return list(zip(self._trace.outputs, values, strict=True))

    def _address(self, variable: Variable) -> str:
        """The C++ of a variable: where an array begins, or a number."""
        if variable.kind in ("moments", "scalars"):
            place = [one for one in self._trace.outputs if one.kind == variable.kind].index(variable)
            return f"{'' if variable.is_row else '*'}state.{variable.kind}[{place}]"
        if variable.kind == "hyperparameters" and variable.name != "lr":
            return f"hyperparameters[its::{cpp_name(variable.name)}]"
        # The learning rate is that after the schedule.
        return "lr" if variable.kind == "hyperparameters" else variable.kind

    def _number(self, node: Node, position: int) -> Number | None:
        """A number of a node, once the lines that compute it are written; None of another weight's or slot's."""
        key = id(node), position
        if key not in self._numbers:
            self._numbers[key] = self._computed(node, position)
        return self._numbers[key]

    def _computed(self, node: Node, position: int) -> Number | None:
        if isinstance(node, ConstantNode):
            return Number(literal(float(node.values[position])))
        if isinstance(node, SourceNode):
            return self._source(self._trace.inputs[node.place], position)
        if isinstance(node, Move):
            which = int(node.which[position])
            return Number("real(0)") if which < 0 else self._number(node.parts[which], int(node.places[position]))
        if not isinstance(node, Map | Reduce):
            raise self._across(node)
        found = [
            self._number(one.node, int(place))
            for one in node.inputs
            for place in one.index.reshape(node.size, -1)[position]
        ]
        inputs = [number for number in found if number is not None]
        if len(inputs) < len(found):
            if any(number.is_vector for number in inputs) or (inputs and isinstance(node, Reduce)):
                raise self._across(node)
            return None
        if isinstance(node, Map):
            return self._called(node.function, inputs)
        function = "plus" if node.function == "add" else "larger"
        return reduce(lambda one, other: self._called(function, [one, other]), inputs)

    def _across(self, node: Node) -> NoCodeError:
        call = self._builder.calls[id(node)]
        assert call is not None, "what is computed comes from an operation"
        return NoCodeError(f"no C++ is written for {call.target} across the weights of a run{called_at(call)}")

    def _called(self, function: str, inputs: Sequence[Number]) -> Number:
        is_vector = any(one.is_vector for one in inputs)
        return self._named(call(function, [one.vector if is_vector else one.text for one in inputs]), is_vector)

    def _source(self, variable: Variable, position: int) -> Number | None:
        width = self._trace.sizes.num_weights
        own = self._slot * width + self._weight if variable.is_row else self._slot
        if position != own:
            return None
        if variable not in self._read:
            address = self._address(variable)
            text = f"taken({address} + i)" if variable.is_row else address
            text += " * scale" if variable.kind == "gradient" else ""
            self._read[variable] = self._named(text, variable.is_row)
        return self._read[variable]

    def _named(self, text: str, is_vector: bool) -> Number:
        if is_vector:
            self.by_weight.append(f"const Lanes x{len(self.by_weight)} = {text};")
            return Number(f"x{len(self.by_weight) - 1}", True)
        self.by_run.append(f"const real r{len(self.by_run)} = {text};")
        return Number(f"r{len(self.by_run) - 1}")
