"""Engine that calls a compiled program run by run: bits depend on neither the slot nor the number of slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipeline.engine.examples import Drawn, Examples, HeldOutGroup, Sampled
from pipeline.engine.program import Program
from pipeline.engine.program_arguments import Arguments, Maps, Masks, ProgramArguments, Selection
from pipeline.engine.slots import Slots
from pipeline.engine.torch_engine import TorchEngine
from pipeline.models.base import Model
from pipeline.tasks.base import Task

_SCORES = ("loss", "accuracy", "reference_loss")


@dataclass(frozen=True)
class _Targets:
    """Attention targets as the arrays of `Masks`; `num_asked[name]` counts the queries with a target."""

    num_asked: Mapping[str, float]
    starts: Tensor
    places: Tensor
    cells: Tensor

    @staticmethod
    def of(targets: Mapping[str, Tensor], dtype: torch.dtype, num_lanes: int) -> _Targets:
        """Convert `targets`, name -> (B, L, L)."""
        if not targets:
            return _Targets.none()
        places, cells = [], []
        for mask_BLL in targets.values():
            mask_BC = mask_BLL.flatten(1)
            used = mask_BC.any(0).nonzero().squeeze(1)
            places.append(used)
            cells.append(torch.nn.functional.pad(mask_BC[:, used].to(dtype), (0, 0, 0, -len(mask_BC) % num_lanes)))
        # (blocks, cells, lanes): lanes are the examples of a block.
        together = torch.cat(cells, 1)
        stacked = together.view(-1, num_lanes, together.shape[1]).transpose(1, 2).contiguous()
        starts = torch.tensor([0, *(len(used) for used in places)]).cumsum(0)
        asked = {name: float(mask_BLL.any(-1).sum()) for name, mask_BLL in targets.items()}
        return _Targets(asked, starts, torch.cat(places), stacked)

    @staticmethod
    def none() -> _Targets:
        nothing = torch.zeros(1, dtype=torch.int64)
        return _Targets({}, nothing, nothing, nothing)


class CompiledEngine:
    """Runs the program on the arrays of `block`, which must not move; torch measures what the program cannot."""

    def __init__(self, block: Slots, program: Program) -> None:
        self.block, self.program, self._arguments = block, program, program.arguments
        self._examples: Examples = Drawn(block) if program.arguments.is_drawn else Sampled(block)
        self._arrays = arrays_of(block, program.arguments, self._examples.keys)
        task_shape = block.task.shape()
        task, model = type(block.task), type(block.model)
        self._has = {
            "loss": True,
            "accuracy": block.task.has_accuracy(),
            "reference_loss": task.reference_losses is not Task.reference_losses,
        }
        self._has_entropy = model.has_softmax
        self._has_own_probes = task.probes is not Task.probes or model.probes is not Model.probes
        self._num_heads = program.num_heads
        self._length = task_shape.length
        self._targets: dict[int, _Targets] = {}

    @cached_property
    def _torch_engine(self) -> TorchEngine:
        return TorchEngine(self.block)

    def train(self, num_steps: int, slots: Sequence[int]) -> None:
        """Run `num_steps` optimiser steps on these slots; others are unchanged."""
        for count in self._examples.steps_at_once(num_steps, slots):
            self.program.train(self._arrays, self._selection(slots), count)

    def evaluate(self, num_items: int, slots: Sequence[int]) -> dict[str, Tensor]:
        """Mean loss, and accuracy and reference_loss where the task has them, (n,) each, at each slot's step."""
        parts = []
        for group in self._examples.held_out("label", num_items, slots, self.block.steps_S):
            found = torch.empty(len(group.slots), len(_SCORES), dtype=torch.float64)
            held_out = self._arguments.HeldOut(keys=group.keys, num_items=num_items)
            self.program.evaluate(self._arrays, self._selection(group.slots), held_out, found.data_ptr())
            parts.append(self._with_reference(found, group))
        return self._named(torch.cat(parts))

    @torch.no_grad()
    def _with_reference(self, found: Tensor, group: HeldOutGroup) -> Tensor:
        """Of examples that torch has drawn it computes the reference losses, too."""
        if group.batch is not None and self._has["reference_loss"]:
            losses = self.block.task.reference_losses(group.batch)
            assert losses is not None, "a task that overrides `reference_losses` gives them"
            found[:, _SCORES.index("reference_loss")] = losses.double().mean(1)[group.place_of]
        return found

    def probe(self, num_items: int, slots: Sequence[int]) -> dict[str, Tensor]:
        """Metric name -> (n,), on the items of step 0. What the program cannot measure is measured by torch."""
        if self._num_heads is None or self._has_own_probes:
            return self._torch_engine.probe(num_items, slots)
        targets = self._attention_targets(num_items)
        found = self._probe(num_items, slots, targets, None)
        metrics = {f"probe_{name}": value for name, value in self._named(found).items() if name != "reference_loss"}
        columns = found[:, len(_SCORES) :].unbind(1)
        for (layer, head), first in zip(self._heads(), range(0, len(columns), 1 + len(targets.num_asked)), strict=True):
            if self._has_entropy:
                metrics[f"attention_entropy.l{layer}h{head}"] = columns[first] / (num_items * self._length)
            for place, (name, num_asked) in enumerate(targets.num_asked.items(), first + 1):
                metrics[f"{name}.l{layer}h{head}"] = columns[place] / num_asked
        return metrics

    def _heads(self) -> list[tuple[int, int]]:
        """Layer and number of every head with an attention map that the program measures."""
        return [(layer, head) for layer, count in enumerate(self._num_heads or ()) for head in range(count)]

    def attention_maps(self, num_items: int, slots: Sequence[int]) -> list[Tensor]:
        """Per layer (n, num_items, H, L, L), on the items of step 0."""
        if self._num_heads is None:
            return self._torch_engine.attention_maps(num_items, slots)
        if not self._num_heads:
            return []
        shape = (len(slots), len(self._heads()), num_items, self._length, self._length)
        maps = torch.zeros(shape, dtype=self.block.dtype)
        self._probe(num_items, slots, _Targets.none(), maps)
        return [layer.transpose(1, 2).contiguous() for layer in torch.split(maps, list(self._num_heads), 1)]

    def _probe(self, num_items: int, slots: Sequence[int], targets: _Targets, values: Tensor | None) -> Tensor:
        """What the program finds, a row for each slot; maps of the items into `values`, where they are wanted."""
        num_masks = len(targets.num_asked)
        num_columns = len(_SCORES) + len(self._heads()) * (1 + num_masks)
        masks = Masks(count=num_masks, starts=targets.starts, places=targets.places, cells=targets.cells)
        parts: list[Tensor] = []
        for group in self._examples.held_out("probe", num_items, slots, torch.zeros_like(self.block.steps_S)):
            found = torch.empty(len(group.slots), num_columns, dtype=torch.float64)
            first = sum(map(len, parts))
            maps = Maps(
                num_items=0 if values is None else num_items,
                values=None if values is None else values[first : first + len(found)],
            )
            held_out = self._arguments.HeldOut(keys=group.keys, num_items=num_items)
            selection = self._selection(group.slots)
            self.program.probe(self._arrays, selection, held_out, masks, maps, found.data_ptr())
            parts.append(found)
        return torch.cat(parts)

    def _selection(self, slots: Sequence[int]) -> Arguments:
        rows = torch.tensor(slots, dtype=torch.int64)
        return Selection(slots=rows, count=len(slots), num_threads=self.block.threads)

    def _named(self, found: Tensor) -> dict[str, Tensor]:
        return {name: found[:, index] for index, name in enumerate(_SCORES) if self._has[name]}

    def _attention_targets(self, num_items: int) -> _Targets:
        """The task's attention targets on the statistics set, whose items are fixed; none without attention maps."""
        if not self._num_heads:
            return _Targets.none()
        if num_items not in self._targets:
            steps_S = torch.zeros(1, dtype=torch.int64)
            batch = self.block.sample("probe", steps_S, num_items, slots=[0])
            targets = self.block.task.attention_targets(batch)
            self._targets[num_items] = _Targets.of(
                {name: mask[0] for name, mask in targets.items()}, self.block.dtype, self.program.num_lanes
            )
        return self._targets[num_items]


def arrays_of(block: Slots, arguments: ProgramArguments, keys: list[Tensor]) -> Arguments:
    """The arrays of a block, and the `keys` of its examples, as a program's argument structure."""
    return arguments.Arrays(
        weights=block.weights_SP,
        moments=[block.state[name] for name in arguments.moments],
        scalars=[block.state[name] for name in arguments.scalars],
        steps=block.steps_S,
        **block.last,
        columns=[
            *(block.columns[name] for name in arguments.optimiser),
            *(block.schedule_columns[name] for name in arguments.schedule),
        ],
        task_vectors=[block.task_vectors[name] for name in arguments.task_vectors],
        keys=keys,
        noise=[block.keys[name] for name in arguments.noise],
    )
