"""The graph of a task's examples: draws, and whole numbers that are exact."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from pipeline.codegen.graph.build import GraphBuilder
from pipeline.codegen.graph.draws import DRAW, INTEGER
from pipeline.codegen.graph.nodes import Dependence, Draw, Index, Map, Move, Node, Operand, SourceNode
from pipeline.codegen.graph.operands import arguments_with, differ_by_example, operands_of
from pipeline.codegen.graph.operations import MOVES
from pipeline.codegen.graph.ranges import EXACT, Ranges
from pipeline.codegen.graph.trace import Trace

_aten = torch.ops.aten
_WHOLE = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
_BITWISE = {
    _aten.bitwise_and.Tensor,
    _aten.bitwise_or.Tensor,
    _aten.bitwise_not.default,
}


class SampleBuilder(GraphBuilder):
    """Interprets the trace of `Task.sample`. What no real number holds exactly is refused."""

    def __init__(self, trace: Trace, dtype: str) -> None:
        super().__init__(trace)
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._most = EXACT[dtype]
        self.ranges = Ranges()
        # Draws of whole numbers that are too large, to be compared and sorted alone.
        self._wide: dict[int, Draw] = {}

    def _source(self, node: fx.Node, place: int) -> Operand:
        name = self._trace.given[place]
        if name == "vectors":
            # Behind the streams and the step.
            name = f"(vectors + {place - self._trace.given.index('step') - 1})"
        like: Tensor = node.meta["val"]
        return SourceNode(like.numel(), Dependence.WEIGHTS, False, (), name, place).whole(*like.shape)

    def _take(self, node: fx.Node) -> None:
        super()._take(node)
        found, like = self._values[node], node.meta.get("val")
        values = found if isinstance(found, list) else [found]
        likes = like if isinstance(like, list | tuple) else [like]
        for value, one in zip(values, likes, strict=True):
            if isinstance(value, Operand) and value.known is None and isinstance(one, Tensor):
                self._refuse_inexact(value, one.dtype)

    def _refuse_inexact(self, value: Operand, dtype: torch.dtype) -> None:
        if dtype.is_floating_point and dtype != self._dtype:
            raise NotImplementedError(f"no C++ is written for {dtype} in runs of {self._dtype}")
        if dtype in _WHOLE and id(value.node) not in self._wide:
            low, high = self.ranges.of(value).bounds()
            if not -self._most <= low <= high <= self._most:
                raise NotImplementedError(f"no C++ is written for whole numbers beyond {self._most:,.0f}")

    def _called(self, node: fx.Node, target: Any) -> Any:
        args, kwargs = arguments_with(node, self._values.__getitem__)
        if target is DRAW:
            return self._drawn(*args)
        if target is operator.getitem:
            return args[0][args[1]]
        operands = operands_of((args, kwargs))
        if any(id(one.node) in self._wide for one in operands):
            return self._of_wide(target, args, kwargs)
        if not differ_by_example(operands):
            return super()._called(node, target)
        if target in _BITWISE and node.meta["val"].dtype != torch.bool:
            raise NotImplementedError(f"no C++ is written for {target} of whole numbers")
        if target in _SORTS:
            return self._sorted(*args, **kwargs)
        is_whole = target in WHOLE_MAPS and node.meta["val"].dtype in _WHOLE
        if is_whole and (function := WHOLE_MAPS[target](kwargs)) is not None:
            return self._mapped(function, args, {})
        if target is _aten.index.Tensor and args[0].known is not None:
            return self._entries(args[0], args[1])
        return super()._called(node, target)

    def gathered(self, parts: Sequence[Operand], positions: Index) -> Operand:
        """From what others have gathered, it is gathered where those did."""
        whole: list[Operand] = []
        # Position + 1 among all numbers of `whole`, for each position + 1 among those of `parts`; 0 is a new zero.
        found = [np.zeros(1, np.int64)]
        for part in parts:
            first = 1 + sum(one.index.size for one in whole)
            flat, node = part.index.reshape(-1), part.node
            if not isinstance(node, Move):
                whole.append(part)
                found.append(first + np.arange(flat.size))
                continue
            starts = first + np.cumsum([0, *(one.size for one in node.parts)])
            whole += [one.whole() for one in node.parts]
            found.append(np.where(node.which[flat] < 0, 0, starts[node.which[flat]] + node.places[flat]))
        return super().gathered(whole, np.concatenate(found)[positions])

    def _converted(self, node: fx.Node, operand: Operand) -> Operand:
        old, new = cast("fx.Node", node.args[0]).meta["val"].dtype, node.meta["val"].dtype
        if old == self._dtype and new in _WHOLE:
            return self.map("whole_part", operand)
        return super()._converted(node, operand)

    def _drawn(
        self, key: Operand, step: Operand, kind: str, count: int, substream: int, high: int, dtype: torch.dtype
    ) -> Operand:
        """The op of `draws.py`."""
        if not isinstance(key.node, SourceNode) or key.node.name != "stream":
            raise NotImplementedError("no C++ is written for keys of one's own")
        if kind != INTEGER and dtype != self._dtype:
            raise NotImplementedError(f"no C++ is written for draws in {dtype} for runs of {self._dtype}")
        draw = self.draw(count, kind, key.node.place, substream, high, _period(step))
        if kind == INTEGER and high > self._most:
            self._wide[id(draw)] = draw
        return draw.whole(1, 1, count)

    def _of_wide(self, target: Any, args: Any, kwargs: Any) -> Any:
        """What may be done with integers that no real number holds: they are sorted, or compared with a number."""
        wide: Operand = args[0]
        draw = self._wide.get(id(wide.node)) if isinstance(wide, Operand) else None
        if draw is not None and target in MOVES and len(operands_of(args)) == 1:
            return self._moved(target, args, kwargs)
        what = (draw.stream, draw.substream, draw.high, draw.period) if draw is not None else ()
        if draw is not None and target is _aten.lt.Scalar and 0 <= args[1] <= draw.high:
            found = self.draw(draw.size, "is_below", *what, min(int(np.ceil(args[1])), draw.high - 1))
            if args[1] < draw.high:
                return Operand(found, wide.index)
        is_whole = draw is not None and wide.index.size == draw.size and wide.shape[-1] == draw.size
        if draw is not None and is_whole and target in _SORTS and not kwargs.get("descending", args[2:3] == (True,)):
            return [wide, self.draw(draw.size, "order", *what).whole(*wide.shape)]
        raise NotImplementedError(f"no C++ is written for {target} of whole numbers beyond {self._most:,.0f}")

    def _sorted(self, operand: Operand, dim: int = -1, descending: bool = False, **_: Any) -> list[Operand]:
        """Sorted numbers, and where they stood: number k comes at the place of as many as are before it.

        Those are the smaller ones, and of equal ones the earlier, as in torch on CPUs, stable or not.
        """
        values = np.moveaxis(operand.index, dim, -1)
        count = values.shape[-1]
        mine = Operand(operand.node, values[..., :, None])
        others = Operand(operand.node, values[..., None, :])
        function = ("is_above", "is_at_least") if descending else ("is_below", "is_at_most")
        is_earlier = self.constant(torch.arange(count) < torch.arange(count).unsqueeze(1))
        is_before = self.map("either", is_earlier, *(self.map(one, others, mine) for one in reversed(function)))
        rank = self.reduce("add", is_before, [-1], False)
        # (..., place, k): whether number k comes there.
        is_here = self.map(
            "equals", Operand(rank.node, rank.index[..., None, :]), self.constant(torch.arange(count).unsqueeze(1))
        )
        found = []
        for one in (Operand(operand.node, values[..., None, :]), self.constant(torch.arange(count))):
            total = self.reduce("add", self.map("either", is_here, one, self.number(0.0)), [-1], False)
            self.ranges.know(total.node, *self.ranges.of(one).bounds())
            found.append(Operand(total.node, np.moveaxis(total.index, -1, dim)))
        return found

    def _entries(self, table: Operand, positions: Any) -> Operand:
        """table[positions] of a table that is known."""
        if len(positions) != 1 or not differ_by_example(positions) or len(table.shape) != 1:
            raise NotImplementedError("no C++ is written for a table of several axes")
        (where,) = positions
        low, high = self.ranges.of(where).bounds()
        if not 0 <= low <= high < table.shape[0]:
            raise NotImplementedError("no C++ is written for positions that may be outside of a table")
        found = self.lookup(table.at_shape(-1, 1), where)
        return Operand(found.node, found.index[..., 0])


def _period(step: Operand) -> int:
    """The number modulo which the steps of a draw are counted; 0 if they are the run's."""
    node: Node = step.node
    if isinstance(node, SourceNode) and node.name == "step":
        return 0
    if step.is_zero:
        return 1
    if isinstance(node, Map) and node.function == "whole_remainder":
        steps, by = node.inputs
        if isinstance(steps.node, SourceNode) and steps.node.name == "step" and by.known is not None:
            return int(by.known.flat[0])
    raise NotImplementedError("no C++ is written for draws at steps of their own")


_SORTS = {_aten.sort.default, _aten.sort.stable}


def _of_rounding(kwargs: Any) -> str | None:
    return "whole_quotient" if kwargs.get("rounding_mode") == "floor" else None


# Of whole numbers, computed exactly.
WHOLE_MAPS: dict[Any, Callable[[Any], str | None]] = {
    _aten.div.Tensor_mode: _of_rounding,
    _aten.div.Scalar_mode: _of_rounding,
    _aten.remainder.Scalar: lambda _: "whole_remainder",
    _aten.remainder.Tensor: lambda _: "whole_remainder",
}
