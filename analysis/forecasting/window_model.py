"""What the finished runs of a sweep say at one window: the fitted forecaster of outcomes, times and reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.forecasting.censoring import RiskSet
from analysis.outcomes.least import MIN_FINISHED, MIN_OF_EACH
from analysis.outcomes.outcomes import CONVERGED, Outcomes
from analysis.predictors.base import Cases, Forecast, Targets
from analysis.predictors.ridge_time import FittedRidgeTime, RidgeTime
from pipeline.arrays import Bools, Floats
from pipeline.store.history import History


@dataclass(frozen=True)
class TrainingSet:
    """Who of a sweep can be learned from at one window, with censoring weights.

    `finished_R` marks runs that were at risk at the window's end and have an outcome and a weight; `weight_R` is their
    weight (0 of others). `num_left_out` others have an outcome, but no run of their setting was watched to the budget.
    """

    outcomes: Outcomes
    finished_R: Bools
    weight_R: Floats
    num_left_out: int

    @classmethod
    def of(
        cls, history: History, outcomes: Outcomes, last_step: int, use_R: Bools, copies_R: Floats | None = None
    ) -> TrainingSet:
        """The set among the runs of `use_R`; nothing of any other run moves it. `copies_R` as of `RiskSet.of`."""
        found = RiskSet.of(history, outcomes, last_step, use_R, copies_R)
        return cls(outcomes, found.known_R, found.weight_R, found.num_finished - int(found.known_R.sum()))

    @property
    def num_finished(self) -> int:
        """Number of runs to learn from."""
        return int(self.finished_R.sum())

    @property
    def num_converged(self) -> int:
        """Number of them that converged."""
        return int((self.finished_R & (self.outcomes.kind_R == CONVERGED)).sum())

    @property
    def problem(self) -> str:
        """Why nothing can be learned from these runs, in a sentence; empty where it can."""
        converged, others = self.num_converged, self.num_finished - self.num_converged
        if self.num_finished >= MIN_FINISHED and min(converged, others) >= MIN_OF_EACH:
            return ""
        if self.num_left_out and not self.num_finished:
            return "no run has been watched to the budget yet, so what becomes of slow ones is not known"
        left_out = (
            f"; {self.num_left_out} more are of settings of which no run has been watched to the budget yet"
            if self.num_left_out
            else ""
        )
        return (
            f"{self.num_finished} finished runs to learn from ({converged} converged, {others} did not); "
            f"a forecast needs {MIN_FINISHED}, {MIN_OF_EACH} of each{left_out}"
        )


@dataclass(frozen=True)
class WindowModel:
    """Forecasts from one window, fitted: outcomes, times and reasons of one distribution."""

    budget: int
    last_step: int
    fitted: FittedRidgeTime

    @classmethod
    def fit(cls, cases: Cases, training: TrainingSet, budget: int, last_step: int, prior: str = "") -> WindowModel:
        """Fitted to the finished runs of `training`, which must have no problem; `cases` are of the whole sweep.

        `prior` names the column that says what other sweeps make of these runs, if there is one.
        """
        use_R = training.finished_R
        targets = Targets.of(training.outcomes, budget, use_R)
        return cls(budget, last_step, RidgeTime(prior).fit(cases.rows(use_R), targets, training.weight_R[use_R]))

    def forecast(self, cases: Cases, standing_R: Floats | None = None) -> Forecast:
        """The forecast of each run; with `standing_R`, of runs that had no outcome by these steps."""
        return self.fitted.forecast(cases, standing_R)

    def steps_R3(self, forecast: Forecast, standing_R: Floats | None = None) -> Floats:
        """(R, 3) low end, median and high end (90%) of the step of convergence; infinite beyond the budget."""
        earliest_R = np.full(len(forecast.converged_R), float(self.last_step)) if standing_R is None else standing_R
        assert forecast.interval_R3 is not None
        return np.maximum(forecast.interval_R3, np.maximum(earliest_R, self.last_step)[:, None])

    def reasons(self, cases: Cases) -> list[tuple[str, ...]]:
        """Per run, the columns that move its P(converged) furthest from an average run's, in words, largest first."""
        return self.fitted.reasons(cases)
