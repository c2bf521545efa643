"""The four phases in which softmax attention learns a rare feature (Huang, Cheng and Liang 2024).

For a rare feature k beside a dominant feature 1, A_k = v_k' Q v_k and B_{k,1} = v_1' Q v_k, both 0 at the start. First
B falls; then A takes over; A grows to about log K; attention and error converge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.dynamics.stages import crossed_for_good
from pipeline.arrays import Bools, Floats, Ints
from pipeline.spec.criterion import Criterion


@dataclass(frozen=True)
class FeaturePhases:
    """The recorded steps at which the phases of each run's features end; NaN where a phase is absent or unfinished.

    `swap_RK`: the rise of A overtakes the fall of B. `taken_over_RK`: A has risen as far as B has fallen.
    `grown_RK`: A has reached its height, about log K. `converged_RK`: the error is small.
    """

    swap_RK: Floats
    taken_over_RK: Floats
    grown_RK: Floats
    converged_RK: Floats

    @property
    def has_all_RK(self) -> Bools:
        """True where all four phases were found, and end in this order; two may end at the same recorded step."""
        ends_RK4 = np.stack([self.swap_RK, self.taken_over_RK, self.grown_RK, self.converged_RK], axis=-1)
        return np.asarray(np.all(np.diff(ends_RK4) >= 0, axis=-1))


def find_feature_phases(
    a_RKT: Floats,
    b_RKT: Floats,
    error_RKT: Floats,
    steps_T: Ints,
    num_features: int,
    *,
    least_fall: float = 0.02,
    height: float = 1.0,
    small_error: float = 0.01,
) -> FeaturePhases:
    """Phases of each run and feature, from A_k, B_{k,1} and the feature's own error, all (R, K, T).

    The paper's first phase lasts while B falls faster than A rises, |dB| > |dA|. As B falls and A rises, that is while
    A + B falls: the swap is the step of the minimum of A + B, which needs no derivative of noisy weights. It departs
    from the definition only where B rises or A falls. The paper bounds the second phase by constants that hold as K
    grows without limit; here it ends where A + B is back at its first value for good, which needs no constant.
    A phase of falling B is absent, and the first two steps with it, unless A + B falls by `least_fall` of log K, and
    rises again by as much: so for a dominant feature, balanced features, and flat weights. `height` is in units of
    log K. Growth and convergence are detected independently, and must hold to the end. NaN is not recorded.
    Raises ValueError where `num_features`, the K of log K, is below 2.
    """
    if num_features < 2:
        raise ValueError(f"num_features must be 2 or more, got {num_features}")
    log_k = float(np.log(num_features))
    sum_RKT = np.asarray(a_RKT + b_RKT, dtype=np.float64)
    first_RK1 = _first_recorded(sum_RKT)[..., None]
    swap_RK = _step_of_minimum(sum_RKT - first_RK1, steps_T, least_fall * log_k)
    # Rounding may keep A + B just below where it began.
    back_RK = _kept(sum_RKT - first_RK1, steps_T, Criterion(at_least=-1e-9, evaluations=1))
    return FeaturePhases(
        swap_RK,
        np.where(np.isnan(swap_RK), np.nan, back_RK),
        _kept(a_RKT, steps_T, Criterion(at_least=height * log_k, evaluations=1)),
        _kept(error_RKT, steps_T, Criterion(at_most=small_error, evaluations=1)),
    )


def _first_recorded(values_RKT: Floats) -> Floats:
    """(R, K) NaN where nothing was recorded."""
    at_RK1 = np.isfinite(values_RKT).argmax(axis=-1)[..., None]
    return np.asarray(np.take_along_axis(values_RKT, at_RK1, axis=-1)[..., 0])


def _step_of_minimum(values_RKT: Floats, steps_T: Ints, depth: float) -> Floats:
    """(R, K) step of the lowest value, if it is `depth` below 0 and a later one is `depth` above it; else NaN."""
    filled_RKT = np.where(np.isfinite(values_RKT), values_RKT, np.inf)
    at_RK = filled_RKT.argmin(axis=-1)
    lowest_RK = filled_RKT.min(axis=-1)
    is_later_RKT = np.isfinite(values_RKT) & (np.arange(len(steps_T)) > at_RK[..., None])
    highest_RK = np.where(is_later_RKT, values_RKT, -np.inf).max(axis=-1)
    is_found_RK = (lowest_RK <= -depth) & (highest_RK >= lowest_RK + depth)
    return np.where(is_found_RK, steps_T[at_RK].astype(np.float64), np.nan)


def _kept(values_RKT: Floats, steps_T: Ints, criterion: Criterion) -> Floats:
    values_NT = np.asarray(values_RKT, dtype=np.float64).reshape(-1, len(steps_T))
    return crossed_for_good(values_NT, steps_T, criterion).upper_R.reshape(values_RKT.shape[:2])
