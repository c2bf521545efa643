"""Loops over a row are joined only where no number is read before it is written; what is cheap is not kept."""

from __future__ import annotations

import numpy as np
import torch

import pipeline.codegen.passes.plan as planning
from pipeline.codegen.generated import planned_model
from pipeline.codegen.graph.nodes import (
    BatchSum,
    ConstantNode,
    Dependence,
    Map,
    Move,
    Operand,
    Product,
    SourceNode,
    in_order,
)
from pipeline.codegen.passes.plan import Phase, phase_of
from pipeline.codegen.passes.sums import BatchSums
from pipeline.codegen.passes.turned import turn_products
from pipeline.codegen.text.fused import Loop, fused
from pipeline.models.transformer import Transformer
from pipeline.tasks.repeated_sequence import RepeatedSequence
from tests.codegen.interpreter import evaluated
from tests.codegen.test_graph import TOKENS
from tests.zoo.modules import Everywhere, Zoo

HEADS = ("for (int i1 = 0; i1 < 4; ++i1)",)


def writes(name, position, *reads):
    return Loop(HEADS, (f"{name}[{position}]",), reads=frozenset(reads), written={name: position})


def test_loops_are_joined_where_a_number_is_read_as_it_was_written():
    assert len(fused([writes("a", "i1"), writes("b", "i1", ("a", "i1"))])) == 1
    assert len(fused([writes("a", "i1"), writes("b", "i1", ("a", "3 - i1"))])) == 2


def test_a_loop_that_replaces_what_another_one_reads_elsewhere_stays_behind_it():
    assert len(fused([writes("b", "i1", ("a", "i1")), writes("a", "i1")])) == 1
    assert len(fused([writes("b", "i1", ("a", "3 - i1")), writes("a", "i1")])) == 2


def test_the_result_of_a_sum_is_read_behind_its_loop():
    total = Loop(HEADS, ("total += a[i1];",), behind=("b[0] = total;",), results=frozenset({"b"}))
    assert len(fused([total, writes("c", "i1", ("b", "0"))])) == 2


# GELU's slope reads the square of what it reads; a residual stream's slopes are added up.
MODEL = Transformer(width=4, head_width=2, num_heads=1, num_layers=2, mlp_width=8)


def test_what_the_backward_pass_can_compute_from_what_it_reads_is_not_kept(monkeypatch):
    plan, _ = planned_model(MODEL, TOKENS, torch.float64)
    monkeypatch.setattr(planning, "compute_again", lambda *_: None)
    before, _ = planned_model(MODEL, TOKENS, torch.float64)
    assert forward_products(plan) < forward_products(before)


def forward_products(plan):
    return sum(
        isinstance(node, Map) and node.function == "times_" and phase_of(node) == Phase.FORWARD for node in plan.steps
    )


def test_slopes_that_are_added_up_have_one_sum_over_examples(monkeypatch):
    plan, _ = planned_model(MODEL, TOKENS, torch.float64)
    monkeypatch.setattr(BatchSums, "_cost_of_inputs", lambda *_: 0)
    each_term, _ = planned_model(MODEL, TOKENS, torch.float64)
    assert numbers_summed(plan) < numbers_summed(each_term)


def numbers_summed(plan):
    return sum(node.size for node in plan.steps if isinstance(node, BatchSum))


def test_a_weight_that_is_used_at_every_position_has_one_product_for_its_gradient():
    plan, places = planned_model(Zoo(kind="gru", width=4), TOKENS, torch.float64)
    products = [node for node in plan.steps if isinstance(node, BatchSum) and isinstance(node.summed.node, Product)]
    # Of inputs, of states, and of the head; the embedding's gradient is a sum by rows, those of biases are plain sums.
    assert len(products) == 3
    assert len(places) == 7


def test_gradients_of_a_kernel_are_summed_over_examples_place_by_place():
    plan, _ = planned_model(Zoo(kind="convolution", width=4), TOKENS, torch.float64)
    summed = [node.summed.node for node in plan.steps if isinstance(node, BatchSum)]
    # Each of the three places of two kernels, and the head, are products that are added up where they are computed.
    assert sum(isinstance(node, Product) for node in summed) == 7
    assert not [node for node in summed if isinstance(node, Map)]


def test_products_of_causal_attention_take_no_terms_that_are_zero_and_no_zero_is_stored():
    shape = RepeatedSequence(num_tokens=4, period=2).shape()
    plan, _ = planned_model(Everywhere(width=4, num_layers=1), shape, torch.float64)
    assert not [node for node in plan.steps if plan.extents.filled(node).any()]
    products = [node for node in plan.steps if isinstance(node, Product) and node.sizes[0] == 2]
    # Scores, what they weigh, and the slopes of these, of values, of queries and of keys.
    assert [bool(plan.extents.terms[id(node)].all()) for node in products].count(False) == 4
    assert len(products) == 6


def test_numbers_of_a_turned_product_are_found_by_those_that_move_and_read_them():
    left, right = (SourceNode(6, Dependence.EXAMPLE, False, name=name) for name in ("slopes", "inputs"))
    mask = ConstantNode(9, Dependence.CONSTANT, False, values=np.tril(np.ones((3, 3))).reshape(-1))
    lower = Map(9, Dependence.EXAMPLE, False, (Operand(right, np.arange(9) % 6), mask.whole()), "times_")
    product = Product(6, Dependence.EXAMPLE, False, (left.whole(1, 2, 3), lower.whole(1, 3, 3)))
    which, places = np.array([0, 0, -1, 0]), np.array([5, 1, 0, 3])
    moved = Move(4, Dependence.EXAMPLE, False, (Operand(product, places[which == 0]),), which, places, (4,))
    total = Map(6, Dependence.EXAMPLE, False, (product.whole(), Operand(product, np.arange(6)[::-1])), "minus")
    given = {0: np.random.default_rng(0).normal(size=6)}
    expected = evaluated([moved.whole(), total.whole()], given)
    turn_products(in_order([moved, total]), [moved, total])
    assert product.sizes == (1, 3, 2, 3)
    for one, other in zip(evaluated([moved.whole(), total.whole()], given), expected, strict=True):
        np.testing.assert_allclose(one, other)
