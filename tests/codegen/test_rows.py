"""Steps that are computed row by row read no row but their own, and no row that is no longer there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.codegen.generated import planned_model
from pipeline.codegen.graph.nodes import Map
from tests.codegen.interpreter import value_of
from tests.codegen.test_graph import TOKENS, VECTORS, model_of
from tests.zoo.modules import Zoo


class AcrossPositions(nn.Module):
    """Numbers of all positions between maps of one shape."""

    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        h = self.inner(x).tanh()
        h = (h - h.mean(1, keepdim=True)).tanh()
        return self.last(h * h.flip(1).exp())[:, -1]


def numbers_by_step(plan, given, groups):
    """What stands in memory behind each step, computed row by row in groups; rows that are not kept are gone."""
    memory = {}

    def read(operand):
        return (memory[id(operand.node)] if id(operand.node) in memory else computed(operand.node))[operand.index]

    def computed(node):
        parts = {id(part): read(part.whole()) for part in getattr(node, "parts", ())}
        return np.asarray(value_of(node, read, parts, given), float).reshape(-1)

    done = 0
    for number, node in enumerate(plan.steps):
        group = groups.get(number)
        if group is None:
            memory[id(node)] = computed(node)
        elif number == group.first:
            members = plan.steps[group.first : group.last + 1]
            memory |= {id(member): np.full(member.size, np.nan) for member in members}
            for row in range(group.num_rows):
                for member in members:
                    own = slice(*(member.size // group.num_rows * bound for bound in (row, row + 1)))
                    kept = memory[id(member)]
                    if id(member) in group.local:
                        kept[:] = np.nan
                    kept[own] = computed(member)[own]
            done += 1
    return memory, done


@pytest.mark.parametrize("case", ["rotary", "linear_attention", "experts", "across"])
def test_rows_are_computed_from_themselves_and_from_what_stands_in_memory(case):
    model, shape = Zoo(kind=case, width=4), TOKENS
    if case == "across":
        model, shape = model_of(lambda shape: AcrossPositions()), VECTORS
    plan, _ = planned_model(model, shape, torch.float64)
    generator = np.random.default_rng(0)
    specs = model.parameter_specs(shape)
    given = {place: generator.normal(size=spec.rows * spec.columns) for place, spec in enumerate(specs)}
    tokens = np.arange(shape.length) % shape.size
    given[len(specs)] = tokens if shape.kind == "tokens" else generator.normal(size=shape.length * shape.size)
    given[len(specs) + 1] = generator.normal(size=shape.num_outputs)
    whole, _ = numbers_by_step(plan, given, {})
    in_rows, num_groups = numbers_by_step(plan, given, plan.groups)
    assert num_groups > 0
    gone = {node for group in plan.groups.values() for node in group.local}
    for node in plan.steps:
        if id(node) not in gone:
            np.testing.assert_array_equal(in_rows[id(node)], whole[id(node)])


def test_of_single_numbers_no_two_long_functions_are_in_one_loop():
    plan, _ = planned_model(Zoo(kind="lstm", width=4), TOKENS, torch.float64)
    functions = [
        {node.function for node in plan.steps[group.first : group.last + 1] if isinstance(node, Map)}
        for group in set(plan.groups.values())
    ]
    assert any({"tanh", "plus"} <= found for found in functions)
    assert not any({"tanh", "sigmoid"} <= found for found in functions)
