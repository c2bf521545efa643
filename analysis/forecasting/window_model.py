"""What the finished runs of a sweep say at one window: the fitted forecaster of outcomes, times and reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.forecasting.censoring import censoring_weights, watched_until
from analysis.outcomes.outcomes import CENSORED, CONVERGED, Outcomes, at_risk, has_started
from analysis.predictors.base import Cases, Forecast, Targets
from analysis.predictors.ridge_time import FittedRidgeTime, RidgeTime
from pipeline.arrays import Bools, Floats
from pipeline.store.history import History

MIN_FINISHED, MIN_OF_EACH = 20, 5


@dataclass(frozen=True)
class TrainingSet:
    """Who of a sweep can be learned from at one window, with censoring weights.

    `finished_R` marks runs that were at risk at the window's end and have an outcome, `weight_R` is their weight (0 of
    others); `num_watched` counts these and the runs that still train beyond the window.
    """

    outcomes: Outcomes
    finished_R: Bools
    weight_R: Floats
    num_watched: int

    @classmethod
    def of(cls, history: History, outcomes: Outcomes, last_step: int, use_R: Bools) -> TrainingSet:
        """The set among the runs of `use_R`; nothing of any other run moves it."""
        time_R, is_known_R = watched_until(history, outcomes), outcomes.kind_R != CENSORED
        started_R = has_started(history.runs, last_step)
        risk_R = use_R & started_R & np.where(is_known_R, at_risk(outcomes, last_step), time_R > last_step)
        weight_R = np.zeros(len(use_R))
        weight_R[risk_R] = censoring_weights(is_known_R[risk_R], time_R[risk_R])
        return cls(outcomes, risk_R & is_known_R, weight_R, int(risk_R.sum()))

    @property
    def num_finished(self) -> int:
        """Number of runs with an outcome."""
        return int(self.finished_R.sum())

    @property
    def num_converged(self) -> int:
        """Number of them that converged."""
        return int((self.finished_R & (self.outcomes.kind_R == CONVERGED)).sum())

    @property
    def problem(self) -> str:
        """Why nothing can be learned from these runs, in a sentence; empty where it can."""
        converged, others = self.num_converged, self.num_finished - self.num_converged
        if self.num_finished < MIN_FINISHED or min(converged, others) < MIN_OF_EACH:
            return (
                f"{self.num_finished} finished runs to learn from ({converged} converged, {others} did not); "
                f"a forecast needs {MIN_FINISHED}, {MIN_OF_EACH} of each"
            )
        # The weights of the finished runs add up to all that were watched unless the longest watched still trains.
        if self.weight_R.sum() < self.num_watched - 1e-6:
            return "no run has been watched to the budget yet, so what becomes of slow ones is not known"
        return ""


@dataclass(frozen=True)
class WindowModel:
    """Forecasts from one window, fitted: outcomes, times and reasons of one distribution."""

    budget: int
    last_step: int
    fitted: FittedRidgeTime

    @classmethod
    def fit(cls, cases: Cases, training: TrainingSet, budget: int, last_step: int) -> WindowModel:
        """Fitted to the finished runs of `training`, which must have no problem; `cases` are of the whole sweep."""
        use_R = training.finished_R
        targets = Targets.of(training.outcomes, budget, use_R)
        return cls(budget, last_step, RidgeTime().fit(cases.rows(use_R), targets, training.weight_R[use_R]))

    def forecast(self, cases: Cases, standing_R: Floats | None = None) -> Forecast:
        """The forecast of each run; with `standing_R`, of runs that had no outcome by these steps."""
        return self.fitted.forecast(cases, standing_R)

    def steps_R3(self, forecast: Forecast, standing_R: Floats | None = None) -> Floats:
        """(R, 3) low end, median and high end (90%) of the step of convergence; infinite beyond the budget."""
        earliest_R = np.full(len(forecast.converged_R), float(self.last_step)) if standing_R is None else standing_R
        return np.maximum(self.fitted.steps_R3(forecast), np.maximum(earliest_R, self.last_step)[:, None])

    def reasons(self, cases: Cases) -> list[tuple[str, ...]]:
        """Per run, the columns that move its P(converged) furthest from an average run's, in words, largest first."""
        return self.fitted.reasons(cases)
