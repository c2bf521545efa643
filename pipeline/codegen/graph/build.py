"""Turns a trace into the graph of `nodes`: what each operation of the table means."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, fx

from pipeline.codegen.graph.aliases import Aliases
from pipeline.codegen.graph.choices import CHOICES, by_one_hot, sum_of_one_hot
from pipeline.codegen.graph.nodes import (
    ConstantNode,
    Dependence,
    Draw,
    Index,
    Lookup,
    Map,
    Move,
    Node,
    Operand,
    Product,
    Reduce,
    Scatter,
    SourceNode,
)
from pipeline.codegen.graph.operands import (
    arguments_with,
    differ_by_example,
    direct,
    masked,
    simplified,
    tensors,
)
from pipeline.codegen.graph.operations import (
    FILLS,
    GATHERS,
    MAPS,
    MOVES,
    NO_CHANGE,
    RESHAPES,
    RULES,
    pads_with_others,
)
from pipeline.codegen.graph.position_tables import product_by_tables
from pipeline.codegen.graph.tables import product_by_table, scattered_to, sum_by_table
from pipeline.codegen.graph.trace import Trace, called_at

_aten = torch.ops.aten
_Kind = TypeVar("_Kind", bound=Node)
# Of all values of a trace, parameters included. A text for three times as many took 12 s and 1.9 GB.
MOST_NUMBERS = 25_000_000


class NoCodeError(Exception):
    """An operation outside the table; the message names it and the line of the model's code that called it."""


class GraphBuilder:
    """Interprets a trace operation by operation; equal computations become one node."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._values: dict[fx.Node, Any] = {}
        self._known: dict[Any, Node] = {}
        self._aliases = Aliases()
        # The operation that is taken, and of each node the one that made it.
        self._call: fx.Node | None = None
        self.calls: dict[int, fx.Node | None] = {}
        # Maps that are products of a column and a row.
        self.outer_products: dict[int, tuple[Operand, Operand]] = {}
        # What log_softmax gave -> the softmax, which its slopes take.
        self.log_shares: dict[int, Operand] = {}
        # Maps that are 1 at one position along the last axis of their shape, and 0 elsewhere.
        self.one_hots: set[int] = set()

    def outputs(self) -> list[Operand]:
        """The outputs of the trace. Raises NoCodeError."""
        size = sum(
            like.numel() for node in self._trace.graph.graph.nodes if isinstance(like := node.meta.get("val"), Tensor)
        )
        if size > MOST_NUMBERS:
            raise NoCodeError(f"no C++ is written for {size:,} numbers an example, more than {MOST_NUMBERS:,}")
        found: list[Operand] = []
        for node in self._trace.graph.graph.nodes:
            if node.op == "placeholder":
                self._values[node] = self._source(node, len(self._values))
                self._aliases.add(node, self._values[node].shape)
            elif node.op == "get_attr":
                self._values[node] = self.constant(getattr(self._trace.graph, cast("str", node.target)))
            elif node.op == "call_function":
                self._call = node
                try:
                    self._take(node)
                except NotImplementedError as error:
                    raise NoCodeError(f"{error or node.target}{called_at(node)}") from error
            elif node.op == "output":
                found = [self._values[one] for one in node.args[0]]
        return found

    def _source(self, node: fx.Node, place: int) -> Operand:
        like: Tensor = node.meta["val"]
        num_parameters = len(self._trace.names)
        name = "weights" if place < num_parameters else self._trace.given[place - num_parameters]
        level = Dependence.WEIGHTS if name == "weights" else Dependence.EXAMPLE
        is_integer = not like.dtype.is_floating_point
        source = SourceNode(like.numel(), level, name == "slopes", (), name, place, is_integer)
        return source.whole(*like.shape)

    def _take(self, node: fx.Node) -> None:
        """The value of an operation, and what it changes."""
        if node.target in RESHAPES:
            # The value itself takes another shape.
            self._values[node] = self._called(node, RESHAPES[node.target])
            self._values[cast("fx.Node", node.args[0])] = self._values[node]
            self._aliases.reshape(node, RESHAPES[node.target])
            return
        changes = self._changes(node)
        found = self._called(node, changes or cast("Any", node.target))
        if changes is not None:
            self._change(node, found)
            self._values[node] = self._values[cast("fx.Node", node.args[0])]
            self._aliases.same(node, cast("fx.Node", node.args[0]))
            return
        self._values[node] = found
        self._aliases.add(node, found.shape if isinstance(found, Operand) else None)

    def _called(self, node: fx.Node, target: Any) -> Any:
        args, kwargs = arguments_with(node, self._values.__getitem__)
        if target is operator.getitem:
            return args[0][args[1]]
        if torch.Tag.nondeterministic_seeded in getattr(target, "tags", ()):
            raise NotImplementedError(f"no C++ is written for {target}, which draws")
        if target in FILLS:
            value = FILLS[target]
            number = self.number(args[-1] if value is None else value)
            return Operand(number.node, np.zeros(node.meta["val"].shape, np.int64))
        if target is _aten.as_strided.default and not cast("fx.Node", node.args[0]).meta["val"].is_contiguous():
            raise NotImplementedError(f"no C++ is written for {target} of what is not contiguous")
        if not differ_by_example((args, kwargs)):
            return self._folded(target, args, kwargs)
        is_choice = target in CHOICES and differ_by_example(args[1:])
        if target in MOVES and not is_choice and not pads_with_others(target, args):
            return self._moved(target, args, kwargs)
        if target in NO_CHANGE:
            return self._converted(node, args[0])
        if target in MAPS:
            return self._mapped(MAPS[target], args, kwargs)
        rule = RULES.get(target) or CHOICES.get(target)
        if rule is None:
            raise NotImplementedError(f"no C++ is written for {target}")
        return rule(self, *args, **kwargs)

    def _changes(self, node: fx.Node) -> Any:
        """Of an operation in place, the one that returns what its first argument becomes; None for all others."""
        target = cast("Any", node.target)
        if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
            return None
        if not isinstance(node.args[0], fx.Node) or self._aliases.root(node.args[0]).op == "placeholder":
            # In torch it would stay changed, for the next step and for whoever reads it.
            raise NotImplementedError(f"no C++ is written for {target} of what the module is given")
        plain = getattr(_aten, target._schema.name.removeprefix("aten::").removesuffix("_"), None)
        found = getattr(plain, target._overloadname, None)
        if found is None:
            raise NotImplementedError(f"no C++ is written for {target}")
        return found

    def _change(self, node: fx.Node, becomes: Operand) -> None:
        """Every value that shares memory with the first argument of `node` becomes, there, what that becomes."""
        for other, which in self._aliases.changed_with(cast("fx.Node", node.args[0])):
            old: Operand = self._values[other]
            if (which >= 0).any():
                both = np.where(which >= 0, which, becomes.index.size + np.arange(which.size).reshape(which.shape))
                self._values[other] = self.gathered([becomes, old], both + 1)

    def constant(self, value: Tensor) -> Operand:
        """What is known."""
        numbers = value.detach().numpy(force=True)
        key = (str(numbers.dtype), numbers.tobytes())
        node = self._shared(key, ConstantNode, numbers.size, Dependence.CONSTANT, False, (), numbers.reshape(-1))
        return node.whole(*numbers.shape)

    def number(self, value: float) -> Operand:
        """A constant of no axes."""
        return self.constant(torch.tensor(value, dtype=torch.float64))

    def _folded(self, target: Any, args: Any, kwargs: Any) -> Any:
        """What an operation of constants alone gives, from torch."""
        found = target(*tensors(args), **tensors(kwargs))
        return [self.constant(one) for one in found] if isinstance(found, tuple | list) else self.constant(found)

    def _shared(self, key: Any, kind: type[_Kind], *what: Any) -> _Kind:
        """The node of this key, made if there is none yet."""
        if key not in self._known:
            self._known[key] = kind(*what)
            self.calls[id(self._known[key])] = self._call
        return cast("_Kind", self._known[key])

    def computed(self, kind: type[_Kind], size: int, inputs: tuple[Operand, ...], key: Any = (), *what: Any) -> _Kind:
        """The node of a kind that computes `what` of its inputs; `key` tells it from others of the same inputs."""
        level = max((one.node.level for one in inputs), default=Dependence.CONSTANT)
        is_backward = any(one.node.is_backward for one in inputs)
        whole_key = (kind, size, key, *(one.key() for one in inputs))
        return self._shared(whole_key, kind, size, level, is_backward, inputs, *what)

    def draw(self, size: int, *what: Any) -> Draw:
        """Random numbers of an example; `what` are the fields of `Draw`."""
        return self._shared((Draw, size, *what), Draw, size, Dependence.EXAMPLE, False, (), *what)

    def _moved(self, target: Any, args: Any, kwargs: Any) -> Any:
        """The operation applied to positions: position + 1 among all parts laid end to end; 0 is a new zero."""
        parts: list[Operand] = []

        def positions(one: Operand) -> Tensor:
            first = 1 + sum(part.index.size for part in parts)
            parts.append(one)
            return torch.arange(first, first + one.index.size).view(one.shape)

        if target in GATHERS:
            moved = target(positions(args[0]), *tensors(args[1:]))
        else:
            moved = target(*tensors(args, positions), **tensors(kwargs, positions))
        if isinstance(moved, tuple | list):
            return [self.gathered(parts, one.numpy()) for one in moved]
        return self.gathered(parts, moved.numpy())

    def concatenated(self, parts: Sequence[Operand], axis: int) -> Operand:
        """Parts one behind the other along an axis."""
        firsts = np.cumsum([1, *(part.index.size for part in parts)])
        numbers = [
            first + np.arange(part.index.size).reshape(part.shape) for first, part in zip(firsts, parts, strict=False)
        ]
        return self.gathered(parts, np.concatenate(numbers, axis))

    def gathered(self, parts: Sequence[Operand], positions: Index) -> Operand:
        """Numbers at `positions` among those of all parts, one behind the other and counted from 1; 0 is a zero."""
        flat = positions.reshape(-1) - 1
        ends = np.cumsum([part.index.size for part in parts])
        which = np.where(flat < 0, -1, np.searchsorted(ends, flat, side="right"))
        starts = ends - [part.index.size for part in parts]
        nodes: list[Node] = []
        numbers = np.full(flat.size, -1, np.int64)
        places = np.zeros(flat.size, np.int64)
        for number, part in enumerate(parts):
            here = which == number
            if here.any():
                if part.node not in nodes:
                    nodes.append(part.node)
                numbers[here] = nodes.index(part.node)
                places[here] = part.index.reshape(-1)[flat[here] - starts[number]]
        if len(nodes) == 1 and (numbers == 0).all():
            return Operand(nodes[0], places.reshape(positions.shape))
        return self.move(tuple(nodes), numbers, places, positions.shape).whole(*positions.shape)

    def move(self, parts: tuple[Node, ...], which: Index, places: Index, shape: tuple[int, ...]) -> Node:
        """The node that gathers numbers of several."""
        inputs = tuple(Operand(part, places[which == number]) for number, part in enumerate(parts))
        return self.computed(Move, which.size, inputs, which.tobytes(), which, places, shape)

    def _converted(self, node: fx.Node, operand: Operand) -> Operand:
        """A number of another type: whole numbers and truth values are exact, and no real number is rounded."""
        old, new = cast("fx.Node", node.args[0]).meta["val"].dtype, node.meta["val"].dtype
        if new == torch.bool and old != new:
            return self.map("differs", operand, self.number(0.0))
        if old != new and old.is_floating_point:
            raise NotImplementedError(f"no C++ is written for a conversion from {old} to {new}")
        return operand

    def _mapped(self, function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Operand:
        operands = [one if isinstance(one, Operand) else self.number(one) for one in args]
        factor = kwargs.get("alpha", 1)
        if factor != 1:
            operands[1] = self.map("times_", operands[1], self.number(factor))
        return self.map(function, *operands)

    def map(self, function: str, *operands: Operand) -> Operand:
        """A function of numbers, its operands broadcast."""
        shape = np.broadcast_shapes(*(one.shape for one in operands))
        inputs = tuple(Operand(one.node, np.broadcast_to(one.index, shape)) for one in map(direct, operands))
        plain = simplified(function, inputs)
        if plain is not None:
            return plain
        if function == "plus" and (mask := masked(inputs)) is not None:
            is_gone, rest = mask
            return self.map("either", self.constant(torch.from_numpy(is_gone)), self.number(-math.inf), rest)
        if function == "plus" and (looked_up := sum_by_table(self, inputs)) is not None:
            return looked_up
        return self.computed(Map, math.prod(shape), inputs, function, function).whole(*shape)

    def reduce(self, function: str, operand: Operand, axes: Sequence[int], keeps_axes: bool) -> Operand:
        """A `Reduce` over axes, or what it gives without one."""
        count = len(operand.shape)
        gone = sorted(axis % count for axis in axes) if len(axes) else list(range(count))
        left = [axis for axis in range(count) if axis not in gone]
        shape = [1 if axis in gone else operand.shape[axis] for axis in range(count)]
        if not keeps_axes:
            shape = [operand.shape[axis] for axis in left]
        terms = operand.index.transpose(*left, *gone)
        if terms.size == math.prod(shape):
            return Operand(operand.node, terms.reshape(shape))
        inputs = (Operand(operand.node, terms),)
        if function == "add" and (chosen := sum_of_one_hot(self, inputs[0], len(gone))) is not None:
            return chosen.at_shape(*shape)
        what = function, len(gone)
        return self.computed(Reduce, math.prod(shape), inputs, what, *what).whole(*shape)

    def product(self, left: Operand, right: Operand) -> Operand:
        """(b, m, k) times (b, k, n)."""
        if (looked_up := by_one_hot(self, left, right)) is not None:
            return looked_up
        if left.shape[2] == 1:
            # No sum: it may be computed where it is read.
            found = self.map("times_", left, right)
            if isinstance(found.node, Map) and found.node.inputs[0].shape == found.shape:
                # Not one of the operands, as of a product with ones.
                self.outer_products[id(found.node)] = left, right
            return found
        by_table = product_by_table(self, left, right) or product_by_tables(self, left, right)
        return by_table or self.matrix_product(left, right)

    def matrix_product(self, left: Operand, right: Operand) -> Operand:
        """The same as a node that is computed as a product."""
        shape = left.shape[0], left.shape[1], right.shape[2]
        return self.computed(Product, math.prod(shape), (left, right)).whole(*shape)

    def lookup(self, table: Operand, rows: Operand) -> Operand:
        """Rows (..., d) of a table."""
        if rows.known is not None:
            return table.at_positions(rows.known)
        shape = *rows.shape, table.shape[1]
        return self.computed(Lookup, math.prod(shape), (table, rows.at_shape(-1))).whole(*shape)

    def scatter(self, values: Operand, rows: Operand, num_rows: int) -> Operand:
        """The table (v, d) of sums of values by row."""
        width = values.shape[-1]
        if rows.known is not None:
            return scattered_to(self, rows.known.reshape(-1), values.at_shape(-1, width), num_rows)
        inputs = values.at_shape(-1, width), rows.at_shape(-1)
        return self.computed(Scatter, num_rows * width, inputs).whole(num_rows, width)
