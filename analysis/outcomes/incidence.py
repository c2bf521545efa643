"""Aalen-Johansen cumulative incidence of convergence and divergence, with bootstrap bands.

Divergence competes with convergence: a diverged run will not converge, so it is an event, not a censoring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.outcomes.outcomes import CENSORED, CONVERGED, DIVERGED, Outcomes
from analysis.uncertainty.intervals import proportion_from_bootstrap
from analysis.uncertainty.resampling import Resamples, resample
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import RunInfo


@dataclass(frozen=True)
class Incidence:
    """Aalen-Johansen curves of one group of runs, as right-continuous steps.

    At `steps_T` (which begins with 0): `converged_T` and `diverged_T` are the estimated probabilities, in [0, 1], to
    have converged or diverged by then; `low_T` and `high_T` the pointwise band of `converged_T`; `at_risk_T` the number
    of runs still without event and observed, at least 1 at the last step. `unit` says in the plural what the band
    resampled. The band is NaN where nothing could be resampled, and a Wilson band where all resamples agree.
    `is_weighted`: some runs stand for others.
    """

    num_runs: int
    steps_T: Floats
    converged_T: Floats
    diverged_T: Floats
    low_T: Floats
    high_T: Floats
    at_risk_T: Ints
    unit: str
    is_weighted: bool = False


def incidence(
    outcomes: Outcomes,
    runs: tuple[RunInfo, ...],
    member_R: Bools | None = None,
    *,
    copies_R: Floats | None = None,
    bootstrap: int = 200,
    seed: int = 0,
) -> Incidence:
    """Incidence over the runs of `member_R` (default: all), with a 95% band by resampling what `resample` finds.

    `copies_R` says how many runs each run stands for, 1 by default; one that stands for none is left out.

    Resampling whole groups (percentile bootstrap; Efron 1979) respects that runs of one seed share their fate. An
    event counts from the first evaluation that shows it. No runs give curves of zeros with NaN bands.

    >>> from pipeline.spec.criterion import Criterion
    >>> runs = tuple(RunInfo(f"run-{seed}", "setting", seed, seed, {}) for seed in range(4))
    >>> kind_R, step_R = np.array([CONVERGED, CONVERGED, CENSORED, DIVERGED]), np.array([100.0, 300.0, 100.0, 200.0])
    >>> curves = incidence(Outcomes(Criterion(at_most=0.02), kind_R, step_R, step_R), runs)
    >>> curves.steps_T.tolist(), curves.converged_T.tolist()
    ([0.0, 100.0, 200.0, 300.0], [0.0, 0.25, 0.25, 0.625])
    """
    copies_R = np.ones(len(outcomes.kind_R)) if copies_R is None else copies_R
    member_R = (copies_R > 0) if member_R is None else member_R & (copies_R > 0)
    resamples = resample([runs[r] for r in np.flatnonzero(member_R)], bootstrap, seed)
    time_R, kind_R = outcomes.upper_R[member_R], outcomes.kind_R[member_R]
    steps_T = np.unique(np.concatenate([[0.0], time_R]))
    # Converged at step 0 is an event at the first step, which the leading 0 already holds.
    counts = EventCounts.of(time_R, kind_R, steps_T)
    converged_1T, diverged_1T = counts.aalen_johansen(copies_R[None, member_R])
    num_followed_T = (~((kind_R == CENSORED)[:, None] & (time_R[:, None] < steps_T))).sum(axis=0)
    low_T, high_T = _band(counts, resamples, copies_R[member_R], num_followed_T)
    at_risk_T = counts.at_risk_RT.sum(axis=0).astype(np.int64)
    is_weighted = bool(np.any(copies_R[member_R] != 1))
    return Incidence(
        len(time_R), steps_T, converged_1T[0], diverged_1T[0], low_T, high_T, at_risk_T, resamples.unit, is_weighted
    )


@dataclass(frozen=True)
class EventCounts:
    """Who had which event at, and who was at risk just before, each step; (R, T) of 0 and 1."""

    converged_RT: Floats
    diverged_RT: Floats
    at_risk_RT: Floats

    @classmethod
    def of(cls, time_R: Floats, kind_R: np.ndarray, steps_T: Floats) -> EventCounts:
        """Of runs with these outcomes at these times, at increasing steps."""
        now_RT = time_R[:, None] == steps_T
        return cls(
            (now_RT & (kind_R == CONVERGED)[:, None]).astype(np.float64),
            (now_RT & (kind_R == DIVERGED)[:, None]).astype(np.float64),
            (time_R[:, None] >= steps_T).astype(np.float64),
        )

    def aalen_johansen(self, weight_BR: Floats) -> tuple[Floats, Floats]:
        """(B, T) incidence of convergence and of divergence under run weights; constant once nobody is at risk.

        Aalen and Johansen (1978); as in Putter, Fiocco and Geskus (2007), eq. 8: I_k(t) = sum S(t-) d_k / n.
        """
        at_risk_BT = weight_BR @ self.at_risk_RT
        safe_BT = np.where(at_risk_BT > 0, at_risk_BT, 1.0)
        converged_BT, diverged_BT = weight_BR @ self.converged_RT / safe_BT, weight_BR @ self.diverged_RT / safe_BT
        survival_BT = np.cumprod(1 - converged_BT - diverged_BT, axis=1)
        before_BT = np.concatenate([np.ones((len(weight_BR), 1)), survival_BT[:, :-1]], axis=1)
        return np.cumsum(before_BT * converged_BT, axis=1), np.cumsum(before_BT * diverged_BT, axis=1)


def _band(counts: EventCounts, resamples: Resamples, copies_R: Floats, num_followed_T: Ints) -> tuple[Floats, Floats]:
    weight_BR = resamples.with_estimate() * copies_R
    converged_BT, _ = counts.aalen_johansen(weight_BR)
    # A resample may draw no run at all of a crossed design.
    converged_BT[weight_BR.sum(axis=1) == 0] = np.nan
    if len(converged_BT) < 2:
        return np.full(len(num_followed_T), np.nan), np.full(len(num_followed_T), np.nan)
    # Runs censored before a step say nothing about it, so an interval there rests on no more than the others.
    num_units_T = np.minimum(num_followed_T, resamples.num_units)
    band = [proportion_from_bootstrap(converged_BT[:, t], num_units_T[t]) for t in range(len(num_units_T))]
    return np.array([share.low for share in band]), np.array([share.high for share in band])
