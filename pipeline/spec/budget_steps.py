"""The steps that a budget fixes: evaluations, probes, windows and snapshots of the runs that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.spec.grid import Grid, window_steps
from pipeline.spec.sections import GridSpec, Snapshots


@dataclass(frozen=True)
class BudgetSteps:
    """When runs of one budget are evaluated, probed and kept; the same whatever the budgets of others.

    `windows` are (share of the budget, step) pairs, rounded to chunks as `pipeline.spec.grid.window_steps` says;
    `snapshots` maps "states", "weights" and "attention" to steps, defaults filled in.
    """

    budget: int
    grid: Grid
    windows: tuple[tuple[float, int], ...]
    snapshots: Mapping[str, tuple[int, ...]]

    @staticmethod
    def of(budget: int, largest: int, grid: GridSpec, shares: Sequence[float], snapshots: Snapshots) -> BudgetSteps:
        """Those of a sweep whose largest budget is `largest`. Raises ValueError (pydantic's) where they do not fit."""
        windows = window_steps(shares, grid.chunk, budget)
        kept = snapshots.resolved(grid.chunk, budget, tuple(step for _, step in windows), largest)
        return BudgetSteps(budget, grid.resolved(budget, largest), windows, kept)
