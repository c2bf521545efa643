"""History: what a sweep recorded, metric x run x step, and the window that statistics are given.

Needs numpy alone. Metrics whose name begins with `label_` were measured on the label set and exist for outcomes only;
a `Window` never carries them, so no statistic can read the data that outcomes are judged on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline.arrays import Floats, Ints

LABEL_PREFIX = "label_"
# One for all of a million runs, and never changed.
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is fixed about a run before it starts.

    `hyperparameters` maps dotted path -> value for every leaf of the run's config except seeds, e.g.
    {"task.name": "dictionary_lookup", "model.head_width": 4, "optimiser.lr": 0.003}; `varied` names those that differ
    inside the sweep. `setting_id` is shared by runs that differ by seeds alone. `parent` and `fork_step`
    are None unless the run is a fork. `taken` maps parameters to the runs that a fork took them from.
    """

    run_id: str
    setting_id: str
    init_seed: int
    data_seed: int
    hyperparameters: Mapping[str, Any]
    parent: str | None = None
    fork_step: int | None = None
    taken: Mapping[str, str] = field(default_factory=dict)


def run_info(plan: Mapping[str, Any], row: Mapping[str, Any]) -> RunInfo:
    """`RunInfo` from a run's row in the plan."""
    return RunInfo(
        run_id=row["run_id"],
        setting_id=row["setting_id"],
        init_seed=row["init_seed"],
        data_seed=row["data_seed"],
        hyperparameters=plan["settings"][row["setting_id"]],
        parent=row.get("parent"),
        fork_step=row.get("fork_step"),
        taken=row.get("changes", _NOTHING).get("weights", _NOTHING),
    )


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended. `reason`: budget, converged (stopped some evaluations after), diverged, stopped, failed by an
    error, or running.

    `step` is the last step it reached. Convergence is decided from the history, not from this.
    """

    reason: str
    step: int


@dataclass(frozen=True)
class History:
    """All recorded values of a sweep's runs: `values[metric]` is (R, T) over `steps_T`, NaN where nothing was recorded.

    All runs have one budget: a sweep of several has a history for each, so that a window is the same share for all.
    `budget` and `steps_T` count a run's own optimiser steps. Arrays are read-only. `ends[r]` belongs to `runs[r]`.
    `windows` are the (share of the budget, step) pairs that the sweep declared, each step the end of a chunk.
    `readings` names the metrics that were read from weights at these steps alone, and so are no curves.
    `extra_compute` maps a step to what the metrics there cost beyond training the runs, as a share of training a whole
    run: that of look-aheads.
    """

    name: str
    budget: int
    runs: tuple[RunInfo, ...]
    ends: tuple[RunEnd, ...]
    steps_T: Ints
    values: Mapping[str, Floats]
    varied: tuple[str, ...] = ()
    windows: tuple[tuple[float, int], ...] = ()
    readings: frozenset[str] = frozenset()
    extra_compute: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.runs), len(self.steps_T))
        wrong = [name for name, array in self.values.items() if array.shape != shape]
        if wrong or len(self.ends) != len(self.runs):
            raise ValueError(f"history {self.name!r}: arrays must be (R, T) = {shape}; wrong: {wrong or 'ends'}")
        if np.any(np.diff(self.steps_T) <= 0):
            raise ValueError(f"history {self.name!r}: steps_T must increase")
        for array in (self.steps_T, *self.values.values()):
            array.setflags(write=False)

    def window_step(self, fraction: float) -> int:
        """The last step of a window: that of the declared window of this share, else the share of the budget.

        Raises ValueError unless `fraction` is in [0, 1].
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"window must be in [0, 1], got {fraction}")
        declared = (step for share, step in self.windows if abs(share - fraction) < 1e-9)
        return next(declared, int(np.floor(fraction * self.budget + 1e-9)))

    def window(self, fraction: float) -> Window:
        """The first `fraction` of the budget, as copies: nothing after it, no label metric, no run ends.

        It ends at `window_step(fraction)`; that of 0 holds the initialisation alone. Raises ValueError as that does.
        """
        last_step = self.window_step(fraction)
        keep_T = self.steps_T <= last_step
        values = {
            name: np.ascontiguousarray(array[:, keep_T])
            for name, array in self.values.items()
            if not name.startswith(LABEL_PREFIX)
        }
        steps_T, readings = self.steps_T[keep_T].copy(), self.readings & values.keys()
        extra = sum(share for step, share in self.extra_compute.items() if step <= last_step)
        return Window(fraction, last_step, self.budget, self.runs, steps_T, values, self.varied, readings, extra)


def filled(history: History, row_N: Ints, step_N: Ints, columns: Mapping[str, Floats]) -> History:
    """The history with N values of each metric at these runs (places in `runs`) and steps, where it has none itself.

    What it has stays. NaN is no value. Steps at which nothing was recorded are added.
    """
    steps_T = np.union1d(history.steps_T, step_N)
    kept_T, column_N = np.searchsorted(steps_T, history.steps_T), np.searchsorted(steps_T, step_N)
    values: dict[str, Floats] = {}
    dtype = next((array.dtype for array in history.values.values()), np.dtype(np.float64))
    for name in dict.fromkeys((*history.values, *columns)):
        values[name] = np.full((len(history.runs), len(steps_T)), np.nan, dtype)
        if name in history.values:
            values[name][:, kept_T] = history.values[name]
        if name in columns:
            use_N = np.isnan(values[name][row_N, column_N]) & ~np.isnan(columns[name])
            values[name][row_N[use_N], column_N[use_N]] = columns[name][use_N]
    return replace(history, steps_T=steps_T, values=values)


@dataclass(frozen=True)
class Window:
    """The early part of a history, the only input of a statistic. Shapes as in `History`.

    `extra_compute` is what its metrics cost beyond training the runs, as a share of training a whole run.
    """

    fraction: float
    last_step: int
    budget: int
    runs: tuple[RunInfo, ...]
    steps_T: Ints
    values: Mapping[str, Floats]
    varied: tuple[str, ...] = ()
    readings: frozenset[str] = frozenset()
    extra_compute: float = 0.0

    @property
    def curves(self) -> Mapping[str, Floats]:
        """The metrics that were measured all along; a reading is taken at the ends of windows alone."""
        return {metric: array for metric, array in self.values.items() if metric not in self.readings}

    def recorded(self, metric: str) -> tuple[Ints, Floats]:
        """Steps at which any run recorded `metric`, and its (R, T') values there. Empty when it never was."""
        if metric not in self.values:
            return self.steps_T[:0], np.empty((len(self.runs), 0))
        array = self.values[metric]
        seen_T = ~np.all(np.isnan(array), axis=0)
        return self.steps_T[seen_T], array[:, seen_T]
