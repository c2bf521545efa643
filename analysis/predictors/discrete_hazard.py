"""Discrete-time hazards of convergence and divergence, by logistic regression on person-periods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.outcomes.outcomes import DIVERGED
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.convergence_times import ConvergenceTimes
from analysis.predictors.features import Features
from analysis.predictors.logit import Logit, choose_inverse_penalty
from analysis.predictors.shares import thresholds
from pipeline.arrays import Bools, Floats, Ints

NUM_PERIODS = 4
HAZARD_INVERSE_PENALTIES = (0.001, 0.01, 0.1)


class DiscreteHazard(Predictor):
    """Chances to converge or diverge in each of NUM_PERIODS periods, given neither before, from all columns.

    A run contributes a row for every period that it entered (Allison 1982; competing risks as in Tutz and Schmid 2016,
    chapter 8): periods differ by an intercept, effects of columns are the same in all. Periods end at steps by which
    about equal shares of the converged runs had converged. Inverse penalties are chosen among HAZARD_INVERSE_PENALTIES
    by the log score on held-out init seeds.
    """

    name: ClassVar[str] = "discrete_hazard"
    is_slow: ClassVar[bool] = True

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """Both regressions fitted to the cases and their targets. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        start, steps = thresholds(targets, weight_R)
        ends_K = steps[np.unique(np.linspace(0, len(steps) - 1, NUM_PERIODS + 1).round()[1:].astype(np.int64))]
        period_R = np.minimum(np.searchsorted(ends_K, targets.upper_R), len(ends_K) - 1)
        rows, period_N = _entered(period_R)
        features = _with_period(cases.columns, rows, period_N, len(ends_K))
        has_event_N = period_N == period_R[rows]
        hazards = [
            _hazard(features, has_event_N & is_kind_R[rows], weight_R[rows], cases.init_seed_R[rows])
            for is_kind_R in (targets.converged_R, targets.kind_R == DIVERGED)
        ]
        return FittedHazard(start, ends_K, *hazards)


@dataclass(frozen=True)
class FittedHazard:
    """The hazards in periods that end at `ends_K`."""

    start: float
    ends_K: Floats
    convergence: Logit
    divergence: Logit

    def forecast(self, cases: Cases) -> Forecast:
        """Cumulative incidences: the sum over periods of P(no event before) times the hazard."""
        left_R, converged_R, diverged_R = np.ones(len(cases)), np.zeros(len(cases)), np.zeros(len(cases))
        by_RK = np.empty((len(cases), len(self.ends_K)))
        for k in range(len(self.ends_K)):
            everyone = np.arange(len(cases))
            features = _with_period(cases.columns, everyone, np.full(len(cases), k), len(self.ends_K))
            converges_R, diverges_R = (hazard.probability_R(features) for hazard in (self.convergence, self.divergence))
            total_R = np.maximum(converges_R + diverges_R, 1.0)
            converged_R = converged_R + left_R * converges_R / total_R
            diverged_R = diverged_R + left_R * diverges_R / total_R
            left_R = np.maximum(1 - converged_R - diverged_R, 0.0)
            by_RK[:, k] = converged_R
        return Forecast(converged_R, diverged_R, ConvergenceTimes(self.start, self.ends_K, by_RK))


def _hazard(features: Features, has_event_N: Bools, weight_N: Floats, group_N: Ints) -> Logit:
    inverse_penalty = choose_inverse_penalty(features, has_event_N, weight_N, group_N, HAZARD_INVERSE_PENALTIES)
    return Logit.fit(features, has_event_N, weight_N, inverse_penalty)


def _entered(period_R: Ints) -> tuple[Ints, Ints]:
    """Rows and periods of every (run, period that it entered)."""
    rows = np.repeat(np.arange(len(period_R)), period_R + 1)
    first_R = np.concatenate([[0], np.cumsum(period_R + 1)[:-1]])
    return rows, np.arange(len(rows)) - first_R[rows]


def _with_period(features: Features, rows: Ints, period_N: Ints, num_periods: int) -> Features:
    is_in_NK: Bools = period_N[:, None] == np.arange(num_periods)
    names = tuple(f"period={k}" for k in range(num_periods))
    return Features(features.names_F, features.values_RF[rows]).beside(Features(names, is_in_NK.astype(np.float64)))
