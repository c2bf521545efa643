"""Inverse-probability-of-censoring weights: runs with an outcome, as a fair sample of all that were at risk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.outcomes.outcomes import CENSORED, Outcomes, at_risk, has_started
from analysis.outcomes.settings import setting_R
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import History

# A setting with as many runs at risk is weighted by itself; smaller ones are pooled.
SMALLEST_STRATUM = 20


@dataclass(frozen=True)
class CensoringCurve:
    """G(t): the probability to be watched past step t, after each of the steps at which the watching of some run ended.

    By Kaplan and Meier (1958) with the roles of event and censoring exchanged; at equal steps events come before
    censorings. Whatever ends a run is an event: convergence, divergence (its competitor), and the budget.
    """

    steps_T: Floats
    past_T: Floats

    @classmethod
    def of(cls, is_finished_R: Bools, time_R: Floats, copies_R: Floats) -> CensoringCurve:
        """The curve of runs that finished at, or were last seen at, `time_R`; each counts as `copies_R` runs."""
        steps_T, of_run_R = np.unique(time_R, return_inverse=True)
        num_finished_T = np.bincount(of_run_R, weights=is_finished_R * copies_R, minlength=len(steps_T))
        num_censored_T = np.bincount(of_run_R, weights=~is_finished_R * copies_R, minlength=len(steps_T))
        num_after_T = np.cumsum((num_finished_T + num_censored_T)[::-1])[::-1] - num_finished_T
        # The step at which the last run is censored leaves nobody, which sums that are not whole may miss by rounding.
        has_after_T = num_after_T > 1e-9
        lost_T = np.divide(num_censored_T, num_after_T, out=np.zeros(len(steps_T)), where=has_after_T)
        return cls(steps_T, np.cumprod(np.maximum(1 - lost_T, 0.0)))

    def past(self, step: Floats) -> Floats:
        """G(t) at each step."""
        return np.asarray(np.concatenate([[1.0], self.past_T])[np.searchsorted(self.steps_T, step, side="right")])

    def before(self, step: Floats) -> Floats:
        """G(t-) at each step: the probability to be watched to t."""
        return np.asarray(np.concatenate([[1.0], self.past_T])[np.searchsorted(self.steps_T, step, side="left")])


def censoring_weights(is_finished_R: Bools, time_R: Floats) -> Floats:
    """(R,) 1 / G(t-) for runs that finished at t, and 0 for those last seen at t; they add up to R at most.

    A finished run so stands for itself and for those like it that were not watched as long (Robins and Rotnitzky 1992;
    as weights of scores in Graf et al. 1999, section 3). The weighted share of converged runs is the Aalen-Johansen
    estimate at the last step.

    Rests on two assumptions: how long a run is watched tells nothing of what becomes of it (true of runs that start in
    waves, not of runs that a rule stops because of their losses), and some run is watched to the budget.

    >>> weight_R = censoring_weights(np.array([True, False, True, True]), np.array([100.0, 100.0, 200.0, 300.0]))
    >>> weight_R.round(9).tolist()
    [1.0, 0.0, 1.5, 1.5]
    """
    curve = CensoringCurve.of(is_finished_R, time_R, np.ones(len(time_R)))
    # Runs that finish after a step at which nobody was kept do not exist, so no finished run divides by 0.
    return np.where(is_finished_R, 1 / np.where(is_finished_R, curve.before(time_R), 1.0), 0.0)


@dataclass(frozen=True)
class RiskSet:
    """The runs at risk at a step, which of them have an outcome, and for how many runs each of these stands.

    `time_R` is the step of the outcome, or that to which a run without one was watched. Weights are made within each
    stratum of `stratum_R` (-1 outside the risk set): a setting with at least SMALLEST_STRATUM runs at risk, or all
    smaller settings together. So settings that train one after the other are not taken for one another. A stratum of
    which no run was watched to the budget says nothing about slow runs: none of its runs is in `known_R`, which marks
    the runs with an outcome and a weight. `copies_R` are the runs that each run stands for by the design of the sweep.
    """

    risk_R: Bools
    known_R: Bools
    weight_R: Floats
    time_R: Floats
    copies_R: Floats
    stratum_R: Ints
    curves: tuple[CensoringCurve, ...]
    num_finished: int

    @classmethod
    def of(
        cls, history: History, outcomes: Outcomes, last_step: int, use_R: Bools, copies_R: Floats | None = None
    ) -> RiskSet:
        """The set among the runs of `use_R`; nothing of any other run moves it.

        Without `copies_R` each run stands for itself; a run that stands for none is not in the set.
        """
        copies_R = np.ones(len(use_R)) if copies_R is None else np.asarray(copies_R, dtype=np.float64)
        time_R, has_outcome_R = watched_until(history, outcomes), outcomes.kind_R != CENSORED
        started_R = has_started(history.runs, last_step) & (copies_R > 0)
        risk_R = use_R & started_R & np.where(has_outcome_R, at_risk(outcomes, last_step), time_R > last_step)
        return cls.of_times(time_R, has_outcome_R, risk_R, copies_R, _strata(setting_R(history.runs), risk_R))

    @classmethod
    def of_times(
        cls, time_R: Floats, has_outcome_R: Bools, risk_R: Bools, copies_R: Floats, stratum_R: Ints
    ) -> RiskSet:
        """The set of the runs of `risk_R`, with these steps, outcomes or none, and strata."""
        known_R, weight_R, curves = np.zeros(len(time_R), dtype=bool), np.zeros(len(time_R)), []
        for stratum in range(int(stratum_R.max(initial=-1)) + 1):
            in_R = stratum_R == stratum
            curve = CensoringCurve.of(has_outcome_R[in_R], time_R[in_R], copies_R[in_R])
            ends_R = in_R & has_outcome_R
            weight_R[ends_R] = copies_R[ends_R] / curve.before(time_R[ends_R])
            curves.append(curve)
            # The weights add up to all that were watched unless the longest watched still trains.
            if weight_R[ends_R].sum() >= copies_R[in_R].sum() - 1e-6:
                known_R |= ends_R
        weight_R[~known_R] = 0.0
        num_finished = int((risk_R & has_outcome_R).sum())
        return cls(risk_R, known_R, weight_R, time_R, copies_R, stratum_R, tuple(curves), num_finished)

    @property
    def scorable_R(self) -> Bools:
        """(R,) True for the runs at risk of strata of which some run was watched to the budget."""
        whole = np.unique(self.stratum_R[self.known_R])
        return self.risk_R & np.isin(self.stratum_R, whole)

    @property
    def num_censored(self) -> int:
        """Number of runs at risk without an outcome."""
        return int(self.risk_R.sum()) - self.num_finished

    def watched_past(self, step_R: Floats) -> Floats:
        """(R,) G(t) of each run's stratum at a step of its own; 1 outside the risk set."""
        return self._of_strata([curve.past for curve in self.curves], step_R)

    def watched_before(self, step_R: Floats) -> Floats:
        """(R,) G(t-) of each run's stratum at a step of its own; 1 outside the risk set."""
        return self._of_strata([curve.before for curve in self.curves], step_R)

    def _of_strata(self, probabilities: Sequence[Callable[[Floats], Floats]], step_R: Floats) -> Floats:
        found_R = np.ones(len(step_R))
        for stratum, probability in enumerate(probabilities):
            in_R = self.stratum_R == stratum
            found_R[in_R] = probability(step_R[in_R])
        return found_R


def watched_until(history: History, outcomes: Outcomes) -> Floats:
    """(R,) the step of the outcome, or the last evaluation at which a censored run is known not to have converged.

    A criterion of several successive evaluations is confirmed after the fact: the last evaluations of a run that still
    trains may be the beginning of a streak, so it is watched to the evaluation before them. 0 without any.
    """
    is_seen_RT = np.isfinite(history.values[outcomes.criterion.metric])
    # The evaluation from which on as many were recorded as the criterion wants in succession.
    is_last_RT = is_seen_RT & (np.cumsum(is_seen_RT[:, ::-1], axis=1)[:, ::-1] == outcomes.criterion.evaluations)
    until_R = np.where(is_last_RT.any(axis=1), history.steps_T[is_last_RT.argmax(axis=1)], 0.0)
    return np.where(outcomes.kind_R == CENSORED, until_R, outcomes.upper_R)


def _strata(settings_R: np.ndarray, risk_R: Bools) -> Ints:
    stratum_R = np.full(len(risk_R), -1, dtype=np.int64)
    found, of_run_R, num_runs = np.unique(settings_R[risk_R], return_inverse=True, return_counts=True)
    is_own = num_runs >= SMALLEST_STRATUM
    # Numbers from 0 for the large settings, and the next one for all others.
    number = np.where(is_own, np.cumsum(is_own) - 1, is_own.sum())
    stratum_R[risk_R] = number[of_run_R] if len(found) else 0
    return stratum_R
