"""What is linear in an embedding is computed once for each token, and what is moved where it is to stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pipeline.codegen.graph.tables as tables
from pipeline.codegen.generated import planned_model
from pipeline.codegen.graph.build import GraphBuilder
from pipeline.codegen.graph.nodes import BatchSum, Dependence, Lookup, Move, Product, SourceNode, in_order
from pipeline.codegen.passes.plan import planned
from pipeline.tasks.dictionary_lookup import DictionaryLookup
from tests.codegen.interpreter import evaluated, largest_difference, value_of
from tests.zoo.modules import Zoo

# Eight tokens, at five positions.
SHAPE = DictionaryLookup(num_keys=3, num_values=5, num_pairs=2).shape()
KINDS = ["convolution", "lstm"]


def zoo(kind):
    return Zoo(kind=kind, width=8)


@pytest.fixture(scope="module")
def plans():
    return {kind: planned_model(zoo(kind), SHAPE, torch.float64)[0] for kind in KINDS}


def reads_embedding(node):
    return isinstance(node, Product) and any(isinstance(one.node, Lookup) for one in node.inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_looked_up_is_multiplied_with_weights_once_for_each_token(plans, kind):
    nodes = in_order([plans[kind].predictions.node, *(one.node for one in plans[kind].gradients)])
    assert not [node for node in nodes if reads_embedding(node) and node.level == Dependence.EXAMPLE]
    assert {node.table.node.level for node in nodes if isinstance(node, Lookup)} == {Dependence.WEIGHTS}
    # Sums by row are of what is multiplied with the table, so none is of the embedding's own width.
    assert {type(node.table.node) for node in nodes if isinstance(node, Lookup)} - {SourceNode}
    assert largest_difference(zoo(kind), SHAPE) < 1e-9


def test_a_table_of_many_more_tokens_than_positions_is_not_multiplied():
    shape = DictionaryLookup(num_keys=13, num_values=8, num_pairs=2).shape()
    plan, _ = planned_model(zoo("linear_attention"), shape, torch.float64)
    assert [node for node in plan.steps if reads_embedding(node)]
    assert isinstance(next(node for node in plan.steps if isinstance(node, Lookup)).table.node, SourceNode)


def test_rows_are_read_in_either_order_and_between_zeros():
    matrix = np.arange(12).reshape(3, 4)
    read = tables.RowsOf.of(np.stack([matrix[2, 1:], [-1, -1, -1], matrix[0, 1:]]), 4)
    assert (read.numbers.tolist(), read.columns.tolist(), read.is_read.tolist()) == ([2, -1, 0], [1, 2, 3], [0, 2])
    read = tables.RowsOf.of(matrix.T, 4, is_turned=True)
    assert (read.numbers.tolist(), read.columns.tolist()) == ([0, 1, 2, 3], [0, 1, 2])
    for other in (matrix.T, np.array([[0, 1], [4, 6]]), np.array([[0, -1], [4, 5]]), np.full((2, 2), -1)):
        assert tables.RowsOf.of(other, 4) is None


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_stand_in_memory_until_their_last_reader(plans, kind):
    plan = plans[kind]
    given, rng = {}, np.random.default_rng(0)
    ends = [plan.predictions, *plan.gradients]
    for node in in_order([one.node for one in ends]):
        if isinstance(node, SourceNode):
            given[node.place] = rng.integers(8, size=node.size) if node.is_integer else rng.normal(size=node.size)
    found = replayed(plan, given, ends)
    for one, other in zip(found, evaluated(ends, given), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_a_move_keeps_its_place_until_what_stands_in_it_is_read_for_the_last_time():
    builder = GraphBuilder(None)
    weights = SourceNode(16, Dependence.WEIGHTS, False, name="weights", place=0).whole(1, 4, 4)
    inputs = SourceNode(8, Dependence.EXAMPLE, False, name="inputs", place=1).whole(2, 4)
    first, second = (builder.map("exp", inputs.at_positions(row)) for row in (0, 1))
    product = builder.product(builder.concatenated([first, second], 0).at_shape(1, 2, 4), weights)
    # As large as the move, which nothing reads any more but for its first half.
    last = builder.product(product, weights)
    end = builder.map("plus", last.at_positions((0, 0)), first)
    plan = planned(builder, end, ())
    assert id(first.node) in plan.in_moves
    given = {0: np.linspace(-1, 1, 16), 1: np.linspace(-1, 1, 8)}
    np.testing.assert_allclose(replayed(plan, given, [end])[0], evaluated([end], given)[0])


def replayed(plan, given, ends):
    """What the ends are, computed step by step in memory that several nodes share; a row's own is left out."""
    arena, others = np.zeros(plan.num_lanes), {}
    local = frozenset().union(*(group.local for group in plan.groups.values()))

    def places_of(node):
        strides = plan.strides.get(id(node))
        if strides is None:
            return plan.places[id(node)] + np.arange(node.size)
        axes = np.indices(node.sizes[:3]).reshape(3, -1)
        return plan.places[id(node)] + np.asarray(strides.steps) @ axes

    def whole(node):
        if node.level == Dependence.EXAMPLE and id(node) in plan.places and id(node) not in local:
            return arena[places_of(node)]
        if id(node) not in others:
            # What nobody needs is never computed.
            return computed(node) if plan.extents.needed[id(node)].any() else np.zeros(node.size)
        return others[id(node)]

    def read(operand):
        return whole(operand.node)[operand.index]

    def computed(node):
        parts = {id(part): whole(part) for part in getattr(node, "parts", ())}
        return np.array(value_of(node, read, parts, given), float).reshape(-1)

    for node in plan.steps:
        numbers = computed(node)
        if node.level == Dependence.EXAMPLE and id(node) not in local:
            arena[places_of(node)] = numbers
        else:
            others[id(node)] = numbers
        if node is plan.predictions.node:
            predictions = read(plan.predictions)
    return [predictions, *map(read, ends[1:])]


def test_slopes_of_gates_are_computed_where_those_of_all_positions_stand(plans):
    plan = plans["lstm"]
    gates = [node for node in plan.steps if isinstance(node, Move) and id(node) in plan.in_moves]
    assert len(gates) == SHAPE.length
    (whole,) = {id(plan.in_moves[id(node)][0]) for node in gates}
    sums = [node.summed.node for node in plan.steps if isinstance(node, BatchSum)]
    assert [node for node in sums if isinstance(node, Product) and whole in {id(one.node) for one in node.inputs}]
