"""What stands for a GPU in tests: tensors without numbers, and a recorder whose graphs are lists of operations."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from pipeline.engine.block import Block
from pipeline.engine.launches import Launches
from pipeline.numerics import philox_gpu, streams
from tests.contracts.test_runs import cases


def covering():
    """Name of a case -> what it is made of: of all that the contracts train, as few as have every registered part."""
    chosen, seen = {}, set()
    for name, parts in cases().items():
        if not set(parts.items()) <= seen:
            chosen[name] = parts
            seen |= set(parts.items())
    return chosen


@contextmanager
def kernel_of_draws(monkeypatch):
    """Draws by one operation, as on a GPU with Triton, and by torch wherever they are computed."""
    with monkeypatch.context() as patched:
        patched.setattr(philox_gpu, "has_kernel", lambda device: device.type != "cpu")
        patched.setattr(streams, "compiled_kernels", lambda: None)
        yield


def block_without_numbers(run, num_slots=4):
    """A block on torch's device of shapes alone, where any look at a number raises."""
    return Block(run, num_slots, torch.device("meta"))


def seen_in(call) -> Launches:
    """What a call launches."""
    with Launches() as seen:
        call()
    return seen


class _Recording(TorchDispatchMode):
    """Keeps every operation with the very tensors that it reads and gives."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, out))
        return out


class Tape:
    """A recorder that repeats operations at the places in memory where they were recorded, as a CUDA graph does.

    The host's part of a step is not repeated, so a step that depends on anything else than its arrays comes out
    otherwise. `num_replays` counts the launches of recorded steps.
    """

    def __init__(self, block: Block, why_not: str = "") -> None:
        self.block, self.why_not, self.num_replays = block, why_not, 0

    def warm_up(self, step) -> str:
        step()
        return self.why_not

    def record(self, step):
        everything, before = {slot: slot for slot in range(self.block.num_slots)}, self.block.copy()
        with _Recording() as recorded:
            step()
        # A recording computes nothing.
        self.block.put(before, everything)

        def replay() -> None:
            self.num_replays += 1
            with torch.no_grad():
                for func, args, kwargs, out in recorded.operations:
                    if not func.is_view:
                        _write(out, func(*tree_map_only(torch.Tensor, torch.Tensor.detach, args), **kwargs))

        return replay


def _write(out: Any, found: Any) -> None:
    for place, value in zip(tree_leaves(out), tree_leaves(found), strict=True):
        if isinstance(place, torch.Tensor) and place.data_ptr() != value.data_ptr():
            place.detach().copy_(value)


def recorded(block: Block, why_not: str = "") -> Tape:
    """The tape on which a block's steps are recorded from now on."""
    tape = Tape(block, why_not)
    block.engine.steps = block.engine._steps(tape)
    return tape
