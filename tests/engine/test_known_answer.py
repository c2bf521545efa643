"""A pack's known answer: equal where the arithmetic is, another where a bit differs, refused where it is wrong."""

from __future__ import annotations

import pytest
import torch

from pipeline.engine import block as blocks
from pipeline.engine.block import Block
from pipeline.engine.known_answer import WrongProgramError, known_answer
from pipeline.engine.program import compiled_engine_of, program_for
from pipeline.numerics.compiler import toolchain
from pipeline.spec.sweep import SweepSpec
from tests.support import tiny

needs_compiler = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")
CPU = torch.device("cpu")
ENGINES = ["torch", pytest.param("compiled", marks=[needs_compiler, pytest.mark.native])]


def run(**changes):
    return SweepSpec.model_validate(tiny().identity() | changes).runs()[0]


def block(config, engine="compiled", num_slots=1):
    name = compiled_engine_of(config) if engine == "compiled" else engine
    return Block(config, num_slots, CPU, name)


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_the_same_every_time_and_in_every_block(engine):
    config, other = run(), run(seeds={"together": [7]})
    used = block(config, engine)
    used.load_run(0, other, used.start(other))
    used.train(3)
    first = known_answer(config, used).digest
    assert first == known_answer(config, block(config, engine)).digest
    assert first != known_answer(other, block(config, engine)).digest
    assert len(first) == 16


@pytest.mark.parametrize("engine", ENGINES)
def test_one_bit_of_the_arithmetic_changes_it(engine, monkeypatch):
    config = run()
    expected = known_answer(config, block(config, engine)).digest
    train = Block.train

    def off_by_one_bit(self, num_steps, slots=None):
        train(self, num_steps, slots)
        with torch.no_grad():
            self.weights_SP[0, 0] = torch.nextafter(self.weights_SP[0, 0], self.weights_SP.new_tensor(9.0))

    monkeypatch.setattr(Block, "train", off_by_one_bit)
    assert known_answer(config, block(config, engine)).digest != expected


@needs_compiler
@pytest.mark.native
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lr", [1e-3, 1e3])
def test_a_program_of_another_setting_is_refused_with_both_numbers(dtype, lr, monkeypatch):
    config, other = (run(dtype=dtype, optimiser={"name": "adamw", "lr": lr}, batch_size=size) for size in (16, 17))
    known_answer(config, block(config))
    monkeypatch.setattr(blocks, "program_for", lambda *_: program_for(other))
    with pytest.raises(WrongProgramError, match=r"train_loss at step 1 is [\d.]+, and by torch [\d.]+"):
        known_answer(config, block(config))


@needs_compiler
@pytest.mark.native
def test_a_wrong_direction_of_the_first_step_is_refused(monkeypatch):
    config = run()
    wrong, train = block(config), Block.train

    def mirrored(self, num_steps, slots=None):
        train(self, num_steps, slots)
        if self is wrong:
            with torch.no_grad():
                self.weights_SP[0] = 2 * self.initial_SP[0] - self.weights_SP[0]

    monkeypatch.setattr(Block, "train", mirrored)
    with pytest.raises(WrongProgramError, match=r"label_loss at step 1|length of the difference"):
        known_answer(config, wrong)


@needs_compiler
@pytest.mark.native
@pytest.mark.parametrize(("gradient", "is_refused"), [(1e-9, False), (0.0, True), (1e-3, True)])
def test_a_weight_may_move_either_way_only_where_its_gradient_is_zero_but_for_rounding(
    gradient, is_refused, monkeypatch
):
    config = run()
    compiled, train = block(config), Block.train

    def either_way(self, num_steps, slots=None):
        train(self, num_steps, slots)
        with torch.no_grad():
            if self is compiled:
                self.weights_SP[0, 0] += 1e-3
            else:
                self.grad_SP[0, 0] = gradient

    monkeypatch.setattr(Block, "train", either_way)
    if is_refused:
        with pytest.raises(WrongProgramError, match="length of the difference"):
            known_answer(config, compiled)
    else:
        known_answer(config, compiled)
