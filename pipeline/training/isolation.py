"""Finds the runs of a block that raise an error, so that they alone fail; the others get what they would have had.

All slots are computed together, so an error names no run. Each half of the slots is then tried by itself, and so on,
down to single runs, which have three tries. The number of slots stays, since it is in the numerics: slots that are not
tried hold copies of one that is. A slot's bits do not depend on its neighbours, so what is computed so is what would
have been computed had nobody raised.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from pipeline.engine.block import Block
from pipeline.engine.slots import SlotArrays
from pipeline.store.files import CorruptFileError
from pipeline.store.pack_store import StoreError

_TRIES = 3
_LONGEST_CAUSE = 300
# What allocators say that raise neither a MemoryError nor torch's own error.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "std::bad_alloc", "out of memory", "ALLOC_FAILED")

Key = TypeVar("Key")
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: by Python, by torch on a device, or by torch's allocator on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def may_be_of_a_run(error: Exception) -> bool:
    """Whether a single run may have caused an error: not one of disk, memory or device."""
    if isinstance(error, (StoreError, CorruptFileError, OSError, torch.AcceleratorError)):
        return False
    return not is_out_of_memory(error)


def cause_of(error: Exception) -> str:
    """An error in one line: its kind, what it says, and where it was raised."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {said[:_LONGEST_CAUSE]}{place}"


def apart(
    call: Callable[[list[Key]], Result], keys: Sequence[Key]
) -> tuple[list[tuple[list[Key], Result]], dict[Key, str]]:
    """`call` of all keys together, or where that raises, of ever fewer: the results with their keys, and the causes.

    A cause is of a key that raised by itself, three times. Errors that no run can have caused are raised.
    """
    keys, cause = list(keys), ""
    if not keys:
        return [], {}
    for _ in range(_TRIES if len(keys) == 1 else 1):
        try:
            return [(keys, call(keys))], {}
        except Exception as error:
            if not may_be_of_a_run(error):
                raise
            cause = cause_of(error)
    if len(keys) == 1:
        return [], {keys[0]: cause}
    middle = len(keys) // 2
    (first, of_first), (second, of_second) = apart(call, keys[:middle]), apart(call, keys[middle:])
    return first + second, of_first | of_second


def train_apart(
    block: Block, num_steps: int, slots: Sequence[int], before: SlotArrays, num_since: int
) -> Mapping[int, str]:
    """Train these slots; the causes of those that raise. Others that raise, as well as free slots, get copies of one
    that does not, so that the block can go on.

    `before` is a copy of the block from `num_since` steps ago, from which parts of it are trained again.
    """
    try:
        block.train(num_steps, slots)
        return {}
    except Exception as error:
        if not may_be_of_a_run(error):
            raise

    def train(group: list[int]) -> SlotArrays:
        block.put(before, {slot: slot if slot in group else group[0] for slot in range(block.num_slots)})
        block.train(num_since + num_steps, group)
        return block.copy(group)

    parts, causes = apart(train, slots)
    block.put(before, {slot: slot for slot in range(block.num_slots)})
    for group, after in parts:
        block.put(after, {slot: row for row, slot in enumerate(group)})
    trained = {slot for group, _ in parts for slot in group}
    if parts:
        _, after = parts[0]
        block.put(after, {slot: 0 for slot in range(block.num_slots) if slot not in trained})
    return causes
