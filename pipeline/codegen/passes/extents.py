"""Which numbers of every node are read, and which terms of sums are always zero: causal halves, last positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.codegen.graph.nodes import (
    BatchSum,
    ConstantNode,
    Index,
    Map,
    Move,
    Node,
    Operand,
    Product,
    Reduce,
)

Flags = NDArray[np.bool_]
KnownNumbers = NDArray[np.float64]


def any_along(flags: Flags, *axes: int) -> Flags:
    """Whether there is a True one along these axes."""
    found: Flags = np.asarray(np.any(flags, axis=axes))
    return found


@dataclass(frozen=True)
class Spans:
    """For each row, the first position and the one behind the last of those that count."""

    first: Index
    last: Index

    @staticmethod
    def of(used: Flags) -> Spans:
        """Of the True ones along the last axis; (0, 0) where there is none."""
        any_used = any_along(used, -1)
        first = np.where(any_used, used.argmax(-1), 0)
        last = np.where(any_used, used.shape[-1] - used[..., ::-1].argmax(-1), 0)
        return Spans(first, last)

    def filled(self, length: int) -> Flags:
        """True from first to last, (..., length)."""
        places = np.arange(length)
        filled: Flags = (places >= self.first[..., None]) & (places < self.last[..., None])
        return filled


@dataclass(frozen=True)
class Extents:
    """What is computed of each node, by its id.

    `needed`: the numbers that are read. `known`: those that depend on nothing, NaN for all others. `terms`: the terms
    of a Reduce or Product that are not always neutral.
    """

    needed: Mapping[int, Flags]
    known: Mapping[int, KnownNumbers]
    terms: Mapping[int, Flags]

    def computed(self, node: Node) -> Flags:
        """(size,): the numbers that are read and have to be computed."""
        flags: Flags = self.needed[id(node)] & np.isnan(self.known[id(node)])
        return flags

    def filled(self, node: Node) -> Flags:
        """(size,): the numbers that are read and known."""
        flags: Flags = self.needed[id(node)] & ~np.isnan(self.known[id(node)])
        return flags

    @staticmethod
    def of(order: list[Node], outputs: list[Operand]) -> Extents:
        """Of nodes in order, of which the outputs are read."""
        known = known_numbers(order)
        needed = {id(node): np.zeros(node.size, bool) for node in order}
        for output in outputs:
            needed[id(output.node)][output.index] = True
        terms: dict[int, Flags] = {}
        summed = {id(node.summed.node) for node in order if isinstance(node, BatchSum)}
        for node in reversed(order):
            _demand(node, needed, known, terms, id(node) in summed)
        return Extents(needed, known, terms)


def known_numbers(order: Sequence[Node]) -> dict[int, KnownNumbers]:
    """`Extents.known` of nodes in order."""
    known: dict[int, KnownNumbers] = {}
    for node in order:
        known[id(node)] = _known(node, known)
    return known


def _known(node: Node, known: Mapping[int, KnownNumbers]) -> KnownNumbers:
    """(size,): the numbers that do not depend on what the program is given, NaN for the others."""
    if isinstance(node, ConstantNode):
        return node.values.astype(np.float64)
    unknown = np.full(node.size, np.nan)
    if isinstance(node, Move):
        for number, part in enumerate(node.parts):
            here = node.which == number
            unknown[here] = known[id(part)][node.places[here]]
        unknown[node.which < 0] = 0.0
    elif isinstance(node, Map):
        values = [known[id(one.node)][one.index.reshape(-1)] for one in node.inputs]
        rule = _KNOWN_MAPS.get(node.function)
        return unknown if rule is None else rule(*values)
    elif isinstance(node, Reduce):
        values_ = known[id(node.inputs[0].node)][node.inputs[0].index].reshape(node.size, -1)
        totals: KnownNumbers = values_.sum(1) if node.function == "add" else values_.max(1)
        return totals
    elif isinstance(node, BatchSum):
        is_zero = known[id(node.summed.node)][node.summed.index.reshape(-1)] == 0
        unknown[is_zero] = 0.0
    elif isinstance(node, Product):
        left, right = (known[id(one.node)][one.index] != 0 for one in (node.left, node.right))
        is_zero = ~np.matmul(left.astype(np.int64), right.astype(np.int64)).astype(bool)
        unknown[is_zero.reshape(-1)] = 0.0
    return unknown


def _times(a: KnownNumbers, b: KnownNumbers) -> KnownNumbers:
    return np.where((a == 0) | (b == 0), 0.0, a * b)


def _over(a: KnownNumbers, b: KnownNumbers) -> KnownNumbers:
    with np.errstate(all="ignore"):
        return np.where(a == 0, 0.0, a / b)


def _plus(a: KnownNumbers, b: KnownNumbers) -> KnownNumbers:
    return np.where(np.isneginf(a) | np.isneginf(b), -np.inf, a + b)


def _minus(a: KnownNumbers, b: KnownNumbers) -> KnownNumbers:
    with np.errstate(all="ignore"):
        return np.where(np.isneginf(a), -np.inf, a - b)


def _entropy_term(share: KnownNumbers, log: KnownNumbers) -> KnownNumbers:
    with np.errstate(all="ignore"):
        return np.where(share == 0, 0.0, -share * log)


def _either(condition: KnownNumbers, a: KnownNumbers, b: KnownNumbers) -> KnownNumbers:
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0, a, b))


_KNOWN_MAPS: dict[str, Callable[..., KnownNumbers]] = {
    "times_": _times,
    "over": _over,
    "plus": _plus,
    "minus": _minus,
    "either": _either,
    "entropy_term": _entropy_term,
    "copy": lambda a: a,
    "exp": np.exp,
    "negative": np.negative,
    "rectified": lambda a: np.where(np.isnan(a), np.nan, np.maximum(a, 0)),
}


def _demand(
    node: Node, needed: dict[int, Flags], known: Mapping[int, KnownNumbers], terms: dict[int, Flags], is_summed: bool
) -> None:
    """Mark what `node` reads for those of its numbers that are read."""
    own = needed[id(node)] & np.isnan(known[id(node)])
    if not own.any():
        return
    if isinstance(node, Map):
        _demand_of_map(node, own, needed, known)
    elif isinstance(node, Reduce):
        values = known[id(node.inputs[0].node)][node.inputs[0].index].reshape(node.size, -1)
        neutral = 0.0 if node.function == "add" else -np.inf
        used = Spans.of((values != neutral) & own[:, None])
        terms[id(node)] = used.filled(values.shape[1]).reshape(node.inputs[0].shape)
        needed[id(node.inputs[0].node)][node.inputs[0].index[terms[id(node)]]] = True
    elif isinstance(node, Product):
        _demand_of_product(node, own, needed, known, terms, is_summed)
    elif isinstance(node, Move):
        for number, part in enumerate(node.parts):
            needed[id(part)][node.places[own & (node.which == number)]] = True
    else:
        for operand in node.inputs:
            needed[id(operand.node)][operand.index] = True


def _demand_of_map(node: Map, own: Flags, needed: dict[int, Flags], known: Mapping[int, KnownNumbers]) -> None:
    condition = known[id(node.inputs[0].node)][node.inputs[0].index.reshape(-1)]
    for number, operand in enumerate(node.inputs):
        read = own
        if node.function == "either" and number:
            # What is not chosen is not read.
            chosen = condition != 0 if number == 1 else condition == 0
            read = own & (np.isnan(condition) | chosen)
        needed[id(operand.node)][operand.index.reshape(-1)[read]] = True


def _demand_of_product(
    node: Product,
    own: Flags,
    needed: dict[int, Flags],
    known: Mapping[int, KnownNumbers],
    terms: dict[int, Flags],
    is_summed: bool,
) -> None:
    b, m, n, k = node.sizes
    own_bmn = own.reshape(b, m, n)
    left, right = (known[id(one.node)][one.index] != 0 for one in (node.left, node.right))
    own_rows = Spans.of(any_along(own_bmn, 0)).filled(n)
    reads_right = np.matmul(own_bmn.astype(np.int64), right.astype(np.int64).transpose(0, 2, 1)) > 0
    used = Spans.of(any_along(left & reads_right, 0)).filled(k)
    if is_summed:
        # Products that are added to a batch's sum have the same terms in every row.
        used = np.broadcast_to(Spans.of(any_along(used, 0)).filled(k), used.shape)
    terms[id(node)] = used
    rows_bm = np.broadcast_to(own_bmn.any(2), (b, m))
    needed[id(node.left.node)][node.left.index[rows_bm[:, :, None] & used[None]]] = True
    read_kn = np.matmul(used.astype(np.int64).T, own_rows.astype(np.int64)) > 0
    needed[id(node.right.node)][node.right.index[:, read_kn]] = True


def bounds_of(flags: Flags) -> tuple[int, int]:
    """The first True one of (n,), and the place behind the last."""
    used = np.flatnonzero(flags)
    return (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
