"""CUDA kernels that are written from torch code: emulated on the CPU they train as torch does; NVRTC compiles them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.codegen.cuda.nvrtc import CudaError, compile_cuda, nvrtc, resources_in
from pipeline.codegen.cuda.single_text import single_text
from pipeline.codegen.cuda.texts import by_threads
from pipeline.codegen.graph.build import NoCodeError
from pipeline.contracts.small_sweeps import declared, pair
from pipeline.engine.block import Block
from pipeline.engine.cuda_program import kernel_arguments, kernel_text, threads_of
from pipeline.numerics.compiler import toolchain
from pipeline.optimisers.adamw import AdamW
from pipeline.own_code.imported import forget, load, resolved
from pipeline.tasks.base import TASKS
from tests.codegen.emulator import emulated
from tests.codegen.test_programs import LOOKUP, QUICK, SLOW, run
from tests.codegen.test_updates import PAIRS, ZOO

needs_compiler = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")
needs_nvrtc = pytest.mark.skipif(nvrtc() is None, reason="there is no NVRTC here")
CPU = torch.device("cpu")
# A data set's examples stand in memory.
DRAWN_BY_TORCH = {"dataset"}
SGD = {"optimiser": {"name": "sgd", "lr": 0.1, "momentum": 0.5, "weight_decay": 0.01, "clip": 0.5}}
EXPERTS = (LOOKUP, {"name": "zoo", "kind": "experts", "width": 2})
# Of vectors, with a parameter that is not trained, under SGD and a schedule without hyperparameters.
FIXED = (
    {"name": "feature_regression", "num_features": 3, "num_pairs": 7},
    {"name": "merged_softmax_attention", "width": 4},
)


@pytest.fixture(autouse=True)
def zoo():
    """Modules, optimisers and schedules of the zoo as imported code of one's own."""
    entries = [resolved(str(ZOO / f"{name}.py"), Path()) for name in ("modules", "optimisers", "schedules")]
    for entry in entries:
        load(entry)
    yield
    for entry in entries:
        forget(entry)


def assert_equal_to_torch(config):
    """After twelve steps of blocks of eight threads, which take three turns for a batch of 21."""
    block, reference = emulated(config, num_threads=8), Block(config, 1, CPU)
    for one in (block, reference):
        one.train(12)
    found, expected = ({**one.last, **one.engine.evaluate(30, [0])} for one in (block, reference))
    for name in found:
        assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-9, abs=1e-12), name
    assert int(block.steps_S) == 12
    assert np.abs(block.weights_of(0) - reference.weights_of(0)).max() < 1e-9
    # Torch keeps the gradient after clipping.
    limit = min(1.0, float(reference.columns["clip"]) / (float(reference.last["grad_norm"]) + 1e-6))
    assert (block.engine.gradient * limit - reference.grad_SP).abs().max() < 1e-9


@needs_compiler
@pytest.mark.parametrize(("task", "model"), [QUICK["language model"]], ids=["language model"])
def test_kernels_train_as_torch_does(task, model):
    assert_equal_to_torch(run(task, model).runs()[0])


@needs_compiler
def test_so_do_kernels_under_sgd_with_a_parameter_that_is_not_trained():
    assert_equal_to_torch(run(*FIXED, schedule={"name": "constant"}, **SGD).runs()[0])


NORMALISED = """
import torch
from pipeline.models.torch_module import TorchModule

class Inner(torch.nn.Module):
    def __init__(self, size, num_outputs):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(num_outputs, 8))
        self.table = torch.nn.Embedding(size, 8)

    def forward(self, tokens):
        weight = torch.tanh(self.weight) @ self.weight.T @ self.weight
        return self.table(tokens).mean(1) @ (weight / weight.square().sum().sqrt()).T

class Normalised(TorchModule):
    name = "normalised"
    accepts = ("tokens",)

    def module(self, task_shape):
        return Inner(task_shape.size, task_shape.num_outputs)
"""


@needs_compiler
def test_so_do_kernels_of_models_that_compute_with_weights_alone(tmp_path):
    (tmp_path / "normalised.py").write_text(NORMALISED)
    entry = resolved(str(tmp_path / "normalised.py"), tmp_path)
    load(entry)
    try:
        config = run(LOOKUP, {"name": "normalised"}).runs()[0]
        text = kernel_text(config)
        begin = text[text.index("static void begin(") : text.index("static void forward(")]
        assert "multiply_by_threads<" in begin
        assert re.search(r"\{\n +real total", begin)
        assert_equal_to_torch(config)
    finally:
        forget(entry)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("task", "model"), SLOW.values(), ids=SLOW)
def test_so_do_those_of_every_module_of_the_zoo(task, model):
    assert_equal_to_torch(run(task, model).runs()[0])


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("optimiser", "schedule"), PAIRS, ids=lambda cls: cls.name)
def test_so_do_those_with_optimisers_and_schedules_of_ones_own(optimiser, schedule):
    changes = {"optimiser": declared(optimiser.tiny()), "schedule": declared(schedule.tiny())}
    assert_equal_to_torch(run(*FIXED, **changes).runs()[0])


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TASKS))
def test_so_do_those_of_every_registered_task(name):
    """Whose batches kernels draw, but for those that read data or draw in a way of their own."""
    spec = pair(name)
    config = run(spec["task"], spec["model"]).runs()[0]
    assert kernel_arguments(config).is_drawn == (name in DRAWN_BY_TORCH)
    assert_equal_to_torch(config)


@needs_compiler
def test_a_runs_bits_depend_on_neither_its_neighbours_nor_the_order_in_which_threads_take_turns():
    runs = run(*QUICK["language model"], vary=[{"optimiser.lr": [1e-2, 3e-2]}]).runs()
    found = []
    for slots, seed in (([0, 1, 2], 0), ([2, 0, 1], 1), ([1], 2)):
        block = emulated(runs[0], num_slots=3, num_threads=8, seed=seed)
        for slot, config in zip(range(3), runs, strict=False):
            block.load_run(slot, config, block.start(config))
        block.train(5, slots)
        found.append(block.weights_of(1))
    assert np.ptp(found[0]) > 0
    assert all((one == found[0]).all() for one in found)


@needs_compiler
def test_threads_that_do_not_all_wait_are_found(monkeypatch):
    monkeypatch.setattr("pipeline.engine.cuda_program.single_text", lambda *given: broken(single_text(*given)))
    with pytest.raises(AssertionError, match="threads do not meet"):
        emulated(run(*FIXED).runs()[0], num_threads=8).train(1)


def broken(text):
    """A kernel whose last thread skips a barrier."""
    first, last = "  wait_for_all();\n  Model::finish", "  if (thread_number() < 7) wait_for_all();\n  Model::finish"
    assert text.count(first) == 1
    return text.replace(first, last)


def test_what_a_run_computes_once_is_shared_out_among_threads():
    lines = [
        "{",
        "for (int i0 = 2; i0 < 6; ++i0)",
        "for (int i1 = 0; i1 < i0 + 1; ++i1)",
        "  a[i0] = b[i1];",
        "}",
        "{",
        "for (int b = 0; b < 2; ++b)",
        "  multiply<1, 2>(a, b, c);",
        "}",
        "{",
        "  real total = real(0);",
        "for (int i0 = 0; i0 < 6; ++i0)",
        "    total += a[i0];",
        "  c[0] = total;",
        "}",
        "for (int i = 0; i < 8; ++i) a[i] = 0;",
        "for (int i = 0; i < 9; ++i) b[i] = 0;",
    ]
    assert by_threads(lines) == [
        "{",
        "for (int i0 = 2 + thread_number(); i0 < 6; i0 += THREADS)",
        "for (int i1 = 0; i1 < i0 + 1; ++i1)",
        "  a[i0] = b[i1];",
        "}",
        "wait_for_all();",
        "{",
        "for (int b = 0; b < 2; ++b)",
        "  multiply_by_threads<1, 2>(a, b, c);",
        "}",
        "wait_for_all();",
        "{",
        "  real total = real(0);",
        "for (int i0 = 0; i0 < 6; ++i0)",
        "    total += a[i0];",
        "  c[0] = total;",
        "}",
        "wait_for_all();",
        "for (int i = 0 + thread_number(); i < 8; i += THREADS) a[i] = 0;",
        "for (int i = 0 + thread_number(); i < 9; i += THREADS) b[i] = 0;",
    ]
    with pytest.raises(NoCodeError, match="lookup that depends on no example"):
        by_threads(["look_up<1>(a, b, c);"])


def test_a_text_includes_each_header_once_and_those_for_one_lane_first():
    text = single_text(["draws.h", "model.h"], {"model.h": '#pragma once\n#include "lanes.h"\nstruct Model {};\n'})
    assert '#include "' not in text
    assert text.count("#define ONE_LANE") == text.count("struct Model {};") == 1
    assert text.index("#define ONE_LANE") < text.index("inline Stream repeated(")
    with pytest.raises(FileNotFoundError, match=r"no header none\.h"):
        single_text(["none.h"], {})


def test_a_block_has_whole_warps_and_at_most_four():
    sizes = {size: threads_of(run(*EXPERTS, batch_size=size).runs()[0]) for size in (1, 32, 33, 64, 1000)}
    assert sizes == {1: 32, 32: 32, 33: 64, 64: 64, 1000: 128}


def test_what_cannot_be_written_as_cuda_is_named(monkeypatch):
    config = run(*EXPERTS).runs()[0]
    monkeypatch.setattr(AdamW, "in_rows", lambda optimiser, spans: optimiser)
    with pytest.raises(NoCodeError, match="tells the parameters of a model apart"):
        kernel_text(config)
    monkeypatch.setattr("pipeline.codegen.cuda.texts._MOST_LOCAL_BYTES", 100)
    with pytest.raises(NoCodeError, match="of one example: a thread has 512 KiB"):
        kernel_text(config, is_poisoned=True)


LOG = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_90'
ptxas info    : Function properties for one
ptxas         .     24 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 80 registers, used 1 barriers, 7984 bytes cumulative stack size, 16900 bytes smem
ptxas info    : Compiling entry function 'other' for 'sm_90'
ptxas info    : Function properties for other
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers, 64 bytes cumulative stack size
"""


def test_what_kernels_take_is_read_from_the_compilers_log():
    assert resources_in(LOG) == {"one": ("one", 80, 7984, 16900), "other": ("other", 12, 64, 0)}


@needs_nvrtc
def test_nvrtc_compiles_kernels_and_says_where_a_text_is_wrong():
    config = run(*EXPERTS, dtype="float32").runs()[0]
    found = compile_cuda(kernel_text(config))
    assert found.cubin.startswith(b"\x7fELF")
    assert found.kernels.keys() == {"seedbed_train", "seedbed_evaluate"}
    kernel = found.kernels["seedbed_train"]
    assert 0 < kernel.registers <= 255
    assert 4 * 33 * 32 <= kernel.shared_bytes <= 48 * 1024
    with pytest.raises(CudaError, match=re.escape('kernel.cu(1): error: identifier "no_such_name" is undefined')):
        compile_cuda("inline int one() { return no_such_name; }")
