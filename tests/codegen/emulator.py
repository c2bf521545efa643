"""Trains runs by the CUDA kernels of their setting, emulated on the CPU."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch

from pipeline.engine.block import Block
from pipeline.engine.compiled_engine import arrays_of
from pipeline.engine.cuda_program import kernel_arguments, kernel_text
from pipeline.engine.examples import Drawn, Sampled
from pipeline.engine.program_arguments import Memory
from pipeline.numerics.compiler import compiled
from pipeline.tasks.base import Task

_SOURCE = Path(__file__).parent / "emulated_block.cpp"


@cache
def _library(text):
    library = compiled(str(_SOURCE), texts={"generated_kernel.h": text})
    assert library is not None
    library.emulated_train.restype = library.emulated_evaluate.restype = ctypes.c_bool
    return library


class EmulatedEngine:
    """The kernels on the arrays of a block; threads take turns in an order that `seed` draws.

    Memory that a launch is given is no number until it is written. `gradient` is (blocks, P), of the last step.
    """

    def __init__(self, block, num_threads=None, seed=0):
        self.block, self.seed = block, seed
        self.arguments = kernel_arguments(block.template)
        self.kernels = _library(kernel_text(block.template, num_threads, is_poisoned=True))
        self.examples = Drawn(block) if self.arguments.is_drawn else Sampled(block)
        self.arrays = arrays_of(block, self.arguments, self.examples.keys)
        self.gradient = None

    def train(self, num_steps, slots):
        """Run `num_steps` steps on these slots, a block each."""
        for count in self.examples.steps_at_once(num_steps, slots):
            self.gradient, memory = self._memory(len(slots))
            chosen = torch.tensor(slots)
            call = (ctypes.c_void_p(chosen.data_ptr()), ctypes.c_int64(len(slots)), ctypes.c_int64(count))
            arrays = ctypes.byref(self.arrays), ctypes.byref(memory)
            assert self.kernels.emulated_train(*arrays, *call, ctypes.c_int64(self.seed)), "threads do not meet"

    def evaluate(self, num_items, slots):
        """Mean loss, and accuracy where the task has it; a reference loss only of what the kernel draws."""
        parts = []
        for group in self.examples.held_out("label", num_items, slots, self.block.steps_S):
            found = torch.full((len(group.slots), 3), torch.nan, dtype=torch.float64)
            held_out = self.arguments.HeldOut(keys=group.keys, num_items=num_items)
            _, memory = self._memory(len(group.slots))
            chosen = torch.tensor(group.slots)
            arrays = ctypes.byref(self.arrays), ctypes.byref(memory)
            call = ctypes.c_void_p(chosen.data_ptr()), ctypes.c_int64(len(group.slots)), ctypes.byref(held_out)
            seed = ctypes.c_int64(self.seed)
            assert self.kernels.emulated_evaluate(*arrays, *call, ctypes.c_void_p(found.data_ptr()), seed)
            parts.append(found)
        loss, accuracy, reference = torch.cat(parts).unbind(1)
        metrics = {"loss": loss} | ({"accuracy": accuracy} if self.block.task.has_accuracy() else {})
        has_reference = self.block.task.reference_losses.__func__ is not Task.reference_losses
        return metrics | ({"reference_loss": reference} if has_reference and not self.arguments.is_drawn else {})

    def _memory(self, num_blocks):
        rows = [
            torch.full((num_blocks, width), torch.nan, dtype=self.block.dtype)
            for width in (*[self.block.layout.row_width] * 3, self.kernels.num_scalars())
        ]
        return rows[0], Memory(gradient=rows[0], before=rows[1], fixed=rows[2], scalars=rows[3])


def emulated(config, num_slots=1, **changes):
    """A block whose engine is the emulated one."""
    block = Block(config, num_slots, torch.device("cpu"), "torch")
    block.engine = EmulatedEngine(block, **changes)
    return block
