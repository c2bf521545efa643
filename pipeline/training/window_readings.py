"""Readings of a pack's runs at the windows, computed in whole groups rather than whenever a run comes to a window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.arrays import Floats
from pipeline.engine.block import Block
from pipeline.engine.reader import Reader, suitable_readings
from pipeline.engine.slots import RunState, SlotArrays
from pipeline.spec.run_config import RunConfig
from pipeline.training.evaluation_plan import EvaluationPlan
from pipeline.training.isolation import apart

# A run's state a chunk before its reading at a step, and why that failed.
_Failure = tuple[RunState, int, str]


class _Pending(NamedTuple):
    """A run at a window, and the row of its weights there, (P,) with padding.

    `start` is what the slots held at the beginning of the chunk, in which it was in `slot`.
    """

    run_id: str
    step: int
    config: RunConfig
    weights_P: Tensor
    slot: int
    start: SlotArrays


class Read(NamedTuple):
    """Readings of N runs, at a step each: M metrics."""

    run_ids: list[str]
    steps: list[int]
    names: tuple[str, ...]
    values_NM: Floats


class WindowReadings:
    """Keeps the weights of runs that stand at a window until a group is full, since a group costs hardly more than one.

    The values are those that each run would have alone, whatever it is grouped with. `is_immediate`: a stopping rule
    decides by them, so they must be there at the evaluation.
    """

    def __init__(self, block: Block, names: Sequence[str], num_items: int, is_immediate: bool) -> None:
        self.block, self.is_immediate = block, is_immediate
        suitable = suitable_readings(names, block.template)
        self._reader = Reader(block.template, suitable, num_items) if suitable else None
        self._pending: list[_Pending] = []

    @property
    def has_any(self) -> bool:
        """Whether any of the readings can read these runs."""
        return self._reader is not None

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the names of their metrics begin with."""
        return () if self._reader is None else tuple(f"{name}." for name in self._reader.names)

    def take(
        self, run_ids: Sequence[str], configs: Sequence[RunConfig], slots: Sequence[int], start: SlotArrays
    ) -> None:
        """Keep the weights of these runs, which stand in these slots; `start` is what the slots held a chunk before."""
        chosen = torch.tensor(list(slots), device=self.block.device)
        rows_NP = self.block.weights_SP.detach().index_select(0, chosen).cpu()
        steps = self.block.steps_S.index_select(0, chosen).tolist()
        parts = zip(run_ids, steps, configs, rows_NP, slots, strict=True)
        self._pending += [_Pending(*part, start) for part in parts]

    def forget(self, run_id: str, step: int) -> None:
        """Drop what is kept of a run from after `step`."""
        self._pending = [run for run in self._pending if run.run_id != run_id or run.step <= step]

    def computed(self, is_last: bool) -> tuple[list[Read], dict[str, _Failure]]:
        """The readings of every full group of runs that are kept, and with `is_last` of all of them.

        Beside them run_id -> (its state a chunk before, step, cause) of the first reading of a run that raises.
        """
        found: list[Read] = []
        failed: dict[str, _Failure] = {}
        while self._reader is not None and len(self._pending) >= (1 if is_last else self._reader.group_runs):
            size = self._reader.group_runs
            group, self._pending = self._pending[:size], self._pending[size:]
            parts, causes = apart(partial(self._read, group), range(len(group)))
            found += [part for _, part in parts]
            for run, cause in ((group[place], cause) for place, cause in sorted(causes.items())):
                if run.run_id not in failed or run.step < failed[run.run_id][1]:
                    failed[run.run_id] = (self.block.state_in(run.start, run.slot), run.step, cause)
        return found, failed

    def _read(self, together: Sequence[_Pending], places: Sequence[int]) -> Read:
        assert self._reader is not None
        group = [together[place] for place in places]
        parameters = self.block.layout.views(torch.stack([run.weights_P for run in group]))
        found = self._reader.read(parameters, [run.config for run in group])
        values_NM = torch.stack(list(found.values()), 1).numpy()
        return Read([run.run_id for run in group], [run.step for run in group], tuple(found), values_NM)


def window_readings_of(evaluation_plan: EvaluationPlan, block: Block) -> WindowReadings:
    """The readings of the runs of a block, taken at once if the stopping rule decides by any of them."""
    needed = {metric.partition(".")[0] for metric in evaluation_plan.stopping.metrics_needed()}
    names = evaluation_plan.readings
    return WindowReadings(block, names, evaluation_plan.probe_items, is_immediate=not needed.isdisjoint(names))
