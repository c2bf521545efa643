"""Bits of compiled programs, as stored sweeps have them.

The compiler fuses products and sums into one operation where it sees both, which depends on what it inlines: an edit
of C++ that computes the same can move last bits. Bits that move on purpose need another `PROGRAM`.
"""

from __future__ import annotations

import hashlib

import pytest
import torch

from pipeline.engine.block import Block, to_host
from pipeline.engine.program import compiled_engine_of
from pipeline.numerics.compiler import toolchain
from pipeline.planning.packs import PROGRAM
from pipeline.spec.sweep import SweepSpec
from tests.support import tiny

COSINE = {"name": "cosine", "warmup_steps": 3, "horizon": 15, "final_fraction": 0.1}
LOOKUP = {"name": "dictionary_lookup", "num_keys": 5, "num_values": 7, "num_pairs": 6}
CASES = {
    "lookup": {
        "task": {"name": "dictionary_lookup", "num_keys": 4, "num_values": 4, "num_pairs": 4},
        "model": {"name": "attention_only", "width": 8, "head_width": 4},
    },
    "transformer": {
        "task": LOOKUP,
        "model": {"name": "transformer", "width": 9, "head_width": 5, "num_heads": 3, "num_layers": 3, "mlp_width": 7},
        "schedule": COSINE,
    },
    "regression": {
        "task": {"name": "linear_regression", "dim": 5, "num_pairs": 7, "label_noise": 0.3},
        "model": {"name": "linear_self_attention"},
        "optimiser": {"name": "sgd", "lr": 1e-2, "momentum": 0.5, "weight_decay": 0.01},
        "batch_size": 21,
    },
}
HERE = (PROGRAM, toolchain(), torch.__version__.partition("+")[0])
# (program, toolchain, torch, which draws initial weights) -> case -> SHA-256 of two runs after twelve steps.
KNOWN = {
    ("query-only.4", "g++-12.2.0-x86-64-v3", "2.13.0"): {
        "lookup": "9433a3bc3d94d2515d164ab3123d74c20cb2ffcc086320713b439c48e715ba3e",
        "transformer": "9bd5782353f6a3db9a85692f5ab70951b6301adec56d00df4c0a7ff61b74839d",
        "regression": "ed2afaacd2f951d451adde6f96112af675a8e7f7cec654d289752a0e1eea95cc",
    },
}


def bits_of(changes):
    """Hash of the states of two runs after twelve steps, and of what an evaluation and a probe find."""
    runs = SweepSpec.model_validate(tiny(seeds={"together": [0, 1]}).identity() | changes).runs()
    block = Block(runs[0], 2, torch.device("cpu"), compiled_engine_of(runs[0]))
    for slot, run in enumerate(runs):
        block.load_run(slot, run, block.start(run))
    block.train(12)
    digest = hashlib.sha256()
    found = [block.run_state(slot).arrays for slot in range(2)] + to_host(block.evaluate(37), block.probe(37))
    for arrays in found:
        for name in sorted(arrays):
            digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()


def test_some_bits_are_known_of_the_present_arithmetic():
    assert any(PROGRAM in versions for versions in KNOWN), "store the bits of the new PROGRAM"


@pytest.mark.skipif(HERE not in KNOWN, reason="no bits are known for these versions")
@pytest.mark.parametrize("case", CASES)
def test_compiled_programs_give_the_bits_that_are_stored(case):
    assert bits_of(CASES[case]) == KNOWN[HERE][case], "raise PROGRAM, or find the edit that moved them"
