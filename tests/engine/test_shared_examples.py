"""Runs that see the same examples, which are drawn once for all of them: the bits of runs that are alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.engine.block import Block, to_host
from pipeline.engine.program import compiled_engine_of
from pipeline.numerics.compiler import toolchain
from pipeline.own_code.imported import forget, load, resolved
from pipeline.spec.sweep import SweepSpec
from tests.support import pair, tiny

pytestmark = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")

CPU = torch.device("cpu")
CROSSED = {"crossed": {"init_seed": [0, 1, 2], "data_seed": [0, 1]}}
# More than the batches, and the items, that are drawn at once of so small a task.
STEPS, ITEMS = 450, 3301
NOISE = {"vary": [{"task.label_noise": [0.1, 0.3]}]}
OWN = str(Path(__file__).parent.parent / "zoo" / "tasks.py")
# As tests/codegen/test_tasks.py compiles it.
DRAWN_BY_TORCH = {
    "name": "own",
    "task": {"name": "torch_regression", "dim": 3, "num_pairs": 4},
    "model": {"name": "linear_self_attention"},
    "optimiser": {"name": "adamw", "lr": 1e-2},
    "batch_size": 21,
    "budget": 200,
    "dtype": "float64",
    "seeds": CROSSED,
    "tracking": {"mode": "disabled"},
    **NOISE,
}


@cache
def crossed_runs():
    """Three initialisations by two data seeds, all of data seed 0 at even places."""
    return SweepSpec.model_validate(tiny().identity() | {"seeds": CROSSED}).runs()


def noisy_runs():
    return SweepSpec.model_validate(tiny().identity() | pair("linear_regression") | NOISE | {"seeds": CROSSED}).runs()


def block_with(runs, num_slots=None, slots=None, threads=1):
    block = Block(runs[0], num_slots or len(runs), CPU, compiled_engine_of(runs[0]), threads=threads)
    places = range(len(runs)) if slots is None else slots
    block.load_runs({slot: (run, block.start(run)) for slot, run in zip(places, runs, strict=True)})
    return block


def bits(block, slot, num_items=ITEMS):
    """All that a run has and measures."""
    state = block.run_state(slot)
    measured = to_host(block.evaluate(num_items, [slot]), block.probe(num_items, [slot]))
    numbers = [one.tobytes() for found in measured for one in found.values()]
    return state.step, [state.arrays[name].tobytes() for name in sorted(state.arrays)], numbers


def alone(run, pieces):
    block = block_with([run])
    for steps in pieces:
        block.train(steps)
    return bits(block, 0)


@cache
def all_alone(*pieces):
    return [alone(run, pieces) for run in crossed_runs()]


def test_crossed_runs_have_the_bits_of_runs_that_are_alone_in_every_order_and_on_any_thread():
    runs, expected = crossed_runs(), all_alone(STEPS)
    for order in (range(6), reversed(range(6)), (3, 0, 5, 2, 4, 1)):
        for threads in (1, 2):
            order = list(order)
            block = block_with([runs[place] for place in order], threads=threads)
            block.train(STEPS)
            assert [bits(block, slot) for slot in range(6)] == [expected[place] for place in order]


def test_slots_that_are_measured_together_have_what_each_has_by_itself():
    block = block_with(crossed_runs())
    block.train(30)
    single = [to_host(block.evaluate(ITEMS, [slot]), block.probe(ITEMS, [slot])) for slot in range(6)]
    together = to_host(block.evaluate(ITEMS), block.probe(ITEMS))
    for number, found in enumerate(together):
        for name, values in found.items():
            assert values.tolist() == [one[number][name][0] for one in single], name
    maps = block.attention_maps(11)
    for slot in (4, 1):
        for layer, alone_there in zip(maps, block.attention_maps(11, [slot]), strict=True):
            assert torch.equal(layer[slot], alone_there[0])


def test_a_part_of_a_block_trains_as_if_the_others_were_not_there():
    runs = crossed_runs()
    block = block_with(runs, num_slots=9, slots=[8, 0, 3, 5, 7, 1])
    block.train(20, [8, 3, 7])
    block.train(20, [3, 0])
    expected = {8: (0, [20]), 3: (2, [20, 20]), 7: (4, [20]), 0: (1, [20]), 5: (3, []), 1: (5, [])}
    assert {slot: bits(block, slot) for slot in expected} == {
        slot: alone(runs[place], pieces) for slot, (place, pieces) in expected.items()
    }


def test_runs_under_one_data_seed_at_unlike_steps_see_their_own_batches():
    runs = crossed_runs()
    block = block_with(runs)
    block.train(7, [0, 1])
    block.train(STEPS)
    # A slot that is free takes the next run, beside runs that are further on.
    block.load_run(4, runs[2], block.start(runs[2]))
    block.train(13)
    expected = [alone(run, [7, STEPS, 13] if place < 2 else [STEPS, 13]) for place, run in enumerate(runs)]
    expected[4] = alone(runs[2], [13])
    assert [bits(block, slot) for slot in range(6)] == expected


def test_a_run_that_leaves_the_finite_numbers_leaves_those_that_share_its_batches():
    runs = crossed_runs()
    block = block_with(runs)
    start = block.start(runs[2])
    sick = {**start.arrays, "weights": np.full_like(start.arrays["weights"], np.nan)}
    block.load_run(2, runs[2], type(start)(0, sick))
    block.train(STEPS)
    assert block.is_finite().tolist() == [True, True, False, True, True, True]
    assert [bits(block, slot) for slot in (0, 4)] == [all_alone(STEPS)[place] for place in (0, 4)]


def test_runs_under_unlike_hyperparameters_of_the_task_share_no_batch():
    runs = noisy_runs()
    assert len({run.task.label_noise for run in runs}) == 2
    block = block_with(runs)
    block.train(60)
    assert [bits(block, slot, 40) for slot in range(len(runs))] == [
        bits(solo, 0, 40) for solo in map(_trained_alone, runs)
    ]


def _trained_alone(run):
    block = block_with([run])
    block.train(60)
    return block


def test_what_torch_draws_for_a_program_is_drawn_once_for_runs_that_share_it(monkeypatch):
    entry = resolved(OWN, Path())
    load(entry)
    try:
        runs = SweepSpec.model_validate(DRAWN_BY_TORCH).runs()
        expected = [bits(solo, 0, 40) for solo in map(_trained_alone, runs)]
        block, drawn = block_with(runs), []
        sample = type(block).sample
        monkeypatch.setattr(
            type(block),
            "sample",
            lambda self, split, steps, *given, **named: (
                drawn.append((split, len(steps))) or sample(self, split, steps, *given, **named)
            ),
        )
        block.train(60)
        block.evaluate(40)
        # Two data seeds under two levels of noise; label items are the same under one level.
        assert sum(count for split, count in drawn if split == "train") == 4 * 60
        assert sum(count for split, count in drawn if split == "label") == 2
        assert [bits(block, slot, 40) for slot in range(len(runs))] == expected
    finally:
        forget(entry)
