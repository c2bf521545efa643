"""Process-wide settings that fix rounding: set by blocks while they compute, and restored afterwards."""

from __future__ import annotations

import os
from importlib.metadata import version

import numpy as np
import pytest
import torch

from pipeline.engine.block import Block
from pipeline.numerics.context import fix_cublas_workspace, numerics_context
from pipeline.planning.engine_choice import Calibration
from pipeline.planning.open_sweep import open_results
from pipeline.planning.packs import Machine, make_plan
from pipeline.store.pack_store import StoreError
from pipeline.training.calibration import _speeds
from pipeline.training.cost import estimate_cost
from pipeline.training.open_pack import open_pack
from pipeline.training.replay import replay
from tests.support import configs, tiny, trained

CPU = torch.device("cpu")
VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def settings():
    """Everything that a context may touch."""
    cuda, mkldnn = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "backends": (cuda.fp32_precision, mkldnn.fp32_precision),
        "bf16_sums": cuda.allow_bf16_reduced_precision_reduction,
        "fills": torch.utils.deterministic.fill_uninitialized_memory,
    }


@pytest.fixture(params=["as torch starts", "set by the user"])
def before(request):
    """The settings of the process, which a test must leave as they are."""
    cuda, mkldnn = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    kept = settings()
    if request.param == "set by the user":
        torch.set_num_threads(3)
        torch.set_float32_matmul_precision("medium")
        torch.use_deterministic_algorithms(True, warn_only=True)
        cuda.allow_bf16_reduced_precision_reduction = False
    yield settings()
    torch.set_num_threads(kept["threads"])
    torch.use_deterministic_algorithms(kept["deterministic"], warn_only=kept["warn_only"])
    torch.set_float32_matmul_precision(kept["precision"])
    cuda.fp32_precision, mkldnn.fp32_precision = kept["backends"]
    cuda.allow_bf16_reduced_precision_reduction = kept["bf16_sums"]


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_a_context_holds_its_settings_and_puts_back_those_before_it(precision, before):
    with numerics_context(2, precision, "cpu"):
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert not torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    assert settings() == before


def test_they_are_put_back_after_an_exception_too(before):
    with pytest.raises(KeyError), numerics_context(2, "tf32", "cpu"):
        raise KeyError
    assert settings() == before


def test_contexts_nest(before):
    with numerics_context(2, "tf32", "cpu"):
        with numerics_context(1, "float32", "cpu"):
            assert torch.get_num_threads() == 1
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.get_num_threads() == 2
        assert torch.backends.cuda.matmul.allow_tf32
    assert settings() == before


def test_training_inline_leaves_the_process_as_it_was(before, tmp_path):
    trained(
        tiny(resources={"slots": 4, "threads": 2, "matmul_precision": "bf16"}, seeds={"together": [0, 1]}),
        tmp_path / "r",
    )
    assert settings() == before


def weights_of(*precisions):
    """The weights of one run after twelve steps, in a block of each precision; the blocks train in turn."""
    run = configs(tiny())[0]
    blocks = [Block(run, 1, CPU, matmul_precision=precision) for precision in precisions]
    for _ in range(12):
        for block in blocks:
            block.train(1)
    return [block.run_state(0).arrays["weights"] for block in blocks]


def test_blocks_of_different_precision_do_not_disturb_each_other():
    exact, coarse = weights_of("float32", "bf16")
    assert not np.array_equal(exact, coarse)
    assert np.array_equal(exact, weights_of("float32")[0])
    assert np.array_equal(coarse, weights_of("bf16")[0])


def test_a_block_computes_with_its_own_threads():
    seen = []
    block = Block(configs(tiny())[0], 1, CPU, threads=2)
    block.engine.train = lambda num_steps, slots: seen.append(torch.get_num_threads())
    block.train(1)
    assert (seen, torch.get_num_threads()) == ([2], 1)


def test_cublas_gets_its_workspace_before_cuda_starts(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    fix_cublas_workspace()
    assert os.environ[VARIABLE] == ":4096:8"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    fix_cublas_workspace()


@pytest.mark.parametrize("found", [None, ":16:8"])
def test_a_block_on_a_gpu_is_refused_where_cuda_started_without_it(found, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    if found is not None:
        monkeypatch.setenv(VARIABLE, found)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(StoreError, match=f"{VARIABLE}=:4096:8"):
        Block(configs(tiny())[0], 1, torch.device("cuda"))
    assert os.environ.get(VARIABLE) == found


class ReachedCudaError(OSError):
    """Something was about to be put on a GPU; no run's fault."""


@pytest.fixture
def reached(monkeypatch):
    """The workspaces that cuBLAS would have had as a first tensor was put on a GPU."""
    found = []
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def refused(make):
        def made(*args, device=None, **given):
            if device is not None and torch.device(device).type == "cuda":
                found.append(os.environ.get(VARIABLE))
                raise ReachedCudaError
            return make(*args, device=device, **given)

        return made

    for name in ("zeros", "full", "tensor", "empty"):
        monkeypatch.setattr(torch, name, refused(getattr(torch, name)))
    return found


def test_whatever_computes_on_a_gpu_fixes_the_workspace_before_cuda_starts(reached, tmp_path, monkeypatch):
    """Timing before a plan, the estimate of its cost, packs inline or in a worker, and replays."""
    spec = tiny(seeds={"together": [0, 1]}, budget=20)
    runs = {run.run_id: run for run in configs(spec)}
    (run, _), (key, _) = runs.values(), (run.static_key() for run in runs.values())
    plan = make_plan(spec, runs, Machine("cuda", 1, version("torch")), {key: Calibration()})
    store = open_results(plan, tmp_path / "r", "")
    ways = [
        lambda: _speeds(run, torch.device("cuda"), spec.resources, (4,)),
        lambda: estimate_cost(plan, 1),
        lambda: open_pack(store, store.pack_ids()[0]),
        lambda: replay(store, run.run_id, 5, 10, 5, (), with_weights=False),
    ]
    for number, way in enumerate(ways, 1):
        monkeypatch.setenv(VARIABLE, "")
        with pytest.raises(ReachedCudaError):
            way()
        assert reached == [":4096:8"] * number


def test_new_memory_is_not_filled_on_a_gpu_since_that_is_a_kernel_for_each_tensor(before, monkeypatch):
    monkeypatch.setenv(VARIABLE, ":4096:8")
    with numerics_context(1, "float32", "cuda"):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert settings() == before
