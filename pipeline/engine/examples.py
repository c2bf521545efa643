"""Where a compiled program has its examples from: it draws them itself, or torch has drawn them before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from pipeline.codegen.sampling import has_classes
from pipeline.engine.program_arguments import DRAWN
from pipeline.engine.slots import Slots
from pipeline.tasks.base import Batch, Split

# Of what is drawn at once, unless a step of all slots or the items of one slot are more.
_DRAWN_BYTES = 2 << 20


class HeldOutGroup(NamedTuple):
    """Slots whose held-out items are at hand: `keys` for the program, and the items, if torch has drawn them.

    `place_of`, (n,), is where those of each slot stand among the items.
    """

    slots: list[int]
    keys: list[Tensor]
    batch: Batch | None
    place_of: Tensor | None


class Examples(Protocol):
    """What a program is told of its examples. `keys` are those of training, slot axis first."""

    keys: list[Tensor]

    def steps_at_once(self, num_steps: int, slots: Sequence[int]) -> Iterator[int]:
        """Numbers of steps, `num_steps` in all, for which the examples of these slots are at hand, in turn."""
        ...

    def held_out(self, split: Split, num_items: int, slots: Sequence[int], steps_S: Tensor) -> Iterator[HeldOutGroup]:
        """Groups of slots, in their order, with the items of a split at each slot's own of `steps_S`, (S,)."""
        ...


class Sampled:
    """The program draws: it is given the keys of streams."""

    def __init__(self, block: Slots) -> None:
        self._block = block
        self.keys = self._keys("train")

    def _keys(self, split: Split) -> list[Tensor]:
        keys = self._block.stream_keys(split)
        return [keys[name] for name in self._block.task.streams]

    def steps_at_once(self, num_steps: int, slots: Sequence[int]) -> Iterator[int]:
        """All at once."""
        yield num_steps

    def held_out(self, split: Split, num_items: int, slots: Sequence[int], steps_S: Tensor) -> Iterator[HeldOutGroup]:
        """All slots together."""
        yield HeldOutGroup(list(slots), self._keys(split), None, None)


class Drawn:
    """Torch draws batches for several steps, and the program is given their addresses (see DRAWN)."""

    def __init__(self, block: Slots) -> None:
        self._block = block
        self.keys = self._nowhere()
        self._has_classes = has_classes(block.task, block.template.dtype)
        # What the addresses point to.
        self._alive: Batch | None = None

    def _nowhere(self) -> list[Tensor]:
        return [torch.zeros(self._block.num_slots, dtype=torch.int64) for _ in DRAWN]

    def steps_at_once(self, num_steps: int, slots: Sequence[int]) -> Iterator[int]:
        """As many as fill some memory; the bits of a run do not depend on it."""
        rows = self._block.template.batch_size
        num_sets = self._num_sets("train", self._block.steps_S, slots)
        most = max(1, _DRAWN_BYTES // (self._bytes(rows) * max(1, num_sets)))
        for first in range(0, num_steps, most):
            count = min(most, num_steps - first)
            self._alive, _ = self._put(self.keys, "train", slots, self._block.steps_S, rows, count)
            yield count

    def held_out(self, split: Split, num_items: int, slots: Sequence[int], steps_S: Tensor) -> Iterator[HeldOutGroup]:
        """As many slots as fill some memory."""
        most = max(1, _DRAWN_BYTES // self._bytes(num_items))
        if self._num_sets(split, steps_S, slots) <= most:
            most = max(1, len(slots))
        for first in range(0, len(slots), most):
            group, keys = list(slots[first : first + most]), self._nowhere()
            yield HeldOutGroup(group, keys, *self._put(keys, split, group, steps_S, num_items, 1))

    def _num_sets(self, split: Split, steps_S: Tensor, slots: Sequence[int]) -> int:
        return len(self._block.same_examples(split, steps_S, slots)[0]) if slots else 0

    def _bytes(self, num_rows: int) -> int:
        shape = self._block.task.shape()
        return 8 * num_rows * (math.prod(shape.input_shape) + shape.num_query_positions)

    def _put(
        self, keys: list[Tensor], split: Split, slots: Sequence[int], steps_S: Tensor, num_rows: int, num_steps: int
    ) -> tuple[Batch, Tensor]:
        """Draw `num_steps` batches from each slot's own step on, and note where they stand.

        Slots that see the same examples have one place; the second result is the place of each.
        """
        chosen = torch.tensor(slots, dtype=torch.int64)
        distinct, place_of = self._block.same_examples(split, steps_S, slots)
        steps = (steps_S[distinct].unsqueeze(1) + torch.arange(num_steps)).flatten()
        batch = self._block.sample(split, steps, num_rows, slots=distinct.repeat_interleave(num_steps).tolist())
        self._refuse_others(batch, len(steps), num_rows)
        batch = Batch(*(_as_read(array, self._block.dtype) for array in batch))
        for place, array in enumerate(batch):
            size = array.element_size() * array[0].numel() * num_steps
            keys[place][chosen] = array.data_ptr() + size * place_of
        keys[2][chosen] = steps_S[chosen]
        keys[3][chosen] = num_rows
        return batch, place_of

    def _refuse_others(self, batch: Batch, num_slots: int, num_rows: int) -> None:
        """Raises ValueError where a program would read beyond what there is: it was compiled for the task's shape."""
        name, shape = self._block.task.name, self._block.task.shape()
        expected = ((num_slots, num_rows, *shape.input_shape), (num_slots, num_rows * shape.num_query_positions))
        for what, array, wanted in zip(("inputs", "targets"), batch, expected, strict=True):
            if tuple(array.shape) != wanted:
                raise ValueError(f"task {name} gives {what} of shape {tuple(array.shape)}, and {wanted} by its shape()")
        if batch.targets.dtype.is_floating_point == self._has_classes:
            raise ValueError(f"task {name} gives targets of another type than it gave first: {batch.targets.dtype}")
        if shape.kind == "tokens" and not (int(batch.inputs.min()) >= 0 and int(batch.inputs.max()) < shape.size):
            raise ValueError(f"task {name} gives tokens outside 0 to {shape.size - 1}, the last of its shape()")
        if self._has_classes and not (int(batch.targets.min()) >= 0 and int(batch.targets.max()) < shape.num_outputs):
            # They may be no classes, or be masked: then torch takes them, else its own error says where.
            self._block.task.losses(torch.zeros(*batch.targets.shape, shape.num_outputs), batch.targets)


def _as_read(array: Tensor, dtype: torch.dtype) -> Tensor:
    """As the program reads it: whole numbers of 64 bits, or real ones of the run's own type."""
    return array.to(dtype if array.dtype.is_floating_point else torch.int64).contiguous()
