"""Loops over a row are joined only where no number is read before it is written; what is cheap is not kept."""

from __future__ import annotations

import torch

import pipeline.codegen.passes.plan as planning
from pipeline.codegen.generated import planned_model
from pipeline.codegen.graph.nodes import BatchSum, Map, Product
from pipeline.codegen.passes.plan import Phase, phase_of
from pipeline.codegen.passes.sums import BatchSums
from pipeline.codegen.text.fused import Loop, fused
from pipeline.models.transformer import Transformer
from tests.codegen.test_graph import TOKENS
from tests.zoo.modules import Zoo

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
