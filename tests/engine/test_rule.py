"""The rule: what a run does depends on the run and the numerics alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.engine.block import Block
from pipeline.spec.sweep import SweepSpec
from tests.support import TASKS, configs, tiny

CPU = torch.device("cpu")


def block_of(runs, width, slots=None, steps=25):
    """Trains `runs` in the given slots of a block of `width`; their states, in order of `runs`."""
    torch.set_num_threads(1)
    slots = list(range(len(runs))) if slots is None else slots
    block = Block(runs[0], width, CPU)
    for slot, run in zip(slots, runs, strict=True):
        block.place(slot, run, block.start(run))
    block.train(steps)
    return [block.take(slot) for slot in slots]


def same(one, other):
    return one.step == other.step and all(
        np.array_equal(one.arrays[name], other.arrays[name], equal_nan=True) for name in one.arrays
    )


def varied(task, **changes):
    """Six runs that differ by seeds and by vector hyperparameters of the optimiser."""
    factor = {"optimiser.lr": [1e-3, 3e-3, 1e-2], "optimiser.clip": [0.1, 1.0, None]}
    if "optimiser" not in changes:
        factor |= {"optimiser.beta2": [0.9, 0.98, 0.999], "optimiser.weight_decay": [0.0, 0.1, 0.01]}
    runs = configs(tiny(task, vary=[factor], **changes))
    return runs[0::4] + runs[1::4]


SHAPES = [
    {},
    {"batch_size": 13},
    {"dtype": "float64"},
    {"optimiser": {"name": "sgd", "lr": 1e-2, "momentum": 0.5}},
    {"schedule": {"name": "cosine", "warmup_steps": 3, "horizon": 20}},
]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("changes", SHAPES, ids=["plain", "odd batch", "float64", "sgd", "cosine"])
def test_a_run_has_the_same_bits_in_every_slot_and_beside_any_neighbours(task, changes):
    runs = varied(task, **changes)
    together = block_of(runs, 8)
    permuted = block_of(runs[::-1], 8)[::-1]
    moved = block_of(runs[:3], 8, slots=[7, 2, 5])
    alone = block_of(runs[:1], 8, slots=[4])
    assert all(same(a, b) for a, b in zip(together, permuted, strict=True))
    assert all(same(a, b) for a, b in zip(together, moved, strict=False))
    assert same(together[0], alone[0])


REGRESSION = {"name": "linear_regression", "dim": 10, "num_pairs": 10}
LOOKUP = {"name": "dictionary_lookup", "num_keys": 5, "num_values": 7, "num_pairs": 6}
REPEATED = {"name": "repeated_sequence", "num_tokens": 7, "period": 3}
SEPARATE = {"name": "separate_regression", "dim": 5, "num_pairs": 3}
SINE = {"name": "sine_regression", "num_pairs": 4}
FEATURES = {"name": "feature_regression", "num_features": 7, "num_pairs": 11}
EXACT = FEATURES | {"objective": "exact", "dominant_probability": 0.3}
ODD = [
    (REGRESSION, {}, 256),
    (REGRESSION, {}, 33),
    (REGRESSION, {"num_layers": 2, "is_tied": True}, 16),
    (REGRESSION | {"dim": 4}, {"num_layers": 2}, 7),
    (REGRESSION | {"num_batches": 3}, {"num_heads": 2}, 65),
    (REGRESSION | {"dim": 6}, {"num_heads": 3, "softmax": "every"}, 9),
    (REGRESSION | {"dim": 2}, {"num_layers": 2, "mlp_width": 5}, 33),
    (SEPARATE, {"num_layers": 2, "softmax": "first", "position_width": 6}, 31),
    (SINE, {"width": 11, "mlp_width": 13}, 7),
    (SINE, {"width": 9, "mlp_width": 33, "attention": "gradient_step"}, 25),
    (LOOKUP, {"width": 7, "head_width": 5, "num_heads": 3, "num_layers": 1}, 13),
    (LOOKUP, {"width": 33, "head_width": 9, "num_heads": 5}, 8),
    (LOOKUP, {"width": 17, "head_width": 3, "num_heads": 2, "num_layers": 3}, 2),
    (LOOKUP, {"width": 12, "head_width": 6, "num_heads": 2}, 25),
    (LOOKUP, {"width": 3, "head_width": 1, "num_heads": 3, "num_layers": 3}, 64),
    (LOOKUP, {"width": 31, "head_width": 4, "num_layers": 1}, 31),
    (LOOKUP, {"name": "transformer", "width": 33, "head_width": 5, "num_heads": 3, "mlp_width": 7}, 1),
    (REPEATED, {"width": 7, "head_width": 5, "num_heads": 3, "mlp_width": 5}, 13),
    (REPEATED, {"width": 33, "head_width": 3, "num_heads": 3, "num_layers": 3, "mlp_width": 65}, 7),
    (REPEATED, {"width": 31, "head_width": 9, "num_heads": 1, "num_layers": 1, "mlp_width": 1}, 2),
    (REPEATED, {"name": "attention_only", "width": 9, "head_width": 3, "num_heads": 3}, 11),
    (FEATURES, {"width": 19}, 13),
    (FEATURES | {"prompts": "fixed"}, {"width": 7, "basis": "one_hot"}, 300),
    (EXACT, {"width": 11}, 5),
    (EXACT | {"prompts": "mean_field"}, {"width": 9, "basis": "one_hot"}, 1),
]
KINDS = {
    "linear_regression": "linear_self_attention",
    "dictionary_lookup": "attention_only",
    "feature_regression": "merged_softmax_attention",
    "repeated_sequence": "transformer",
    "separate_regression": "linear_self_attention",
    "sine_regression": "embedded_self_attention",
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("task", "model", "batch_size"), ODD)
def test_a_run_has_the_same_bits_in_every_slot_at_odd_shapes_too(task, model, batch_size, dtype):
    data = tiny().identity() | {
        "task": task,
        "model": {"name": KINDS[task["name"]], **model},
        "batch_size": batch_size,
        "dtype": dtype,
        "optimiser": {"name": "adamw", "lr": 3e-3, "clip": 0.1},
    }
    run = SweepSpec.model_validate(data).runs()[1]
    states = block_of([run] * 8, 8, steps=13)
    assert all(same(states[0], state) for state in states)


@pytest.mark.parametrize("task", TASKS)
def test_dropping_one_run_leaves_the_others_unchanged(task):
    runs = varied(task)
    together = block_of(runs, 6)
    without = block_of(runs[:2] + runs[3:], 6, slots=[0, 1, 3, 4, 5])
    assert all(same(a, b) for a, b in zip(together[:2] + together[3:], without, strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_on_the_eager_path_bits_do_not_depend_on_the_width_either(task):
    runs = varied(task)
    for width in (2, 6, 16):
        narrow = block_of(runs[:2], width)
        assert all(same(a, b) for a, b in zip(narrow, block_of(runs, 8), strict=False)), width


@pytest.mark.parametrize("where", ["weights", "exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_run_that_leaves_the_finite_numbers_leaves_its_neighbours_bit_for_bit(where, value):
    runs = varied("dictionary_lookup")
    healthy = block_of(runs, 6)
    for sick in (0, 3, 5):
        block = Block(runs[0], 6, CPU)
        for slot, run in enumerate(runs):
            state = block.start(run)
            if slot == sick:
                state = type(state)(0, {**state.arrays, where: np.full_like(state.arrays[where], value)})
            block.place(slot, run, state)
        block.train(25)
        assert not block.is_finite()[sick]
        for slot in set(range(6)) - {sick}:
            assert same(block.take(slot), healthy[slot])


def test_training_in_one_go_or_in_pieces_gives_the_same_bits():
    runs = varied("dictionary_lookup")
    whole = block_of(runs, 6, steps=25)
    block = Block(runs[0], 6, CPU)
    for slot, run in enumerate(runs):
        block.place(slot, run, block.start(run))
    for piece in (1, 4, 5, 15):
        block.train(piece)
        block.evaluate(16)
    pieces = [block.take(slot) for slot in range(6)]
    assert all(same(a, b) for a, b in zip(whole, pieces, strict=True))


def test_slots_at_different_steps_do_not_mix():
    runs = varied("dictionary_lookup")
    early, late = block_of(runs[:1], 4, steps=10)[0], block_of(runs[1:2], 4, steps=20)[0]
    block = Block(runs[0], 4, CPU)
    block.place(3, runs[0], early)
    block.place(0, runs[1], late)
    block.train(7)
    assert same(block.take(3), block_of(runs[:1], 4, steps=17)[0])
    assert same(block.take(0), block_of(runs[1:2], 4, steps=27)[0])


def test_a_narrow_heads_init_is_a_corner_of_a_wide_ones():
    runs = configs(tiny(vary=[{"model.head_width": [2, 4]}], seeds={"together": [0]}))
    narrow, wide = (Block(run, 1, CPU) for run in runs)
    for matrix in ("query", "key", "value"):
        small, large = (block.parameters[f"layer0.{matrix}"][0].detach() for block in (narrow, wide))
        assert torch.equal(small, large[:, :2])
    # The output matrix has another fan-in, hence another scale.
    small, large = (block.parameters["layer0.output"][0].detach() for block in (narrow, wide))
    torch.testing.assert_close(small * 2**0.5, large[:2] * 4**0.5)


def test_init_seed_moves_the_weights_and_data_seed_the_batches():
    crossed = configs(tiny(seeds={"crossed": {"init_seed": [0, 1], "data_seed": [0, 1]}}))
    starts = {(run.init_seed, run.data_seed): Block(run, 1, CPU).take(0).arrays["weights"] for run in crossed}
    assert np.array_equal(starts[0, 0], starts[0, 1])
    assert not np.array_equal(starts[0, 0], starts[1, 0])
    ends = dict(zip(starts, block_of(crossed, 4), strict=True))
    assert not np.array_equal(ends[0, 0].arrays["weights"], ends[0, 1].arrays["weights"])


def test_one_stream_can_be_reseeded_alone():
    plain = configs(tiny(seeds={"together": [0]}))[0]
    other = configs(tiny(seeds={"together": [0]}, streams={"init/position": 9}))[0]
    one, two = (Block(run, 1, CPU).parameters for run in (plain, other))
    assert torch.equal(one["embedding"], two["embedding"])
    assert not torch.equal(one["position"], two["position"])


def test_runs_differ_by_seed_and_zero_is_a_seed():
    states = block_of(configs(tiny()), 4)
    bits = {state.arrays["weights"].tobytes() for state in states}
    assert len(bits) == 4


def test_float32_and_float64_agree_early():
    single, double = (block_of(configs(tiny(dtype=dtype)), 4, steps=50) for dtype in ("float32", "float64"))
    for one, other in zip(single, double, strict=True):
        scale = np.linalg.norm(other.arrays["weights"])
        assert np.linalg.norm(one.arrays["weights"] - other.arrays["weights"]) / scale < 1e-4
