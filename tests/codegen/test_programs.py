"""Programs that are written from torch code: equal to torch, and chosen where they pay."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import pipeline.engine.program as programs
from pipeline.codegen.generated import Generated, model_text
from pipeline.engine.block import Block
from pipeline.engine.program import compiled_engine_of, written
from pipeline.launch.planned import plan_for, plan_on
from pipeline.numerics.compiler import compiled, toolchain
from pipeline.own_code.imported import forget, load, resolved
from pipeline.planning.packs import Machine
from pipeline.spec.sweep import SweepSpec
from pipeline.tasks.base import Task

pytestmark = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")

ZOO = str(Path(__file__).parent.parent / "zoo" / "modules.py")
LOOKUP = {"name": "dictionary_lookup", "num_keys": 3, "num_values": 5, "num_pairs": 2}
REGRESSION = {"name": "linear_regression", "dim": 3, "num_pairs": 4}
SEQUENCE = {"name": "repeated_sequence", "num_tokens": 4, "period": 2}
# Of every kind of node at least one: lookups, products by rows, reductions, moves, sums over a batch. One with several
# blocks of examples at once, and fewer behind the last whole ones of an evaluation.
# More than one of them, since a process shares what it can of the libraries that it has loaded.
QUICK = {
    "language model": (SEQUENCE, {"name": "zoo_everywhere", "width": 4, "num_layers": 1}),
    "linear attention": (LOOKUP, {"name": "zoo", "kind": "linear_attention", "width": 8}),
    "single rows": (LOOKUP, {"name": "zoo", "kind": "mlp", "width": 2}),
}
SLOW = {
    kind: (REGRESSION if kind == "picture" else LOOKUP, {"name": "zoo", "kind": kind, "width": 8})
    for kind in ("rotary", "mlp", "gru", "lstm", "convolution", "picture", "linear_attention", "experts")
}


@pytest.fixture(autouse=True)
def zoo():
    """The modules of the zoo as imported code of one's own."""
    entry = resolved(ZOO, Path())
    load(entry)
    yield
    forget(entry)


def run(task, model, **changes):
    spec = {
        "name": "written",
        "task": task,
        "model": model,
        "optimiser": {"name": "adamw", "lr": 1e-2, "clip": 1.0, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup_steps": 3, "horizon": 15},
        "batch_size": 21,
        "budget": 100,
        "dtype": "float64",
        "seeds": {"together": [0, 1]},
        "tracking": {"mode": "disabled"},
    }
    return SweepSpec.model_validate(spec | changes)


def assert_equal_to_torch(config, monkeypatch, has_written_maps=True):
    """After twelve steps, with memory that is no number until it is written: weights, metrics and attention maps."""

    @cache
    def poisoned(model, task_shape, dtype):
        return Generated(model_text(model, task_shape, getattr(torch, dtype), is_poisoned=True))

    monkeypatch.setattr(programs, "generated_or_why", poisoned)
    engine = compiled_engine_of(config)
    assert engine is not None
    found = []
    for name in (engine, "torch"):
        block = Block(config, 1, torch.device("cpu"), name)
        block.load_run(0, config, block.start(config))
        block.train(12)
        numbers = {**block.last, **block.evaluate(33), **block.probe(33)}
        maps = [one.numpy() for one in block.attention_maps(19)]
        # The program measures all of it but probes of the task's own.
        has_own_probes = type(config.task).probes is not Task.probes
        assert ("_torch_engine" in vars(block.engine)) == (name != "torch" and (has_own_probes or not has_written_maps))
        found.append((block.weights_of(0), {key: float(value[0]) for key, value in numbers.items()}, maps))
    (weights, numbers, maps), (expected_weights, expected, expected_maps) = found
    assert numbers == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert np.abs(weights - expected_weights).max() < 1e-9
    for one, other in zip(maps, expected_maps, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    return numbers


@pytest.mark.parametrize(("task", "model"), QUICK.values(), ids=QUICK)
def test_a_program_that_is_written_from_torch_code_trains_as_torch_does(task, model, monkeypatch):
    assert_equal_to_torch(run(task, model).runs()[0], monkeypatch)


def test_maps_of_a_model_of_ones_own_are_measured_by_its_program(monkeypatch):
    numbers = assert_equal_to_torch(run(LOOKUP, {"name": "zoo_padded"}).runs()[0], monkeypatch)
    heads = {name.partition(".")[2] for name in numbers if name.startswith("attention_entropy")}
    assert heads == {"l0h0", "l1h0", "l1h1"}
    assert any(name.endswith("l1h1") and not name.startswith("attention_entropy") for name in numbers)


def test_maps_for_which_nothing_can_be_written_are_measured_by_torch(monkeypatch):
    assert_equal_to_torch(run(LOOKUP, {"name": "zoo_padded", "sorted": True}).runs()[0], monkeypatch, False)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "model"), SLOW.values(), ids=SLOW)
def test_so_does_that_of_every_module_of_the_zoo(task, model, monkeypatch):
    assert_equal_to_torch(run(task, model).runs()[0], monkeypatch)


PROBE = """
#include "functions.h"
extern "C" void probe(real* found) {
  const real nan = std::nan(""), one = 1;
  const Lanes nans = lanes(nan), ones = lanes(one);
  found[0] = on_numbers::rectified(nan), found[1] = on_numbers::rectified(nans)[0];
  found[2] = on_numbers::larger(nan, one), found[3] = on_numbers::larger(ones, nans)[0];
  found[4] = on_numbers::smaller(one, nan), found[5] = on_numbers::smaller(nans, ones)[0];
  found[6] = on_numbers::larger(ones, ones + 1)[0], found[7] = on_numbers::smaller(ones, ones + 1)[0];
}
"""


def test_what_is_not_a_number_is_passed_on_by_maxima_and_rectifiers(tmp_path):
    (tmp_path / "probe.cpp").write_text(PROBE)
    library = compiled(str(tmp_path / "probe.cpp"), "#define REAL double\n")
    found = np.zeros(8)
    library.probe(ctypes.c_void_p(found.ctypes.data))
    assert np.isnan(found[:6]).all()
    assert found[6:].tolist() == [2, 1]


def test_a_sweep_too_short_for_compiling_is_left_to_torch_and_the_plan_says_so():
    plan = plan_on(run(*SLOW["mlp"]), Machine.cpu(1))
    assert plan.packs[0].numerics.engine == "torch"
    assert "less than compiling" in plan.packs[0].reason


def test_programs_are_used_where_they_are_faster_or_asked_for(monkeypatch, tmp_path):
    spec = run(*SLOW["mlp"], budget=1000)
    monkeypatch.setattr("pipeline.training.calibration._LEAST_S", 0.0)
    monkeypatch.setattr("pipeline.training.calibration.compiled_engine_of", lambda *_: "compiled-here")
    monkeypatch.setattr("pipeline.training.calibration._difference", lambda *_: None)
    for by_program, engine in ((2000.0, "compiled-here"), (500.0, "torch")):
        speeds = {"torch": 1000.0, "compiled-here": by_program}
        monkeypatch.setattr("pipeline.training.calibration._speed", lambda *given, speeds=speeds: speeds[given[2]])
        assert plan_on(spec, Machine.cpu(1)).packs[0].numerics.engine == engine
    asked = run(*SLOW["mlp"], budget=1000, resources={"engine": "compiled"})
    assert plan_on(asked, Machine.cpu(1)).packs[0].numerics.engine == "compiled-here"
    told: list[str] = []
    plan_for(spec, tmp_path / "new", Machine.cpu(1), told.append)
    phases = ("timing torch on", "compiling", "timing the program of", "timing")
    assert told == ["planning", *(f"{what} 1 of 1" for what in phases)]
    monkeypatch.setattr("pipeline.training.calibration._difference", lambda *_: "a step differs")
    pack = plan_on(spec, Machine.cpu(1)).packs[0]
    assert pack.numerics.engine == "torch"
    assert "its program and torch differ by more than rounding: a step differs" in pack.reason


def test_text_is_written_for_every_part_of_a_run():
    parts = {"task", "model", "optimiser", "schedule"}
    assert written(run(*SLOW["mlp"]).runs()[0]).texts.keys() == parts
    assert written(run(SEQUENCE, {"name": "attention_only"}).runs()[0]).texts.keys() == parts
