"""What is probed by one pass forward, on items that were drawn before, has the bits of what is computed anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.engine import torch_engine
from pipeline.engine.block import Block, to_host
from tests.support import configs, tiny

MODELS = ["linear_self_attention", "embedded_self_attention"]


def block_of(model):
    spec = tiny(
        "linear_regression",
        model={"name": model},
        vary=[{"task.label_noise": [0.0, 0.3, 0.1]}],
        seeds={"together": [0, 1, 2]},
    )
    runs = configs(spec)
    block = Block(runs[0], len(runs), torch.device("cpu"))
    block.load_runs(dict(enumerate(zip(runs, block.starts(runs), strict=True))))
    block.train(2)
    return block


def probed(block, num_items, slots):
    return {name: values.tolist() for name, values in to_host(block.probe(num_items, slots))[0].items()}


@pytest.mark.parametrize("model", MODELS)
def test_one_pass_forward_gives_what_two_give(model, monkeypatch):
    block, slots = block_of(model), range(9)
    once = probed(block, 20, slots)
    assert {"probe_loss", "gd_alignment", "gd_model_difference", "gd_prediction_difference"} <= once.keys()
    monkeypatch.setattr(torch_engine, "_computed_once", lambda batch, apply: (batch, apply))
    np.testing.assert_equal(probed(block, 20, slots), once)


def test_a_pass_forward_is_one_prediction_of_the_asked_positions(monkeypatch):
    block, calls = block_of("linear_self_attention"), []
    for name in ("forward", "predict"):
        inner = getattr(type(block.model), name)

        def call(*given, name=name, inner=inner, **named):
            calls.append(name)
            return inner(*given, **named)

        monkeypatch.setattr(type(block.model), name, call)
    block.probe(20, range(8))
    assert calls == ["predict"]


def test_items_are_drawn_again_where_slots_or_their_number_differ():
    """Slots of other noise, other numbers of items, and once more the first."""
    used = block_of("linear_self_attention")
    for num_items, slots in [(20, [0, 1]), (20, [3, 4]), (5, [3, 4]), (20, [0, 3]), (20, [0, 1]), (20, range(9))]:
        np.testing.assert_equal(
            probed(used, num_items, slots), probed(block_of("linear_self_attention"), num_items, slots)
        )


def test_items_of_equal_slots_are_drawn_once(monkeypatch):
    block, draws = block_of("linear_self_attention"), []
    sample = block.sample
    monkeypatch.setattr(block, "sample", lambda *given, **named: draws.append(1) or sample(*given, **named))
    for slot in (0, 1, 2):
        block.probe(20, [slot] * 8)
    assert len(draws) == 1
