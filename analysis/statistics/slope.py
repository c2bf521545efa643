"""Least-squares slope of each metric against log(1 + step)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from analysis.statistics.base import Statistic, column
from pipeline.arrays import Floats
from pipeline.store.history import Window


class Slope(Statistic):
    """Least-squares slope of each metric against log(1 + step), in the metric's units per e-fold of steps.

    Probes are dense early and log-spaced late, so in log steps no part of the window dominates. NaN with fewer than
    two recorded values.
    """

    name: ClassVar[str] = "slope"

    def __call__(self, window: Window) -> dict[str, Floats]:
        """`slope(METRIC)` -> (R,) for every metric that is a curve."""
        time_T = np.log1p(window.steps_T.astype(np.float64))
        return {column(self.name, metric): slope(values_RT, time_T) for metric, values_RT in window.curves.items()}


def slope(values_RT: Floats, time_T: Floats) -> Floats:
    """(R,) least-squares slope of each row against `time_T` over its finite entries; NaN with fewer than two."""
    use_RT = np.isfinite(values_RT)
    number_R = np.maximum(use_RT.sum(axis=1), 1)
    time_RT = np.where(use_RT, time_T, 0.0)
    centred_RT = np.where(use_RT, time_T - (time_RT.sum(axis=1) / number_R)[:, None], 0.0)
    spread_R = (centred_RT**2).sum(axis=1)
    covariance_R = (centred_RT * np.where(use_RT, values_RT, 0.0)).sum(axis=1)
    steepness_R = covariance_R / np.where(spread_R > 0, spread_R, 1.0)
    return np.where((use_RT.sum(axis=1) >= 2) & (spread_R > 0), steepness_R, np.nan)
