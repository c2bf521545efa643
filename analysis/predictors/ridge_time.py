"""Ridge regression on log time to convergence; the primary predictor of outcomes and of times alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from analysis.predictors.base import Cases, DivergenceModel, Forecast, Predictor, Targets, weighted_cases
from analysis.predictors.ridge import Ridge
from analysis.predictors.time_distribution import TimeDistribution
from pipeline.arrays import Floats

# The time, in budgets, at which a run counts that does not converge within its budget.
NEVER = 1.15
NUM_REASONS = 3


class RidgeTime(Predictor):
    """P(converged by a step), from a ridge regression of log time on all statistics and hyperparameters.

    The regression predicts log min(T, 1.15 budgets), where T is infinite for a run that did not converge, diverged
    ones included; its penalty is chosen on held-out init seeds. Its predictions of runs with held-out init seeds are
    then mapped to probabilities, step by step (see `TimeDistribution`). So P(converged), the median and the interval
    of the time are read from one distribution, and P(converged) is above one half where the median is within the
    budget. A column named `prior`, what other runs say of these, is almost exempt from the penalty: few runs suffice to
    weigh it, and the more there are, the more of the others' columns come to bear.
    """

    name: ClassVar[str] = "ridge_time"

    def __init__(self, prior: str = "") -> None:
        self.prior = prior

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> FittedRidgeTime:
        """Both regressions fitted to the cases and their targets. Raises ValueError when there are no cases."""
        cases, targets, weight_R = weighted_cases(cases, targets, weight_R)
        log_R = log_time(targets)
        ridge, held_out_R = Ridge.fit(cases.columns, log_R, weight_R, cases.init_seed_R, self.prior)
        distribution = TimeDistribution.fit(held_out_R, targets, weight_R)
        return FittedRidgeTime(ridge, distribution, DivergenceModel.of(cases, targets, weight_R))


def log_time(targets: Targets) -> Floats:
    """(R,) log min(T, NEVER budgets) of each run; a run that did not converge counts as NEVER budgets."""
    return np.log(np.maximum(np.where(targets.converged_R, targets.upper_R, NEVER * targets.budget), 1.0))


@dataclass(frozen=True)
class FittedRidgeTime:
    """The fitted regressions."""

    ridge: Ridge
    distribution: TimeDistribution
    divergence: DivergenceModel

    def forecast(self, cases: Cases, after_R: Floats | None = None) -> Forecast:
        """Forecasts from the cases' statistics and hyperparameters; NaN counts as the training median.

        With `after_R`, of runs that are known to have neither converged nor diverged by these steps.
        """
        times = self.distribution.times(self.ridge.predict_R(cases.columns))
        times = times if after_R is None else times.given_not_by(after_R)
        forecast = self.divergence.forecast(times.by_RK[:, -1], cases, times)
        return replace(forecast, interval_R3=self.distribution.levels.interval_R3(times))

    def reasons(self, cases: Cases) -> list[tuple[str, ...]]:
        """Per run, the columns that move its P(converged) furthest from an average run's, in words, largest first."""
        scaled_RF = self.ridge.scaled_RF(cases.columns)
        # A higher predicted time lowers the probability.
        return [self._reasons(scaled_F, -scaled_F * self.ridge.weight_F) for scaled_F in scaled_RF]

    def _reasons(self, scaled_F: Floats, share_F: Floats) -> tuple[str, ...]:
        largest = [f for f in np.argsort(-np.abs(share_F), kind="stable")[:NUM_REASONS] if share_F[f]]
        return tuple(
            f"{'high' if scaled_F[f] > 0 else 'low'} {self.ridge.names_F[f]} "
            f"{'raises' if share_F[f] > 0 else 'lowers'} it"
            for f in largest
        )
