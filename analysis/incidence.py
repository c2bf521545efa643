"""Cumulative incidence: the share of runs that converged, or diverged, by each step, with censoring accounted for.

Divergence competes with convergence: a diverged run will not converge, so it is an event, not a censoring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.outcomes import CONVERGED, DIVERGED, Bools, Outcomes
from pipeline.history import Floats, Ints


@dataclass(frozen=True)
class Incidence:
    """Aalen-Johansen curves of one group of runs, as right-continuous steps.

    At `steps_T` (which begins with 0): `converged_T` and `diverged_T` are the estimated probabilities, in [0, 1], to
    have converged or diverged by then; `low_T` and `high_T` the pointwise band of `converged_T`; `at_risk_T` the number
    of runs still without event and observed. The band is NaN with fewer than two init seeds, and has no width where
    every init seed did the same.
    """

    num_runs: int
    steps_T: Floats
    converged_T: Floats
    diverged_T: Floats
    low_T: Floats
    high_T: Floats
    at_risk_T: Ints


def incidence(
    outcomes: Outcomes, init_seed_R: Ints, member_R: Bools | None = None, *, bootstrap: int = 200, seed: int = 0
) -> Incidence:
    """Incidence over the runs of `member_R` (default: all), with a 95% band by resampling init seeds.

    Resampling whole init seeds (percentile bootstrap; Efron 1979) respects that runs of one init share their fate. An
    event counts from the first evaluation that shows it. No runs give curves of zeros with NaN bands.
    """
    member_R = np.ones(len(outcomes.kind_R), dtype=bool) if member_R is None else member_R
    time_R, kind_R = outcomes.upper_R[member_R], outcomes.kind_R[member_R]
    steps_T = np.unique(np.concatenate([[0.0], time_R]))
    # Converged at step 0 is an event at the first step, which the leading 0 already holds.
    counts = _Counts.of(time_R, kind_R, steps_T)
    one_1R = np.ones((1, len(time_R)))
    converged_1T, diverged_1T = counts.aalen_johansen(one_1R)
    low_T, high_T = _band(counts, init_seed_R[member_R], len(steps_T), bootstrap, seed)
    at_risk_T = counts.at_risk_RT.sum(axis=0).astype(np.int64)
    return Incidence(len(time_R), steps_T, converged_1T[0], diverged_1T[0], low_T, high_T, at_risk_T)


def resampled_weights(cluster_R: Ints, bootstrap: int, seed: int) -> Floats:
    """(B, R) times that each run is drawn when whole clusters are drawn with replacement, `bootstrap` times."""
    clusters_C, cluster_index_R = np.unique(cluster_R, return_inverse=True)
    num_clusters = len(clusters_C)
    draws_BC = np.random.default_rng(seed).multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), bootstrap)
    return np.asarray(draws_BC[:, cluster_index_R], dtype=np.float64)


@dataclass(frozen=True)
class _Counts:
    """Who had which event at, and who was at risk just before, each step; (R, T) of 0 and 1."""

    converged_RT: Floats
    diverged_RT: Floats
    at_risk_RT: Floats

    @classmethod
    def of(cls, time_R: Floats, kind_R: np.ndarray, steps_T: Floats) -> _Counts:
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


def _band(counts: _Counts, init_seed_R: Ints, num_steps: int, bootstrap: int, seed: int) -> tuple[Floats, Floats]:
    if len(np.unique(init_seed_R)) < 2 or bootstrap < 2:
        return np.full(num_steps, np.nan), np.full(num_steps, np.nan)
    converged_BT, _ = counts.aalen_johansen(resampled_weights(init_seed_R, bootstrap, seed))
    low_T, high_T = np.quantile(converged_BT, [0.025, 0.975], axis=0)
    return low_T, high_T
