"""Numbers at positions that depend on an example: sums over all positions, of which those chosen are not 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.codegen.graph.nodes import Map, Operand

if TYPE_CHECKING:
    from pipeline.codegen.graph.build import GraphBuilder

_aten = torch.ops.aten


def _gathered(builder: GraphBuilder, operand: Operand, axis: int, positions: Operand, *_: Any, **__: Any) -> Operand:
    """torch.gather: along `axis`, operand at the positions; along others as many numbers as there are positions."""
    axis %= len(operand.shape)
    part = operand.index[tuple(slice(None if one == axis else size) for one, size in enumerate(positions.shape))]
    values = Operand(operand.node, np.moveaxis(part, axis, -1)[..., None, :])
    total = _chosen(builder, _last(positions, axis), values)
    return Operand(total.node, np.moveaxis(total.index, -1, axis))


def _taken(builder: GraphBuilder, table: Operand, positions: Sequence[Operand | None]) -> Operand:
    """table[positions], along its first axis."""
    wanted = positions[0]
    if len(positions) != 1 or wanted is None:
        raise NotImplementedError("no C++ is written for several positions that depend on an example")
    values = Operand(table.node, np.moveaxis(table.index, 0, -1))
    spread = wanted.index.reshape(*wanted.shape, *[1] * (len(table.shape) - 1))
    return _chosen(builder, Operand(wanted.node, spread), values)


def _chosen(builder: GraphBuilder, positions: Operand, values: Operand) -> Operand:
    """The numbers of `values`, (..., n), at positions (...)."""
    is_here = _is_at(builder, Operand(positions.node, positions.index[..., None]), values.shape[-1])
    return builder.reduce("add", builder.map("either", is_here, values, builder.number(0.0)), [-1], False)


def _is_at(builder: GraphBuilder, positions: Operand, count: int) -> Operand:
    """(..., count) from positions (..., 1), which torch requires to be below `count`: 1 at each, else 0."""
    found = builder.map("equals", positions, builder.constant(torch.arange(count)))
    builder.one_hots.add(id(found.node))
    return found


class ChosenTerms(NamedTuple):
    """Terms (..., n): `numbers` where `is_here`, as a position equals one of those sorted in `places`, 0 elsewhere."""

    is_here: Map
    places: NDArray[Any]
    numbers: Operand


def choice_of(terms: Operand) -> ChosenTerms | None:
    """What is chosen of terms (..., n); None of terms of another form."""
    node = terms.node
    if not isinstance(node, Map) or node.function != "either":
        return None
    is_here, numbers, other = (one.at(terms.index) for one in node.inputs)
    if not other.is_zero or not isinstance(is_here.node, Map) or is_here.node.function != "equals":
        return None
    wanted, places = (one.at(is_here.index) for one in is_here.node.inputs)
    if places.known is None or (wanted.index != wanted.index[..., :1]).any():
        return None
    return ChosenTerms(is_here.node, np.sort(places.known, axis=-1), numbers)


def sum_of_one_hot(builder: GraphBuilder, terms: Operand, num_gone: int) -> Operand | None:
    """The sum over the last `num_gone` axes of a number at one position and zeros; None of all other terms."""
    found = choice_of(terms.at_shape(*terms.shape[: len(terms.shape) - num_gone], -1))
    if found is None or id(found.is_here) not in builder.one_hots:
        return None
    count, numbers = found.is_here.inputs[1].node.size, found.numbers
    is_whole = found.places.shape[-1] == count and (found.places == np.arange(count)).all()
    is_one = (numbers.index == numbers.index[..., :1]).all()
    return numbers.at_positions((..., 0)) if is_whole and is_one else None


def _last(operand: Operand, axis: int) -> Operand:
    return Operand(operand.node, np.moveaxis(operand.index, axis, -1))


def _added_at(builder: GraphBuilder, base: Operand, axis: int, positions: Operand, added: Operand) -> Operand:
    """torch.scatter_add: what is added, at the positions along `axis`."""
    axis %= len(base.shape)
    _refuse_other_sizes(base, axis, positions)
    part = added.index[tuple(map(slice, positions.shape))]
    is_here = _is_at(builder, Operand(positions.node, _last(positions, axis).index[..., None]), base.shape[axis])
    values = Operand(added.node, np.moveaxis(part, axis, -1)[..., None])
    terms = builder.map("either", is_here, values, builder.number(0.0))
    total = builder.reduce("add", terms, [-2], False)
    return builder.map("plus", base, Operand(total.node, np.moveaxis(total.index, -1, axis)))


def _put_at(builder: GraphBuilder, base: Operand, axis: int, positions: Operand, value: float | Operand) -> Operand:
    """torch.scatter with one position along `axis`."""
    axis %= len(base.shape)
    _refuse_other_sizes(base, axis, positions)
    if positions.shape[axis] != 1:
        raise NotImplementedError("no C++ is written for a scatter to several positions")
    is_here = _is_at(builder, _last(positions, axis), base.shape[axis])
    is_here = Operand(is_here.node, np.moveaxis(is_here.index, -1, axis))
    return builder.map("either", is_here, value if isinstance(value, Operand) else builder.number(value), base)


def _refuse_other_sizes(base: Operand, axis: int, positions: Operand) -> None:
    if np.delete(base.shape, axis).tolist() != np.delete(positions.shape, axis).tolist():
        raise NotImplementedError("no C++ is written for a scatter to a part of the axes")


def _place_of_largest(
    builder: GraphBuilder, operand: Operand, axis: int | None = None, keeps_axis: bool = False
) -> Operand:
    """torch.argmax: the first of the largest numbers."""
    if axis is None:
        operand, axis = operand.at_shape(-1), 0
    axis %= len(operand.shape)
    is_most = builder.map("equals", operand, builder.reduce("maximum", operand, [axis], True))
    shape = [operand.shape[axis] if one == axis else 1 for one in range(len(operand.shape))]
    before = builder.constant(-torch.arange(operand.shape[axis], dtype=torch.float64).view(shape))
    nowhere = builder.number(-operand.shape[axis])
    return builder.map(
        "negative", builder.reduce("maximum", builder.map("either", is_most, before, nowhere), [axis], keeps_axis)
    )


def _largest_and_place(
    builder: GraphBuilder, operand: Operand, axis: int, keeps_axis: bool = False
) -> tuple[Operand, Operand]:
    """torch.max along an axis."""
    place = _place_of_largest(builder, operand, axis, keeps_axis)
    return builder.reduce("maximum", operand, [axis], keeps_axis), place


def by_one_hot(builder: GraphBuilder, left: Operand, right: Operand) -> Operand | None:
    """A product (1, m, k) times (1, k, n) whose left operand is one-hot, as no product.

    A lookup if its rows are 1 at one position each, a sum by rows if its columns are; None if neither are.
    """
    node = left.node
    if left.shape[0] != 1 or not (isinstance(node, Map) and node.function == "equals"):
        return None
    wanted, known = (one.at(left.index[0]) for one in node.inputs)
    numbers, (num_rows, num_columns) = known.known, left.shape[1:]
    if numbers is None or wanted.known is not None:
        return None
    table = right.at_positions(0)
    if (numbers == np.arange(num_columns)).all() and (wanted.index == wanted.index[:, :1]).all():
        found = builder.lookup(table, Operand(wanted.node, wanted.index[:, 0]))
    elif (numbers == np.arange(num_rows)[:, None]).all() and (wanted.index == wanted.index[:1]).all():
        found = builder.scatter(table, Operand(wanted.node, wanted.index[0]), num_rows)
    else:
        return None
    return Operand(found.node, found.index[None])


# Operations whose positions depend on an example; at known positions, those that move numbers are among MOVES.
CHOICES: dict[Any, Callable[..., Any]] = {
    _aten.argmax.default: _place_of_largest,
    _aten.gather.default: _gathered,
    _aten.index.Tensor: _taken,
    _aten.max.dim: _largest_and_place,
    _aten.scatter.src: _put_at,
    _aten.scatter.value: _put_at,
    _aten.scatter_add.default: _added_at,
}
