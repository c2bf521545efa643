"""Shares of training runs that converged by each step, overall and per setting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.predictors.base import Cases, Rates, Targets
from analysis.predictors.convergence_times import ConvergenceTimes
from analysis.predictors.features import weighted_quantiles
from pipeline.arrays import Floats, Texts

MAX_THRESHOLDS = 12


def thresholds(targets: Targets, weight_R: Floats) -> tuple[float, Floats]:
    """The last step by which no run had converged; at most MAX_THRESHOLDS steps at which runs did, and the last of all.

    Without a converged run 0, and the budget alone.
    """
    converged_R = targets.converged_R
    if not converged_R.any():
        return 0.0, np.array([float(targets.budget)])
    steps_R = targets.upper_R[converged_R]
    found = np.unique(steps_R)
    if len(found) > MAX_THRESHOLDS:
        levels = np.linspace(0, 1, MAX_THRESHOLDS + 1)[1:].tolist()
        chosen = np.concatenate(weighted_quantiles(steps_R[:, None], weight_R[converged_R], levels))
        # Quantiles may lie between steps: then the next step at which some run converged.
        found = np.unique(found[np.minimum(np.searchsorted(found, chosen), len(found) - 1)])
    return float(targets.lower_R[converged_R].min()), found.astype(np.float64)


@dataclass(frozen=True)
class SharesByStep:
    """Share of runs that converged by each of K steps, overall and per setting: `rates_K[k]` are those by `steps_K[k]`.

    With whole weights these are Kaplan-Meier estimates; with censoring weights, Aalen-Johansen ones.
    """

    start: float
    steps_K: Floats
    rates_K: tuple[Rates, ...]

    @classmethod
    def of(cls, cases: Cases, targets: Targets, weight_R: Floats, pseudo_count: float) -> SharesByStep:
        """Shares of the training runs, per setting shrunk towards those overall as in `Rates`."""
        start, steps_K = thresholds(targets, weight_R)
        by_step = [targets.converged_R & (targets.upper_R <= step) for step in steps_K]
        rates = (Rates.of(by_R, cases.setting_R, weight_R, pseudo_count) for by_R in by_step)
        return cls(start, steps_K, tuple(rates))

    def at(self, setting_R: Texts) -> ConvergenceTimes:
        """Of each run, the shares of its setting."""
        return ConvergenceTimes(
            self.start, self.steps_K, np.stack([rates.at(setting_R) for rates in self.rates_K], axis=1)
        )

    def overall(self, num_runs: int) -> ConvergenceTimes:
        """The shares over all settings, for each of so many runs."""
        by_K = np.array([rates.overall for rates in self.rates_K])
        return ConvergenceTimes(self.start, self.steps_K, np.tile(by_K, (num_runs, 1)))
