"""Sweeps for which there is not enough memory are refused when they are planned."""

from __future__ import annotations

import pytest

from pipeline.launch.planned import plan_on
from pipeline.planning.packs import Machine
from pipeline.store.pack_store import StoreError
from pipeline.training import memory
from pipeline.training.memory import least_bytes
from tests.support import run_of, tiny


def test_the_bound_is_weights_gradients_moments_and_inputs_of_a_batch():
    run = run_of({"name": "dictionary_lookup", "num_keys": 4, "num_values": 4, "num_pairs": 4})
    shape = run.task.shape()
    weights = sum(spec.rows * spec.columns for spec in run.model.parameter_specs(shape))
    assert least_bytes(run, 3, 0) == 3 * 5 * weights * 4
    assert least_bytes(run, 3, 7) - least_bytes(run, 3, 0) == 3 * 7 * 9 * 8


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model": {"name": "attention_only", "width": 4096, "head_width": 2}}, "one run"),
        ({"resources": {"slots": 2**20}}, "a pack of 1,048,576 slots"),
        ({"grid": {"chunk": 10, "eval_items": 2**31 - 1, "probe_items": 16}}, "a pack of 4 slots"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_numbers_before_it_is_tried(changes, what, monkeypatch):
    usable = 2**20 if what == "one run" else 2**33
    monkeypatch.setattr(memory, "usable_bytes", lambda: usable)
    with pytest.raises(StoreError) as refused:
        plan_on(tiny(**changes), Machine.cpu(1))
    words = f"tiny: {what} of this sweep takes at least"
    assert str(refused.value).startswith(words)
    assert f"there are {usable / 2**20:,.0f} MiB here" in str(refused.value)


def test_what_fits_is_planned():
    assert len(plan_on(tiny(), Machine.cpu(1)).runs) == 4
    assert memory.usable_bytes() > 2**28
