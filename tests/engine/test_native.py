"""Compiled programs: the numbers of the torch engine, and bits that depend on the run alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from pipeline.engine.block import Block
from pipeline.engine.program import compiled_engine_of
from pipeline.launch.planned import plan_on
from pipeline.numerics.compiler import toolchain
from pipeline.planning.packs import Machine
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from tests.support import assert_compiled_equals_torch, block_of, pair, rows, tiny, trained, weights

pytestmark = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")

CPU = torch.device("cpu")
COSINE = {"name": "cosine", "warmup_steps": 3, "horizon": 15, "final_fraction": 0.1}
SGD = {"name": "sgd", "lr": 1e-2, "momentum": 0.5, "weight_decay": 0.01}
NOISY = {"name": "linear_regression", "dim": 5, "num_pairs": 7, "label_noise": 0.3}
ODD = {"name": "transformer", "width": 9, "head_width": 5, "num_heads": 3, "num_layers": 3, "mlp_width": 7}
# Large enough to start with that every layer matters.
LAYERS = {"name": "linear_self_attention", "init_variance": 0.5}
COPYING = LAYERS | {"num_layers": 2, "softmax": "first", "position_width": 4}
LOOKUP = {"name": "dictionary_lookup", "num_keys": 5, "num_values": 7, "num_pairs": 6}
MANY_TOKENS = {"name": "repeated_sequence", "num_tokens": 70, "period": 3}
# The others are of `make contract-test`: each compiles a program of its own.
NOW = ("one wide layer, clipped, decayed, odd batch", "two heads", "separate tokens, softmax first")
CASES = {
    "one wide layer, clipped, decayed, odd batch": {
        "task": LOOKUP,
        "model": {"name": "attention_only", "width": 17, "num_heads": 2, "num_layers": 1},
        "batch_size": 13,
        "schedule": COSINE,
        "optimiser": {"name": "adamw", "lr": 3e-3, "clip": 0.05, "weight_decay": 0.1},
    },
    "odd transformer": {"task": LOOKUP, "model": ODD},
    "asked everywhere": {
        "task": MANY_TOKENS,
        "model": ODD | {"num_layers": 2},
        "schedule": COSINE | {"name": "linear"},
    },
    "two heads": {"task": NOISY, "model": LAYERS | {"num_heads": 2}, "optimiser": SGD, "batch_size": 21},
    "tied layers": {"task": NOISY, "model": LAYERS | {"num_layers": 2, "is_tied": True}, "schedule": COSINE},
    "separate tokens, softmax first": {**pair("separate_regression"), "model": COPYING, "batch_size": 21},
    "layers with softmax": {
        "task": NOISY,
        "model": LAYERS | {"softmax": "every", "num_layers": 2, "num_heads": 2, "token_limit": 0.5},
    },
    "limited layers of two heads, fixed tasks": {
        "task": NOISY | {"num_batches": 5},
        "model": LAYERS | {"num_layers": 3, "num_heads": 2, "token_limit": 0.5},
        "batch_size": 9,
    },
}


def runs_of(**changes):
    """Six runs that differ by seeds and by vector hyperparameters."""
    changes = {"vary": [{"optimiser.lr": [1e-3, 1e-2, 3e-2]}], "seeds": {"together": [0, 1]}} | changes
    return SweepSpec.model_validate(tiny().identity() | changes).runs()


def bits(block, slots):
    return [{name: array.tobytes() for name, array in block.run_state(slot).arrays.items()} for slot in slots]


@pytest.mark.parametrize(
    "changes",
    [pytest.param(CASES[name], id=name, marks=[] if name in NOW else [pytest.mark.slow]) for name in CASES],
)
def test_a_compiled_program_gives_the_numbers_of_the_torch_engine(changes):
    assert_compiled_equals_torch(runs_of(dtype="float64", **changes))


@pytest.mark.parametrize("task", ["dictionary_lookup", "linear_regression"])
def test_in_single_precision_too_within_its_rounding(task):
    runs = runs_of(**pair(task), seeds={"together": [0]}, vary=[])
    by_torch, compiled = (
        block_of(runs, 1, engine=engine, steps=50).run_state(0) for engine in ("torch", compiled_engine_of(runs[0]))
    )
    scale = np.linalg.norm(by_torch.arrays["weights"])
    assert np.linalg.norm(compiled.arrays["weights"] - by_torch.arrays["weights"]) / scale < 1e-4


@pytest.mark.parametrize("task", ["dictionary_lookup", "linear_regression"])
def test_bits_depend_on_no_slot_no_neighbour_no_number_of_slots_and_no_thread(task):
    runs = runs_of(**pair(task))
    engine = compiled_engine_of(runs[0])
    together = bits(block_of(runs, 6, engine=engine), range(6))
    assert bits(block_of(runs[::-1], 6, engine=engine), range(6))[::-1] == together
    assert bits(block_of(runs[:3], 8, engine=engine, slots=[7, 2, 5]), [7, 2, 5]) == together[:3]
    assert bits(block_of(runs[3:4], 1, engine=engine), [0]) == together[3:4]
    assert bits(block_of(runs, 6, engine=engine, threads=3), range(6)) == together


def test_slots_that_are_not_asked_for_stand_still():
    runs = runs_of()
    block = block_of(runs, 6, steps=2, engine=compiled_engine_of(runs[0]))
    before = bits(block, range(6))
    block.train(3, [4])
    after = bits(block, range(6))
    assert [slot for slot in range(6) if before[slot] != after[slot]] == [4]


def test_training_in_pieces_and_looking_between_moves_no_bit():
    runs = runs_of()
    engine = compiled_engine_of(runs[0])
    block = block_of(runs, 6, engine=engine, steps=1)
    for piece in (4, 5, 2):
        block.evaluate(20)
        block.probe(20)
        block.train(piece)
    assert bits(block, range(6)) == bits(block_of(runs, 6, engine=engine, steps=12), range(6))


def test_a_run_that_leaves_the_finite_numbers_leaves_its_neighbours():
    runs = runs_of()
    engine = compiled_engine_of(runs[0])
    healthy = bits(block_of(runs, 6, steps=12, engine=engine), range(6))
    block = Block(runs[0], 6, CPU, engine)
    for slot, run in enumerate(runs):
        state = block.start(run)
        sick = {**state.arrays, "weights": np.full_like(state.arrays["weights"], np.nan)}
        block.load_run(slot, run, type(state)(0, sick) if slot == 2 else state)
    block.train(12)
    assert block.is_finite().tolist() == [True, True, False, True, True, True]
    assert [one for slot, one in enumerate(bits(block, range(6))) if slot != 2] == healthy[:2] + healthy[3:]


def test_a_whole_sweep_has_the_same_bits_at_every_number_of_slots(tmp_path):
    def sweep(slots, name):
        spec = tiny(resources={"slots": slots, "engine": "auto"}, budget=30)
        store = trained(spec, tmp_path / name, num_workers=slots)
        assert all(pack["numerics"]["engine"].startswith("compiled-g++") for pack in store.plan["packs"])
        return rows(store), weights(store)

    assert sweep(1, "one") == sweep(3, "three")


def test_the_plan_says_how_runs_are_computed_and_why():
    compiled = plan_on(tiny(resources={"engine": "auto"}), Machine.cpu(1)).packs[0]
    assert compiled.numerics.engine == f"compiled-{toolchain()}"
    assert "compiled" in compiled.reason
    by_torch = plan_on(tiny(resources={"engine": "torch", "slots": 2}), Machine.cpu(1)).packs[0]
    assert (by_torch.numerics.engine, by_torch.numerics.slots) == ("torch", 2)


def test_speeds_are_measured_once_and_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = tiny(resources={"engine": "torch"}, seeds={"together": {"range": [0, 20]}})
    first = plan_on(spec, Machine.cpu(1)).packs[0]
    assert "slots by the fastest" in first.reason
    assert len(list(tmp_path.glob("seedbed/slots-*.json"))) == 1
    monkeypatch.setattr("pipeline.training.calibration._speeds", lambda *_: pytest.fail("measured again"))
    assert plan_on(spec, Machine.cpu(1)).packs[0] == first


PLAN = """
import json, sys
from pipeline.launch.planned import plan_on
from pipeline.planning.packs import Machine
from pipeline.spec.sweep import SweepSpec
spec = SweepSpec.model_validate(json.loads(sys.argv[1]) | {"resources": {"slots": 4}})
print(plan_on(spec, Machine.cpu(1)).packs[0].numerics.engine)
"""


@pytest.mark.parametrize("environment", [{"SEEDBED_NATIVE": "0"}, {"CXX": "no-such-compiler"}, {"CXX": "false"}])
def test_without_a_compiler_that_works_torch_computes(environment, tmp_path):
    surroundings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), **environment}
    command = [sys.executable, "-c", PLAN, json.dumps(tiny().identity())]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "torch"


def test_asking_for_a_program_that_cannot_be_is_refused(monkeypatch):
    optimiser = type(tiny("linear_regression").optimiser)
    monkeypatch.setattr(optimiser, "in_rows", lambda optimiser, spans: optimiser)
    spec = SweepSpec.model_validate(tiny("linear_regression").identity() | {"resources": {"engine": "compiled"}})
    with pytest.raises(StoreError, match=r"resources\.engine is compiled"):
        plan_on(spec, Machine.cpu(1))


@pytest.mark.slow
def test_programs_of_one_process_keep_tables_of_their_own():
    for modulus in (5, 7):
        task = {"name": "modular_addition", "modulus": modulus}
        assert_compiled_equals_torch(runs_of(dtype="float64", **pair("modular_addition") | {"task": task}))
