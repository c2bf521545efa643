"""Readings of a pack's runs at the windows, computed in whole groups rather than whenever a run comes to a window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.engine.block import Block
from pipeline.engine.reader import Reader, suitable_readings
from pipeline.spec.run_config import RunConfig


@dataclass(frozen=True)
class _Pending:
    """A run at a window, and the row of its weights there, (P,) with padding."""

    run_id: str
    step: int
    config: RunConfig
    weights_P: Tensor


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

    def take(self, run_ids: Sequence[str], configs: Sequence[RunConfig], slots: Sequence[int]) -> None:
        """Keep the weights of these runs, which stand in these slots."""
        chosen = torch.tensor(list(slots), device=self.block.device)
        rows_NP = self.block.weights_SP.detach().index_select(0, chosen).cpu()
        steps = self.block.steps_S.index_select(0, chosen).tolist()
        parts = zip(run_ids, steps, configs, rows_NP, strict=True)
        self._pending += [_Pending(*part) for part in parts]

    def computed(self, is_last: bool) -> Iterator[tuple[str, int, dict[str, float]]]:
        """(run_id, step, metrics) of every full group of runs that are kept, and with `is_last` of all of them."""
        while self._reader is not None and len(self._pending) >= (1 if is_last else self._reader.group_runs):
            size = self._reader.group_runs
            group, self._pending = self._pending[:size], self._pending[size:]
            parameters = self.block.layout.views(torch.stack([run.weights_P for run in group]))
            found = self._reader.read(parameters, [run.config for run in group])
            rows = torch.stack(list(found.values()), 1).tolist()
            for run, row in zip(group, rows, strict=True):
                yield run.run_id, run.step, dict(zip(found, row, strict=True))
