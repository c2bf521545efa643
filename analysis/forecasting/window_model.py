"""What the finished runs of a sweep say at one window: the fitted forecaster of outcomes, times and reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.forecasting.censoring import censoring_weights, watched_until
from analysis.forecasting.times import NEVER, TimeModel
from analysis.outcomes.outcomes import CENSORED, CONVERGED, Outcomes, at_risk, has_started
from analysis.predictors.base import Cases
from analysis.predictors.logistic import FittedLogistic, Logistic, all_columns
from pipeline.arrays import Bools, Floats
from pipeline.store.history import History

MIN_FINISHED, MIN_OF_EACH = 20, 5
NUM_REASONS = 3


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
    """Forecasts from one window, fitted: outcomes by logistic regression, times by ridge regression."""

    budget: int
    last_step: int
    outcome: FittedLogistic
    time: TimeModel

    @classmethod
    def fit(cls, cases: Cases, training: TrainingSet, budget: int, last_step: int) -> WindowModel:
        """Fitted to the finished runs of `training`, which must have no problem; `cases` are of the whole sweep."""
        use_R = training.finished_R
        kind_R, weight_R, chosen = training.outcomes.kind_R[use_R], training.weight_R[use_R], cases.rows(use_R)
        time_R = np.where(kind_R == CONVERGED, training.outcomes.upper_R[use_R], NEVER * budget)
        times = TimeModel.fit(all_columns(chosen), time_R, weight_R, chosen.init_seed_R)
        return cls(budget, last_step, Logistic().fit(chosen, kind_R, weight_R), times)

    def steps_R3(self, cases: Cases) -> Floats:
        """(R, 3) low end, median and high end of the step of convergence; infinite beyond the budget."""
        steps_R3 = np.maximum(self.time.steps_R3(all_columns(cases)), self.last_step)
        return np.where(steps_R3 > self.budget, np.inf, steps_R3)

    def reasons(self, cases: Cases) -> list[tuple[str, ...]]:
        """Per run, the columns that move its P(converged) furthest from an average run's, in words, largest first."""
        logit = self.outcome.logit
        scaled_RF = logit.scaler.apply(all_columns(cases).named(logit.names_F).values_RF)
        return [self._reasons(scaled_F, scaled_F * logit.weight_F) for scaled_F in scaled_RF]

    def _reasons(self, scaled_F: Floats, share_F: Floats) -> tuple[str, ...]:
        largest = [f for f in np.argsort(-np.abs(share_F), kind="stable")[:NUM_REASONS] if share_F[f]]
        return tuple(
            f"{'high' if scaled_F[f] > 0 else 'low'} {self.outcome.logit.names_F[f]} "
            f"{'raises' if share_F[f] > 0 else 'lowers'} it"
            for f in largest
        )
