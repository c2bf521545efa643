"""Process-wide settings that fix rounding: set by blocks while they compute, and restored afterwards."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from pipeline.engine.block import Block
from pipeline.numerics.context import fix_cublas_workspace, numerics_context
from pipeline.store.pack_store import StoreError
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
