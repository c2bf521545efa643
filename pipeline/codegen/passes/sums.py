"""Moves the sum over a batch's examples as early as it pays: gradients of weights need no number of one example."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from pipeline.codegen.graph.build import GraphBuilder
from pipeline.codegen.graph.nodes import (
    BatchSum,
    ConstantNode,
    Dependence,
    Index,
    Map,
    Move,
    Node,
    Operand,
    Product,
    Scatter,
    ScatterToAll,
)
from pipeline.codegen.graph.position_tables import gradient_by_tables, table_gradient
from pipeline.codegen.graph.tables import multiplied, scattered_products, summed_as_table, turned
from pipeline.codegen.passes.joined import joined_products

# A sum over examples costs about as much for a number as this many multiplications of vectors.
_SUM_COST = 3


class BatchSums:
    """Sums over examples of any node, each made once. Linear functions of sums are computed behind the sum."""

    def __init__(self, builder: GraphBuilder) -> None:
        self._builder = builder
        self._known: dict[int, Operand] = {}
        self._costs: dict[int, int] = {}

    def of(self, operand: Operand) -> Operand:
        """The sum over all examples of what `operand` reads."""
        return Operand(self._whole(operand.node).node, self._whole(operand.node).index[operand.index])

    def _whole(self, node: Node) -> Operand:
        """The sum of all of a node, (size,)."""
        if id(node) not in self._known:
            self._known[id(node)] = self._made(node)
        return self._known[id(node)]

    def _made(self, node: Node) -> Operand:
        if isinstance(node, ConstantNode):
            assert not node.values.any(), "a gradient is proportional to the slopes"
            return node.whole()
        if id(node) in self._builder.outer_products:
            return self._of_outer_product(node)
        if isinstance(node, Map) and (joined := joined_products(self._builder, node)) is not None:
            return self.of(joined)
        if isinstance(node, Map) and _is_linear(node) and self._cost_of_inputs(node) <= _SUM_COST * node.size:
            inputs = [self.of(one) if one.node.level == Dependence.EXAMPLE else one for one in node.inputs]
            answer = self._builder.map(node.function, *inputs)
            return answer.at_shape(-1)
        if isinstance(node, Move):
            return self._moved(node)
        if isinstance(node, Product) and _pays(node):
            left, right = (self.of(one) if one.node.level == Dependence.EXAMPLE else one for one in node.inputs)
            return self._builder.product(left, right).at_shape(-1)
        if isinstance(node, Product | Scatter) and (found := self._by_rows(node)) is not None:
            return found.at_shape(-1)
        return BatchSum(node.size, Dependence.BATCH, True, (node.whole(),)).whole()

    def _by_rows(self, node: Product | Scatter) -> Operand | None:
        """Sums by rows of a table, of which what was looked up in it, or multiplied with weights, is a product."""
        if isinstance(node, Product):
            if (by_position := gradient_by_tables(self._builder, node)) is not None:
                return self._by_positions(*by_position)
            if (found := summed_as_table(self._builder, node)) is None:
                return None
            sums, table, is_turned = found
            left, right = (table, self.of(sums)) if is_turned else (self.of(sums), table)
            return multiplied(self._builder, turned(left), right)
        if (tables := table_gradient(self._builder, node)) is not None:
            parts = [self._builder.matrix_product(self._tables(sums, weights), weights) for sums, weights in tables]
            return _added_up(
                self._builder, [matrix for part in parts for matrix in map(part.at_positions, range(part.shape[0]))]
            )
        if (terms := scattered_products(self._builder, node)) is None:
            return None
        return _added_up(self._builder, [multiplied(self._builder, self.of(sums), weights) for sums, weights in terms])

    def _tables(self, sums: ScatterToAll, of_each: Operand) -> Operand:
        """The sums of slopes by position and token, (n, v, slopes), for each of n matrices."""
        return self._whole(sums).at_shape(len(of_each.index), -1, sums.values.index.size)

    def _by_positions(self, sums: ScatterToAll, embedding: Operand, places: Index) -> Operand:
        """The gradient of weights of several positions, (k, slopes), at `places`."""
        slopes = self._tables(sums, embedding)
        turned_slopes = Operand(slopes.node, slopes.index.transpose(0, 2, 1))
        products = self._builder.matrix_product(turned_slopes, embedding)
        index = np.empty(places.size, np.int64)
        index[places] = products.index.transpose(0, 2, 1).reshape(places.shape)
        return Operand(products.node, index)

    def _cost_of_inputs(self, node: Node) -> int:
        """What the sums of all that a linear function reads cost; of what has a sum already, nothing."""
        inputs = {id(one.node): one.node for one in node.inputs if one.node.level == Dependence.EXAMPLE}
        return sum(self._cost(one) for one in inputs.values())

    def _cost(self, node: Node) -> int:
        if id(node) in self._known or self._is_product(node):
            # What is a product is added to its sum where it is computed.
            return 0
        if id(node) not in self._costs:
            cost = _SUM_COST * node.size
            if isinstance(node, Move) or (isinstance(node, Map) and _is_linear(node)):
                cost = min(cost, self._cost_of_inputs(node))
            self._costs[id(node)] = cost
        return self._costs[id(node)]

    def _is_product(self, node: Node) -> bool:
        return isinstance(node, Product | Scatter) or id(node) in self._builder.outer_products

    def _of_outer_product(self, node: Node) -> Operand:
        left, right = self._builder.outer_products[id(node)]
        product = self._builder.matrix_product(left, right)
        return self._made(product.node)

    def _moved(self, node: Move) -> Operand:
        wholes = [self._whole(part) for part in node.parts]
        places = node.places.copy()
        for number, whole in enumerate(wholes):
            here = node.which == number
            places[here] = whole.index[node.places[here]]
        return self._builder.move(tuple(whole.node for whole in wholes), node.which, places, node.shape).whole()


def _added_up(builder: GraphBuilder, parts: Sequence[Operand]) -> Operand:
    return reduce(lambda one, other: builder.map("plus", one, other), parts)


def _is_linear(node: Map) -> bool:
    """Whether the function is linear in those of its operands that differ by example, and reads no more of them."""
    of_examples = [one.node.level == Dependence.EXAMPLE for one in node.inputs]
    if node.function in ("plus", "minus", "negative"):
        return all(of_examples)
    if node.function == "times_":
        return sum(of_examples) == 1
    if node.function == "either":
        # Of a condition that is known: one or the other, or 0.
        condition, *others = node.inputs
        are_linear = [is_own or one.is_zero for is_own, one in zip(of_examples[1:], others, strict=True)]
        return condition.known is not None and all(are_linear)
    return node.function == "over" and of_examples == [True, False]


def _pays(node: Product) -> bool:
    """Whether it is cheaper to sum the one operand that differs by example than the product."""
    sides = [one for one in node.inputs if one.node.level == Dependence.EXAMPLE]
    if len(sides) != 1:
        return False
    b, m, n, k = node.sizes
    return _SUM_COST * sides[0].node.size <= _SUM_COST * node.size + b * m * n * k
