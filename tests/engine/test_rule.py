"""The run rule at odd shapes and odd moments; that every registered part keeps it is in contracts/test_runs.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.engine.block import Block
from pipeline.spec.sweep import SweepSpec
from pipeline.tasks.base import TASKS
from tests.support import configs, same, states_of, tiny

CPU = torch.device("cpu")


def mixed(task, **changes):
    """Six runs that differ by seeds and by vector hyperparameters of the optimiser."""
    factor = {
        "optimiser.lr": [1e-3, 3e-3, 1e-2],
        "optimiser.clip": [0.1, 1.0, None],
        "optimiser.beta2": [0.9, 0.98, 0.999],
        "optimiser.weight_decay": [0.0, 0.1, 0.01],
    }
    runs = configs(tiny(task, vary=[factor], **changes))
    return runs[0::4] + runs[1::4]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("changes", [{"batch_size": 13}, {"dtype": "float64"}], ids=["odd batch", "float64"])
def test_a_run_has_the_same_bits_in_every_slot_and_beside_any_neighbours(task, changes):
    runs = mixed(task, **changes)
    together = states_of(runs, 8)
    permuted = states_of(runs[::-1], 8)[::-1]
    moved = states_of(runs[:3], 8, slots=[7, 2, 5])
    alone = states_of(runs[:1], 8, slots=[4])
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
ATTENTION, DECODER = {"name": "attention_only"}, {"name": "transformer"}
LAYERS, EMBEDDED = {"name": "linear_self_attention"}, {"name": "embedded_self_attention"}
MERGED = {"name": "merged_softmax_attention"}
ODD = [
    (REGRESSION, LAYERS, 256),
    (REGRESSION, LAYERS, 33),
    (REGRESSION, LAYERS | {"num_layers": 2, "is_tied": True}, 16),
    (REGRESSION | {"dim": 4}, LAYERS | {"num_layers": 2}, 7),
    (REGRESSION | {"num_batches": 3}, LAYERS | {"num_heads": 2}, 65),
    (REGRESSION | {"dim": 6}, LAYERS | {"num_heads": 3, "softmax": "every"}, 9),
    (REGRESSION | {"dim": 2}, LAYERS | {"num_layers": 2, "mlp_width": 5}, 33),
    (SEPARATE, LAYERS | {"num_layers": 2, "softmax": "first", "position_width": 6}, 31),
    (SINE, EMBEDDED | {"width": 11, "mlp_width": 13}, 7),
    (SINE, EMBEDDED | {"width": 9, "mlp_width": 33, "attention": "gradient_step"}, 25),
    (LOOKUP, ATTENTION | {"width": 7, "head_width": 5, "num_heads": 3, "num_layers": 1}, 13),
    (LOOKUP, ATTENTION | {"width": 33, "head_width": 9, "num_heads": 5}, 8),
    (LOOKUP, ATTENTION | {"width": 17, "head_width": 3, "num_heads": 2, "num_layers": 3}, 2),
    (LOOKUP, ATTENTION | {"width": 12, "head_width": 6, "num_heads": 2}, 25),
    (LOOKUP, ATTENTION | {"width": 3, "head_width": 1, "num_heads": 3, "num_layers": 3}, 64),
    (LOOKUP, ATTENTION | {"width": 31, "head_width": 4, "num_layers": 1}, 31),
    (LOOKUP, DECODER | {"width": 33, "head_width": 5, "num_heads": 3, "mlp_width": 7}, 1),
    (REPEATED, DECODER | {"width": 7, "head_width": 5, "num_heads": 3, "mlp_width": 5}, 13),
    (REPEATED, DECODER | {"width": 33, "head_width": 3, "num_heads": 3, "num_layers": 3, "mlp_width": 65}, 7),
    (REPEATED, DECODER | {"width": 31, "head_width": 9, "num_heads": 1, "num_layers": 1, "mlp_width": 1}, 2),
    (REPEATED, ATTENTION | {"width": 9, "head_width": 3, "num_heads": 3}, 11),
    (FEATURES, MERGED | {"width": 19}, 13),
    (FEATURES | {"prompts": "fixed"}, MERGED | {"width": 7, "basis": "one_hot"}, 300),
    (EXACT, MERGED | {"width": 11}, 5),
    (EXACT | {"prompts": "mean_field"}, MERGED | {"width": 9, "basis": "one_hot"}, 1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("task", "model", "batch_size"), ODD)
def test_a_run_has_the_same_bits_in_every_slot_at_odd_shapes_too(task, model, batch_size, dtype):
    data = tiny().identity() | {
        "task": task,
        "model": model,
        "batch_size": batch_size,
        "dtype": dtype,
        "optimiser": {"name": "adamw", "lr": 3e-3, "clip": 0.1},
    }
    run = SweepSpec.model_validate(data).runs()[1]
    states = states_of([run] * 8, 8, steps=13)
    assert all(same(states[0], state) for state in states)


@pytest.mark.parametrize("task", TASKS)
def test_with_the_torch_engine_bits_do_not_depend_on_the_number_of_slots_either(task):
    runs = mixed(task)
    for num_slots in (2, 6, 16):
        narrow = states_of(runs[:2], num_slots)
        assert all(same(a, b) for a, b in zip(narrow, states_of(runs, 8), strict=False)), num_slots


@pytest.mark.parametrize("where", ["weights", "exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_run_that_leaves_the_finite_numbers_leaves_its_neighbours_bit_for_bit(where, value):
    runs = mixed("dictionary_lookup")
    healthy = states_of(runs, 6)
    for sick in (0, 3, 5):
        block = Block(runs[0], 6, CPU)
        for slot, run in enumerate(runs):
            state = block.start(run)
            if slot == sick:
                state = type(state)(0, {**state.arrays, where: np.full_like(state.arrays[where], value)})
            block.load_run(slot, run, state)
        block.train(25)
        assert not block.is_finite()[sick]
        for slot in set(range(6)) - {sick}:
            assert same(block.run_state(slot), healthy[slot])


def test_training_in_one_go_or_in_pieces_gives_the_same_bits():
    runs = mixed("dictionary_lookup")
    whole = states_of(runs, 6, steps=25)
    block = Block(runs[0], 6, CPU)
    for slot, run in enumerate(runs):
        block.load_run(slot, run, block.start(run))
    for piece in (1, 4, 5, 15):
        block.train(piece)
        block.evaluate(16)
    pieces = [block.run_state(slot) for slot in range(6)]
    assert all(same(a, b) for a, b in zip(whole, pieces, strict=True))


def test_slots_at_different_steps_do_not_mix():
    runs = mixed("dictionary_lookup")
    early, late = states_of(runs[:1], 4, steps=10)[0], states_of(runs[1:2], 4, steps=20)[0]
    block = Block(runs[0], 4, CPU)
    block.load_run(3, runs[0], early)
    block.load_run(0, runs[1], late)
    block.train(7)
    assert same(block.run_state(3), states_of(runs[:1], 4, steps=17)[0])
    assert same(block.run_state(0), states_of(runs[1:2], 4, steps=27)[0])


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
    starts = {(run.init_seed, run.data_seed): Block(run, 1, CPU).run_state(0).arrays["weights"] for run in crossed}
    assert np.array_equal(starts[0, 0], starts[0, 1])
    assert not np.array_equal(starts[0, 0], starts[1, 0])
    ends = dict(zip(starts, states_of(crossed, 4), strict=True))
    assert not np.array_equal(ends[0, 0].arrays["weights"], ends[0, 1].arrays["weights"])


def test_one_stream_can_be_reseeded_alone():
    plain = configs(tiny(seeds={"together": [0]}))[0]
    other = configs(tiny(seeds={"together": [0]}, streams={"init/position": 9}))[0]
    one, two = (Block(run, 1, CPU).parameters for run in (plain, other))
    assert torch.equal(one["embedding"], two["embedding"])
    assert not torch.equal(one["position"], two["position"])


def test_runs_differ_by_seed_and_zero_is_a_seed():
    states = states_of(configs(tiny()), 4)
    bits = {state.arrays["weights"].tobytes() for state in states}
    assert len(bits) == 4


def test_float32_and_float64_agree_early():
    single, double = (states_of(configs(tiny(dtype=dtype)), 4, steps=50) for dtype in ("float32", "float64"))
    for one, other in zip(single, double, strict=True):
        scale = np.linalg.norm(other.arrays["weights"])
        assert np.linalg.norm(one.arrays["weights"] - other.arrays["weights"]) / scale < 1e-4
