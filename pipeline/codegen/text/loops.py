"""Loop nests over parts of a tensor, and the text of what they read: by strides where it is regular, else by tables."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pipeline.codegen.graph.nodes import Index
from pipeline.codegen.passes.extents import Flags, KnownNumbers, Spans, any_along, bounds_of
from pipeline.codegen.passes.rows import MOST_IN_REGISTERS
from pipeline.codegen.passes.strides import Strides


def linear(base: int, steps: Sequence[int], names: Sequence[str]) -> str:
    """The text of a position."""
    terms = [name if step == 1 else f"{step} * {name}" for step, name in zip(steps, names, strict=True) if step]
    if base or not terms:
        terms.append(str(base))
    return " + ".join(terms).replace("+ -", "- ")


class Tables:
    """ConstantNode arrays of the text, each written once."""

    def __init__(self, name: str = "table") -> None:
        self._name = name
        self._names: dict[str, str] = {}

    def named(self, values: Sequence[int] | Sequence[str], kind: str) -> str:
        """The name of an array of these values."""
        text = f"{kind} @[] = {{{', '.join(map(str, values))}}};"
        return self._names.setdefault(text, f"{self._name}{len(self._names)}")

    def lines(self) -> list[str]:
        """Their declarations, in a namespace of its own for each program: a process shares what it can of several."""
        arrays = [f"constexpr {text.replace('@', name)}" for text, name in self._names.items()]
        return ["namespace {", *arrays, "}"]


class Nest:
    """Loops over `region`, True where a number is wanted. Axes from `split` on are the inner loops, of a reduction.

    What is not wanted may be computed too, where the region is not regular.
    """

    def __init__(
        self, region: Flags, split: int, indices: Sequence[Index], tables: Tables, *, has_rows: bool = False
    ) -> None:
        self._tables = tables
        axes = range(region.ndim)
        self._box = [bounds_of(any_along(region, *(other for other in axes if other != axis))) for axis in axes]
        inside = region[tuple(slice(*bounds) for bounds in self._box)]
        self._spans, self._ruler = (None, -1) if inside.all() else _ragged(inside)
        kept = {self._ruler, region.ndim - 1} if self._spans is not None else set()
        if has_rows:
            # The first loop is that of the rows, which is written elsewhere.
            kept.add(0)
        self._groups = self._merged(region.shape, split, indices, kept)
        self._split = sum(group[0] < split for group in self._groups)
        self._shape = region.shape
        self.names = [f"i{number}" for number in range(len(self._groups))]

    def _merged(self, shape: tuple[int, ...], split: int, indices: Sequence[Index], kept: set[int]) -> list[list[int]]:
        """Axes in groups that are walked by one loop."""
        groups: list[list[int]] = [[axis] for axis in range(len(shape))]
        for axis in range(len(shape) - 1, 0, -1):
            is_whole = self._box[axis] == (0, shape[axis])
            may = is_whole and axis != split and not ({axis, axis - 1} & kept)
            if may and all(_merges(index[self._slices()], axis) for index in indices):
                number = next(number for number, group in enumerate(groups) if group[0] == axis)
                groups[number - 1 : number + 1] = [[*groups[number - 1], *groups[number]]]
        return groups

    def _slices(self) -> tuple[slice, ...]:
        return tuple(slice(*bounds) for bounds in self._box)

    def position(self, index: Index) -> str:
        """The text of the position that is read in the loops, of positions over the whole tensor."""
        boxed = index[self._slices()]
        found = Strides.of(boxed.reshape(self._sizes()), self._firsts())
        if found is not None:
            return linear(found.base, found.steps, self.names)
        return f"{self._tables.named(boxed.reshape(-1).tolist(), 'int')}[{self._flat()}]"

    def values(self, numbers: KnownNumbers) -> str:
        """The text of one of constant numbers over the whole tensor."""
        values = [literal(value) for value in numbers[self._slices()].reshape(-1).tolist()]
        return f"{self._tables.named(values, 'real')}[{self._flat()}]"

    def _flat(self) -> str:
        """The text of the position in a table of all numbers of the loops."""
        sizes = self._sizes()
        steps = [math.prod(sizes[number + 1 :]) for number in range(len(sizes))]
        base = -sum(step * first for step, first in zip(steps, self._firsts(), strict=True))
        return linear(base, steps, self.names)

    def _sizes(self) -> list[int]:
        """How many numbers each loop has."""
        return [high - low for low, high in map(self._bounds, self._groups)]

    def _firsts(self) -> list[int]:
        return [self._bounds(group)[0] for group in self._groups]

    def _bounds(self, group: list[int]) -> tuple[int, int]:
        """From and to of a loop: the first axis's range, times the sizes of the others, which are whole."""
        inner = int(np.prod([self._shape[axis] for axis in group[1:]]))
        low, high = self._box[group[0]]
        return low * inner, high * inner

    def outer(self) -> list[str]:
        """Heads of the outer loops."""
        return [self._head(number) for number in range(self._split)]

    def in_a_row(self, num_rows: int) -> list[str]:
        """Heads of the outer loops but that of rows, and a condition where not all rows are wanted."""
        low, high = self._bounds(self._groups[0])
        condition = [] if (low, high) == (0, num_rows) else [f"if ({low} <= i0 && i0 < {high})"]
        return condition + self.outer()[1:]

    def inner(self) -> list[str]:
        """Heads of the loops behind the split."""
        return [self._head(number) for number in range(self._split, len(self._groups))]

    def _head(self, number: int) -> str:
        name, group = self.names[number], self._groups[number]
        low, high = (str(bound) for bound in self._bounds(group))
        if self._spans is not None and group == [len(self._shape) - 1]:
            ruler = next(other for other, names in enumerate(self._groups) if names == [self._ruler])
            start = self._box[self._ruler][0]
            offset = self._box[-1][0]
            low = self._bound((self._spans.first + offset).tolist(), self.names[ruler], start)
            high = self._bound((self._spans.last + offset).tolist(), self.names[ruler], start)
        return f"for (int {name} = {low}; {name} < {high}; ++{name})"

    def _bound(self, values: list[int], ruler: str, start: int) -> str:
        steps = {after - before for before, after in pairwise(values)}
        if len(steps) == 1 and (step := steps.pop()) in (0, 1):
            return str(values[0]) if step == 0 else linear(values[0] - start, [1], [ruler])
        return f"{self._tables.named(values, 'int')}[{linear(-start, [1], [ruler])}]"


_SHORT = re.compile(r"for \(int \w+ = (\d+); \w+ < (\d+);")


def unrolled(head: str) -> list[str]:
    """The head of a loop, which is unrolled if it is short."""
    found = _SHORT.match(head)
    count = int(found[2]) - int(found[1]) if found else 0
    return [f"#pragma GCC unroll {count}", head] if 1 < count <= MOST_IN_REGISTERS else [head]


def literal(value: float) -> str:
    """A number as C++."""
    if value in (float("inf"), float("-inf")):
        return f"{'-' if value < 0 else ''}INFINITELY_LARGE"
    if value != value:
        return "NOT_A_NUMBER"
    return f"real({value!r})"


def _ragged(inside: Flags) -> tuple[Spans | None, int]:
    """The spans of the last axis as a function of one other axis, and which; None where there is no such axis."""
    for axis in range(inside.ndim - 1):
        rows = np.moveaxis(inside, axis, 0).reshape(inside.shape[axis], -1, inside.shape[-1])
        spans = Spans.of(rows[:, 0])
        if (spans.filled(inside.shape[-1])[:, None, :] == rows).all():
            return spans, axis
    return None, -1


def _merges(index: Index, axis: int) -> bool:
    """Whether two axes, `axis` and the one before, are walked by one step."""
    flat = index.reshape(*index.shape[: axis - 1], -1, *index.shape[axis + 1 :])
    if flat.shape[axis - 1] < 2:
        return True
    steps = np.diff(flat, axis=axis - 1)
    return bool((steps == steps.flat[0]).all())
