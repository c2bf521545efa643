"""Embeddings of several positions times weights are rows of a table for each position, and so are their gradients."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.codegen.generated import planned_model
from pipeline.codegen.graph.nodes import BatchSum, Dependence, Lookup, LookupSum, Product, ScatterToAll, in_order
from pipeline.tasks.dictionary_lookup import DictionaryLookup
from tests.codegen.interpreter import largest_difference
from tests.codegen.test_graph import model_of
from tests.zoo.modules import Zoo

# Eight tokens, at five positions.
SHAPE = DictionaryLookup(num_keys=3, num_values=5, num_pairs=2).shape()


class Turned(nn.Module):
    """Columns of embeddings side by side, the last positions alone, and the first of them twice."""

    def __init__(self, task_shape):
        super().__init__()
        self.embedding = nn.Embedding(task_shape.size, 8)
        self.last, self.all, self.columns = nn.Linear(16, 3), nn.Linear(48, 3), nn.Linear(40, task_shape.num_outputs)

    def forward(self, tokens):
        x = self.embedding(tokens)
        both = self.last(x[:, 3:].flatten(1)) + self.all(torch.cat([x[:, :1], x], 1).flatten(1))
        return self.columns(x.transpose(1, 2).flatten(1)) * both.sum(1, keepdim=True)


def nodes_of(model, shape):
    plan, _ = planned_model(model, shape, torch.float64)
    return in_order([plan.predictions.node, *(one.node for one in plan.gradients)])


def test_weights_are_multiplied_with_each_token_and_not_with_each_example():
    model, num_products = Zoo(kind="experts", width=8), 3
    nodes = nodes_of(model, SHAPE)
    assert sum(isinstance(node, LookupSum) for node in nodes) == num_products
    sums = [node for node in nodes if isinstance(node, BatchSum) and isinstance(node.summed.node, ScatterToAll)]
    # Gradients of weights and of the embedding are made of the same sums.
    assert len(sums) == num_products
    assert not [node for node in nodes if isinstance(node, Lookup)]
    products = [node for node in nodes if isinstance(node, Product) and node.level != Dependence.EXAMPLE]
    assert [node.sizes[0] for node in products].count(SHAPE.length) == 3 * num_products
    assert largest_difference(model, SHAPE) < 1e-9


def test_positions_may_be_some_of_all_or_the_same_twice_and_columns_are_left_as_they_are():
    model = model_of(Turned)
    nodes = nodes_of(model, SHAPE)
    assert sorted(node.rows.index.tolist() for node in nodes if isinstance(node, LookupSum)) == [
        [0, 0, 1, 2, 3, 4],
        [3, 4],
    ]
    assert [node for node in nodes if isinstance(node, Lookup)]
    assert largest_difference(model, SHAPE) < 1e-9


def test_a_large_vocabulary_has_no_tables_for_positions():
    shape = DictionaryLookup(num_keys=13, num_values=20, num_pairs=2).shape()
    nodes = nodes_of(Zoo(kind="mlp", width=8), shape)
    assert {type(node) for node in nodes} & {Lookup, LookupSum} == {Lookup}
