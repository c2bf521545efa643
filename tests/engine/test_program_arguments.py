"""What a compiled program is called with: declared once, passed by name, and held against the program on loading."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import pytest
import torch

from pipeline.engine.block import Block
from pipeline.engine.compiled_engine import CompiledEngine
from pipeline.engine.program import preamble_of, program_for, written_headers
from pipeline.engine.program_arguments import Maps, ProgramArguments, ProgramMismatchError
from pipeline.numerics.compiler import compiled, toolchain
from tests.support import run_of

needs_compiler = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")
RUN = run_of(
    {"name": "linear_regression", "dim": 3, "num_pairs": 4, "label_noise": 0.5},
    model={"name": "linear_self_attention"},
    schedule={"name": "cosine", "warmup_steps": 2, "horizon": 9},
)


def block_of(turned):
    """Three steps by the compiled program; `turned`: every mapping of arrays by name stands in reversed order."""
    block = Block(RUN, 2, torch.device("cpu"))
    if turned:
        for name in ("columns", "schedule_columns", "task_vectors", "keys", "last"):
            setattr(block, name, dict(reversed(getattr(block, name).items())))
    engine = CompiledEngine(block, program_for(RUN))
    engine.train(3, [0, 1])
    if turned:
        block._held_out["label"] = dict(reversed(block.stream_keys("label").items()))
    return block, engine.evaluate(9, [0, 1])


@pytest.mark.native
@needs_compiler
def test_arrays_are_passed_by_name_whatever_their_order():
    (plain, found), (turned, again) = (block_of(is_turned) for is_turned in (False, True))
    assert torch.equal(plain.weights_SP, turned.weights_SP)
    assert {name: tensor.tolist() for name, tensor in plain.last.items()} == {
        name: tensor.tolist() for name, tensor in turned.last.items()
    }
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in again.items()
    }


@pytest.mark.native
@needs_compiler
def test_a_program_for_other_arguments_is_refused():
    library, own = compiled("program.cpp", preamble_of(RUN), texts=written_headers(RUN)), ProgramArguments.of(RUN)
    own.check(library)
    for other in (
        replace(own, optimiser=own.optimiser[::-1]),
        replace(own, streams=own.streams[::-1]),
        replace(own, schedule=own.schedule[1:]),
    ):
        with pytest.raises(ProgramMismatchError, match=r"\.so: was compiled for arguments .* delete the file"):
            other.check(library)


class FakeLibrary:
    """A program with the arguments of `own`, but for 8 bytes more in structure number `wrong`."""

    _name = "program.so"

    def __init__(self, own, wrong):
        sizes = [ctypes.sizeof(structure) + 8 * (index == wrong) for index, structure in enumerate(own.structures)]
        self.seedbed_fingerprint = lambda: own.fingerprint.encode()
        self.seedbed_size_of = lambda index: sizes[index]


def test_a_structure_of_another_size_is_refused():
    own = ProgramArguments.of(RUN)
    own.check(FakeLibrary(own, wrong=None))
    for index in range(len(own.structures)):
        with pytest.raises(ProgramMismatchError, match="bytes"):
            own.check(FakeLibrary(own, wrong=index))


def test_a_structure_is_made_of_exactly_its_members():
    values = torch.zeros(3)
    assert Maps(num_items=2, values=values).values == values.data_ptr()
    assert Maps(num_items=0, values=None).values is None
    with pytest.raises(TypeError, match="Maps has num_items, values; given num_items"):
        Maps(num_items=2)
    with pytest.raises(TypeError, match="given num_items, values, others"):
        Maps(num_items=2, values=values, others=1)


def test_a_structure_is_the_same_in_cpp():
    assert Maps.cpp() == "struct Maps {\n  std::int64_t num_items;\n  REAL* values;\n};"
    names = ProgramArguments((), (), ("lr",), (), task_vectors=(), streams=("data", "label_noise"))
    assert "  const REAL* columns[1];\n  const REAL* task_vectors[1];\n  const std::int64_t* keys[2];\n" in (
        names.Arrays.cpp()
    )
