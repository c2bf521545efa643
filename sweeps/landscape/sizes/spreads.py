"""Measures of the claims on self-averaging: how the spread of log time over seeds depends on the width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps
from analysis.dynamics.spread import SpreadBySize, spread_by_size
from analysis.outcomes.subsets import joined, some_runs
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History
from sweeps.landscape.measures import log_times
from sweeps.landscape.sizes.study import BASE_RATE, BASE_WIDTH, WIDTHS

# Evaluated every 25 steps, so that the times of wide models, which are short, are not rounded by much.
KEPT_ACCURACY_25 = Criterion("label_accuracy", at_least=0.99, evaluations=5)
_WIDTH, _RATE = "model.width", "optimiser.lr"
# How the learning rate goes with the width: not at all, or as its inverse.
ARMS = {"one rate": 0, "rate by 1/width": -1}


def spread_by_width(sweeps: Sweeps, arm: str, names: Sequence[str]) -> tuple[SpreadBySize, History]:
    """Of one of ARMS, over these sweeps together, with its runs. Late ones did not converge within the budget."""
    history = _of_arm(joined([sweeps[name].history for name in names]), ARMS[arm])
    log_time_R, is_late_R = log_times(history, criterion=KEPT_ACCURACY_25)
    width_R = np.array([float(run.hyperparameters[_WIDTH]) for run in history.runs])
    return spread_by_size(width_R, log_time_R, is_late_R, history.runs), history


def exponent_of_spread(sweeps: Sweeps, *, arm: str, names: Sequence[str] = (WIDTHS,)) -> Evidence:
    """Slope of the logarithm of the standard deviation of log time on that of the width."""
    found, history = spread_by_width(sweeps, arm, names)
    parts = zip(found.sizes, found.spreads, found.num_late, strict=True)
    shown = "; ".join(f"width {size:g}: {spread.text()}, {late} late" for size, spread, late in parts)
    return Evidence.of(found.exponent, history.runs, f"Standard deviation of log time at {shown}.")


def _of_arm(history: History, power: int) -> History:
    rate_R = np.array([float(run.hyperparameters[_RATE]) for run in history.runs])
    width_R = np.array([float(run.hyperparameters[_WIDTH]) for run in history.runs])
    return some_runs(history, np.isclose(rate_R, BASE_RATE * (width_R / BASE_WIDTH) ** power))
