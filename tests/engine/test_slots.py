"""Loading and reading runs of a block: the same for one and for many, with as many transfers."""

from __future__ import annotations

import pytest
import torch

from pipeline.contracts.small_sweeps import same
from pipeline.engine.block import Block
from pipeline.engine.parameter_layout import Layout, stream_names
from pipeline.models.base import ParameterSpec
from pipeline.training.open_pack import open_pack
from tests.engine.on_a_gpu import block_without_numbers, seen_in
from tests.support import configs, opened, tiny

SPEC = tiny(
    "linear_regression",
    vary=[{"optimiser.lr": [1e-2, 1e-3, 3e-3], "optimiser.clip": [None, 0.5, 1], "task.label_noise": [0.0, 0.3, 0.1]}],
    seeds={"together": [0, 1]},
    budget=20,
)
RUNS = configs(SPEC)
NUM_SLOTS = 6


def block_on_cpu():
    return Block(RUNS[0], NUM_SLOTS, torch.device("cpu"))


def started(block, slots):
    return {slot: (RUNS[-1 - slot], block.start(RUNS[-1 - slot])) for slot in slots}


def test_runs_that_are_loaded_together_are_those_that_are_loaded_one_by_one():
    together, apart = block_on_cpu(), block_on_cpu()
    for block in (together, apart):
        block.train(3)
    chosen = [4, 0, 5]
    together.load_runs(started(together, chosen))
    for slot, (run, state) in started(apart, chosen).items():
        apart.load_run(slot, run, state)
    for one, other in zip(together.copy(), apart.copy(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    for block in (together, apart):
        block.train(2)
    assert all(map(same, together.run_states(range(NUM_SLOTS)), [apart.run_state(slot) for slot in range(NUM_SLOTS)]))
    assert together.standing()[0].tolist() == [2, 5, 5, 5, 2, 2]


def test_runs_that_are_started_together_start_as_each_by_itself():
    """Of every distribution, at odd sizes, under scales and seeds of their own."""
    kinds = {"normal": (7, 5), "truncated_normal": (11, 11), "orthonormal": (3, 9)}
    specs = [ParameterSpec(kind, *shape, 0.3, kind) for kind, shape in kinds.items()]
    specs += [ParameterSpec("own", 2, 3, 1.0, lambda seed: torch.full((2, 3), 0.1 * seed, dtype=torch.float64))]
    layout = Layout((*specs, ParameterSpec("fixed", 1, 33, 0.7, "normal", trainable=False)), torch.float32)
    seeds = [{name: 3 * run + place for place, name in enumerate(stream_names(layout.specs))} for run in range(40)]
    scales = [0.1 + run / 3 for run in range(40)]
    together = layout.expand(layout.initial_rows(seeds, scales))
    for row, seed_of, scale in zip(together, seeds, scales, strict=True):
        assert torch.equal(row, layout.initial_weights(seed_of, scale))
    block = block_on_cpu()
    assert all(map(same, block.starts(RUNS), [block.start(run) for run in RUNS]))
    assert block.starts([]) == []


def test_a_copy_is_what_the_slots_held_then_whatever_is_trained_or_loaded_later():
    block = block_on_cpu()
    block.load_runs(started(block, range(NUM_SLOTS)))
    copies, held = [], []
    for change in (
        lambda: block.train(3),
        lambda: block.load_runs({2: (RUNS[0], block.start(RUNS[0]))}),
        lambda: block.train(1),
        lambda: block.put(copies[0], {1: 5}),
        lambda: block.train(1),
    ):
        copies.append(block.copy())
        held.append([array.clone() for array in block._all_tensors()])
        change()
    for copy, arrays in zip(copies, held, strict=True):
        assert all(torch.equal(one.nan_to_num(7), other.nan_to_num(7)) for one, other in zip(copy, arrays, strict=True))


def test_what_is_loaded_is_what_is_read():
    block = block_on_cpu()
    block.load_runs(started(block, range(NUM_SLOTS)))
    block.train(3)
    states = block.run_states([5, 1])
    other = block_on_cpu()
    other.load_runs({0: (RUNS[-6], states[0]), 3: (RUNS[-2], states[1])})
    block.train(2)
    other.train(2)
    assert all(map(same, block.run_states([5, 1]), other.run_states([0, 3])))
    assert [weights.tolist() for weights in block.weights_of_runs([5, 1])] == [
        block.weights_of(slot).tolist() for slot in (5, 1)
    ]
    assert block.run_states([]) == block.weights_of_runs([]) == []


@pytest.mark.parametrize("num_runs", [1, 5])
def test_loading_takes_as_many_transfers_for_one_run_as_for_many(num_runs):
    block = block_without_numbers(RUNS[0], NUM_SLOTS)
    runs = started(block, range(num_runs))
    assert len(seen_in(lambda: block.load_runs(runs)).waits) == len(block.copy())


def test_reading_takes_as_many_operations_for_one_run_as_for_many():
    block = block_on_cpu()
    counts = {seen_in(lambda n=n: block.run_states(range(n))).num_launches for n in (1, 2, 6)}
    assert len(counts) == 1


def test_a_pack_asks_its_block_for_steps_once_a_chunk_and_fills_its_slots_in_one_go(tmp_path, monkeypatch):
    calls = {"steps": [], "standing": [], "load_runs": [], "stacked_states": []}
    store = opened(SPEC, tmp_path / "r")
    (pack_id,) = store.pack_ids()
    loop = open_pack(store, pack_id)
    for name, found in calls.items():
        real = getattr(loop.block, name)

        def counted(*args, real=real, found=found):
            found.append([len(arg) for arg in args])
            return real(*args)

        monkeypatch.setattr(loop.block, name, counted)
    for chunk in range(4):
        for found in calls.values():
            found.clear()
        loop.step()
        # Two chunks for each run: four of six, then two.
        is_refilled, num_runs = chunk in (0, 2), 4 if chunk < 2 else 2
        assert calls["load_runs"] == ([[num_runs]] if is_refilled else [])
        # Before the first step of runs that are new, and at the marks of their first chunk; then at its end.
        num_marks = sum(mark > 0 for mark in loop._first_marks)
        assert len(calls["steps"]) == (1 + num_marks if is_refilled else 0)
        assert len(calls["standing"]) == 1
        # At their end.
        assert [sizes for sizes in calls["stacked_states"] if sizes != [0]] == ([] if is_refilled else [[num_runs]])
