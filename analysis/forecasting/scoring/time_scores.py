"""Scores of forecasts of the time to convergence, with weights for censoring, vectorised over bootstrap weights.

Weights are (B, N) as in `scores`; a score is (B,), NaN where it is undefined. Divergence competes: a diverged run never
converges, so it outlives every converged one (Wolbers, Blanche, Koller, Witteman and Gerds 2014, section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.forecasting.scoring.scores import DECIMALS, ratio
from analysis.forecasting.scoring.seen_times import SeenTimes
from analysis.forecasting.scoring.time_pairs import TimePairs
from pipeline.arrays import Bools, Floats, Ints


def concordance(score_N: Floats, seen: SeenTimes, group_N: Ints, weight_BN: Floats, among_converged: bool) -> Floats:
    """Chance that of two runs of a group the one that converges earlier has the higher score; ties count half.

    Uno, Cai, Pencina, D'Agostino and Wei (2011, eq. 6) up to the budget: a pair counts where the earlier run converged
    and the other was watched past its time or diverged, by the inverse probability that a pair like it is seen. With
    `among_converged` both must have converged; then the pairs say nothing about who converges at all.
    """
    pairs, kind = TimePairs.of(seen, group_N), int(among_converged)
    weights = pairs.weights(weight_BN)
    return ratio(pairs.by(np.round(score_N, DECIMALS)).won_B(weights)[kind], pairs.everyone().won_B(weights)[kind])


def integrated_brier(by_NG: Floats, seen: SeenTimes, steps_G: Floats, weight_BN: Floats) -> Floats:
    """Mean over steps of the squared distance of P(converged by the step) and truth, 0 (best) to 1.

    Graf, Schmoor, Sauerbrei and Schumacher (1999, section 3): a run counts at a step if it had an outcome by then, by
    1 / G(T-), or was watched past it, by 1 / G(step); weights add up to 1 at every step. `by_NG` are the forecasts at
    `steps_G`, at least two; the trapezoid rule, in steps.
    """
    truth = StepTruth.of(seen, steps_G)
    return truth.integrated_B(truth.errors_NG(by_NG), weight_BN, truth.total_BG(weight_BN))


@dataclass(frozen=True)
class StepTruth:
    """What was seen of N runs by each of G steps: whether a run had converged, and the weight that it counts with."""

    steps_G: Floats
    converged_NG: Bools
    weight_NG: Floats

    @classmethod
    def of(cls, seen: SeenTimes, steps_G: Floats) -> StepTruth:
        """At increasing steps."""
        before_N1 = np.maximum(seen.watched_before(), 1e-12)[:, None]
        past_NG = seen.unconverged_N[:, None] | (seen.time_N[:, None] > steps_G)
        had_NG = ~past_NG & (seen.converged_N | seen.diverged_N)[:, None]
        past_by_NG = np.ones(past_NG.shape)
        for g, step in enumerate(steps_G.tolist()):
            past_by_NG[:, g] = np.maximum(seen.watched_past(step), 1e-12)
        weight_NG = np.where(had_NG, 1 / before_N1, 0.0) + np.where(past_NG, 1 / past_by_NG, 0.0)
        return cls(steps_G, had_NG & seen.converged_N[:, None], weight_NG)

    def total_BG(self, weight_BN: Floats) -> Floats:
        """(B, G) the weights of all runs at each step."""
        return weight_BN @ self.weight_NG

    def errors_NG(self, by_NG: Floats) -> Floats:
        """(N, G) the weighted squared error of each forecast."""
        return np.asarray(self.weight_NG * (by_NG - self.converged_NG) ** 2)

    def integrated_B(self, error_NG: Floats, weight_BN: Floats, total_BG: Floats) -> Floats:
        """(B,) the integrated Brier score of forecasts with these errors."""
        brier_BG = ratio(weight_BN @ error_NG, total_BG)
        return np.asarray(np.trapezoid(brier_BG, self.steps_G, axis=1) / (self.steps_G[-1] - self.steps_G[0]))


def coverage(interval_N3: Floats, time_N: Floats, converged_N: Bools, budget: float, weight_BN: Floats) -> Floats:
    """Share of runs whose min(time, budget) lies in the interval; `time_N` counts of converged runs alone."""
    capped_N = np.where(converged_N, time_N, budget)
    inside_N = (capped_N >= np.minimum(interval_N3[:, 0], budget)) & (capped_N <= interval_N3[:, 2])
    return ratio(weight_BN @ inside_N.astype(np.float64), weight_BN.sum(axis=1))
