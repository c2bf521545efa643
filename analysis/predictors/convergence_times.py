"""When runs converge: P(converged by a step) of each, at a few steps, and its quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats


@dataclass(frozen=True)
class ConvergenceTimes:
    """P(converged by a step) at K increasing steps; the last one is the last at which a run can converge.

    `by_RK` never falls along a row. In between it is linear in log steps, and it is 0 up to `start` (at least 0).
    """

    start: float
    steps_K: Floats
    by_RK: Floats

    def by(self, step_R: Floats) -> Floats:
        """(R,) P(converged by its step) of each run."""
        place_K = self._places()
        at_R = np.log(np.clip(step_R, np.exp(place_K[0]), np.exp(place_K[-1])))
        by_RK = np.hstack([np.zeros((len(self.by_RK), 1)), self.by_RK])
        rows_R, right_R = np.arange(len(by_RK)), np.clip(np.searchsorted(place_K, at_R, "right"), 1, len(place_K) - 1)
        low_R, high_R = by_RK[rows_R, right_R - 1], by_RK[rows_R, right_R]
        past_R, width_R = at_R - place_K[right_R - 1], place_K[right_R] - place_K[right_R - 1]
        slope_R = np.divide(high_R - low_R, width_R, out=np.zeros(len(at_R)), where=past_R < width_R)
        return np.where(past_R < width_R, low_R + slope_R * past_R, high_R)

    def by_each(self, steps_G: Floats) -> Floats:
        """(R, G) P(converged by each of G steps): `by` of all runs at the same steps, to the bit."""
        place_K = self._places()
        at_G = np.log(np.clip(steps_G, np.exp(place_K[0]), np.exp(place_K[-1])))
        found_RG = np.empty((len(self.by_RK), len(steps_G)))
        for g, right in enumerate(np.clip(np.searchsorted(place_K, at_G, "right"), 1, len(place_K) - 1).tolist()):
            high_R = self.by_RK[:, right - 1]
            low_R = self.by_RK[:, right - 2] if right > 1 else np.zeros(len(high_R))
            past, width = at_G[g] - place_K[right - 1], place_K[right] - place_K[right - 1]
            found_RG[:, g] = low_R + (high_R - low_R) / width * past if past < width else high_R
        return found_RG

    def quantile_R(self, level: float) -> Floats:
        """(R,) the first step by which P(converged) reaches `level`, above 0; infinite where it never does."""
        place_K = self._places()
        reaches_RK = self.by_RK >= level
        k_R, rows_R, reaches_R = reaches_RK.argmax(axis=1), np.arange(len(self.by_RK)), reaches_RK.any(axis=1)
        above_R = self.by_RK[rows_R, k_R]
        below_R = np.where(k_R > 0, self.by_RK[rows_R, np.maximum(k_R - 1, 0)], 0.0)
        rises_R = reaches_R & (above_R > below_R)
        share_R = np.divide(level - below_R, above_R - below_R, out=np.zeros(len(k_R)), where=rises_R)
        step_R = np.exp(place_K[k_R] + share_R * (place_K[k_R + 1] - place_K[k_R]))
        return np.where(reaches_R, step_R, np.inf)

    def given_not_by(self, step_R: Floats) -> ConvergenceTimes:
        """The same runs, known not to have converged by a step of their own: P(T <= t | T > step)."""
        already_R1 = self.by(step_R)[:, None]
        rest_RK = np.maximum(self.by_RK - already_R1, 0.0)
        left_R1 = 1 - already_R1
        by_RK = np.divide(rest_RK, left_R1, out=np.zeros_like(rest_RK), where=left_R1 > 0)
        return ConvergenceTimes(self.start, self.steps_K, by_RK)

    def _places(self) -> Floats:
        """(1 + K,) logs of `start` and of the steps; step 0 counts as 1."""
        steps = [min(self.start, float(self.steps_K[0])), *self.steps_K.tolist()]
        return np.log(np.maximum(np.array(steps, dtype=np.float64), 1.0))
