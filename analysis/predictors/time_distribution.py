"""From a score to the distribution of the step of convergence, with levels at which its quantiles are bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.predictors.base import Targets
from analysis.predictors.convergence_times import ConvergenceTimes
from analysis.predictors.logit import MAX_PROBABILITY, MIN_PROBABILITY
from analysis.predictors.shares import thresholds
from pipeline.arrays import Bools, Floats

TAIL = 0.1


@dataclass(frozen=True)
class IntervalLevels:
    """Levels whose quantiles of a distribution are the ends of its 90% interval of T := min(T, budget).

    Where P(converged) reaches `high`, the interval is from `low` to `high`, nominally 0.05 and 0.95. Elsewhere its high
    end is the budget, which is never exceeded, and all of the 10% is left to the other: `low_alone`, nominally 0.1.
    """

    low: float
    low_alone: float
    high: float

    @classmethod
    def of(cls, times: ConvergenceTimes, targets: Targets, weight_R: Floats) -> IntervalLevels:
        """The levels that hold on runs to which `times` was not fitted.

        Distributional conformal prediction (Chernozhukov, Wuethrich and Zhu 2021); that T := min(T, budget) is known of
        every run makes it valid. A low end is judged on runs with P(converged) of at least 10%, a high end on those
        with at least 95%: the bounds of the others are the budget whatever the level, and counting these would loosen
        the rest (Mondrian categories: Vovk, Gammerman and Shafer 2005, section 4.5). A level is never on the wrong side
        of 0.5; with too few runs to say it is 0 or infinite, so that there is no bound.
        """
        at_R, converges_R = times.by(targets.upper_R), times.by_RK[:, -1]
        has_low_R, has_high_R = converges_R >= TAIL, converges_R >= 1 - TAIL / 2
        low_R = np.where(targets.converged_R, at_R, np.inf)[has_low_R]
        high_R = np.where(targets.converged_R, at_R, converges_R)[has_high_R]
        low, low_alone = (-conformal_bound(-low_R, weight_R[has_low_R], 1 - tail) for tail in (TAIL / 2, TAIL))
        high = conformal_bound(high_R, weight_R[has_high_R], 1 - TAIL / 2)
        return cls(float(np.clip(low, 0.0, 0.5)), float(np.clip(low_alone, 0.0, 0.5)), max(high, 0.5))

    def interval_R3(self, times: ConvergenceTimes) -> Floats:
        """(R, 3) low end, median and high end of the step of convergence; infinite beyond the last step."""
        low_R, alone_R, median_R, high_R = map(times.quantile_R, (self.low, self.low_alone, 0.5, self.high))
        return np.stack([np.where(np.isfinite(high_R), low_R, alone_R), median_R, high_R], axis=1)


@dataclass(frozen=True)
class TimeDistribution:
    """P(T <= t | score) = 1 / (1 + exp(score * slope_K - intercept_K)) at K steps; a higher score means later.

    A logistic regression at every step: distribution regression (Foresi and Peracchi 1995; Chernozhukov,
    Fernandez-Val and Melly 2013, section 3). Unlike a log-logistic time model it lets the slope change with the step,
    so the last one, which is P(converged), is calibrated for itself. Each is fitted to held-out scores, with the
    targets of Platt (1999, Probabilistic outputs for support vector machines), which keep it finite where the scores
    separate the runs. Slopes are at least 0, so scores that go the wrong way give a constant. `start` is the last step
    by which no training run had converged.

    `levels` are those of the ends of a 90% interval.
    """

    start: float
    steps_K: Floats
    intercept_K: Floats
    slope_K: Floats
    levels: IntervalLevels

    @classmethod
    def fit(cls, score_R: Floats, targets: Targets, weight_R: Floats) -> TimeDistribution:
        """Fitted to scores that each come from a fit without the run; `weight_R` above 0 are numbers of copies."""
        converged_R = targets.converged_R
        upper_R = np.where(converged_R, targets.upper_R, np.inf)
        start, steps_K = thresholds(targets, weight_R)
        lines = [platt(-score_R, upper_R <= step, weight_R) for step in steps_K]
        intercept_K, slope_K = np.array(lines).T
        uncorrected = cls(start, steps_K, intercept_K, slope_K, IntervalLevels(TAIL / 2, TAIL, 1 - TAIL / 2))
        levels = IntervalLevels.of(uncorrected.times(score_R), targets, weight_R)
        return replace(uncorrected, levels=levels)

    def times(self, score_R: Floats) -> ConvergenceTimes:
        """The distribution of each run. Where the lines of two steps cross, the earlier step gets the later's value."""
        logit_RK = np.clip(self.intercept_K - score_R[:, None] * self.slope_K, -50, 50)
        by_RK = np.clip(1 / (1 + np.exp(-logit_RK)), MIN_PROBABILITY, MAX_PROBABILITY)
        by_RK = np.minimum.accumulate(by_RK[:, ::-1], axis=1)[:, ::-1]
        return ConvergenceTimes(self.start, self.steps_K, by_RK)


def platt(score_R: Floats, positive_R: Bools, weight_R: Floats) -> tuple[float, float]:
    """Intercept and slope (at least 0) of the logistic regression of the truth on a score, by Newton's method.

    With the targets (n+ + 1) / (n+ + 2) of positives and 1 / (n- + 2) of negatives (Platt 1999, eq. 10), which is what
    one more run of each kind, of unknown score, would leave to believe. Without a positive slope, the constant
    logit((n+ + 1) / (n+ + n- + 2)).

    >>> score_R = np.array([-1.0, 1.0])
    >>> [round(number, 6) for number in platt(score_R, np.array([False, True]), np.ones(2))]
    [0.0, 0.693147]
    """
    positives, negatives = float(weight_R[positive_R].sum()), float(weight_R[~positive_R].sum())
    target_R = np.where(positive_R, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    constant = float(np.log((positives + 1) / (negatives + 1)))
    mean = float(np.average(score_R, weights=weight_R))
    spread = float(np.sqrt(np.average((score_R - mean) ** 2, weights=weight_R)))
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return constant, 0.0
    standard_R = (score_R - mean) / spread
    line = np.array([constant, 0.0])
    for _ in range(100):
        chance_R = 1 / (1 + np.exp(-np.clip(line[0] + line[1] * standard_R, -50, 50)))
        residual_R, curvature_R = (
            weight_R * (target_R - chance_R),
            weight_R * np.maximum(chance_R * (1 - chance_R), 1e-9),
        )
        cross = float(curvature_R @ standard_R)
        curvature = np.array([[curvature_R.sum(), cross], [cross, curvature_R @ standard_R**2]])
        step = np.linalg.solve(curvature, np.array([residual_R.sum(), residual_R @ standard_R]))
        line = line + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    if line[1] <= 0:
        return constant, 0.0
    return float(line[0] - line[1] * mean / spread), float(line[1] / spread)


def conformal_bound(residual_R: Floats, weight_R: Floats, level: float) -> float:
    """The upper bound that a new residual keeps with probability `level`; infinite where there are too few.

    Split conformal prediction (Vovk, Gammerman and Shafer 2005) with weights (Tibshirani, Barber, Candes and Ramdas
    2019): the quantile of the residuals and of one more at infinity, which has the weight of one run.

    >>> conformal_bound(np.arange(1.0, 20.0), np.ones(19), 0.95), conformal_bound(np.arange(18.0), np.ones(18), 0.95)
    (19.0, inf)
    """
    order_R = np.argsort(residual_R, kind="stable")
    upto_R = np.cumsum(weight_R[order_R])
    place = int(np.searchsorted(upto_R, level * (weight_R.sum() + 1) - 1e-9))
    return float(residual_R[order_R[place]]) if place < len(order_R) else float("inf")
