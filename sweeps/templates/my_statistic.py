"""A statistic of my own.

What it must do is listed in the docstring of `analysis.statistics.base.Statistic`.
"""

from __future__ import annotations

import numpy as np

from analysis.statistics.base import Statistic, column
from pipeline.arrays import Floats
from pipeline.store.history import Window


class MyStatistic(Statistic):
    """How far each metric has fallen from its first recorded value; NaN where fewer than two were recorded."""

    name = "my_statistic"

    def __call__(self, window: Window) -> dict[str, Floats]:
        """A column for each metric, a number for each of R runs. `window.values[metric]` is (R, T)."""
        return {column(self.name, metric): _fall(values_RT) for metric, values_RT in window.values.items()}


def _fall(values_RT: Floats) -> Floats:
    """(R,) the first finite value of each row less its last."""
    is_known_RT = np.isfinite(values_RT)
    if not values_RT.shape[1]:
        return np.full(len(values_RT), np.nan)
    known_RT = np.where(is_known_RT, values_RT, 0.0)
    first_R, back_R = is_known_RT.argmax(axis=1), is_known_RT[:, ::-1].argmax(axis=1)
    run_R = np.arange(len(values_RT))
    fall_R = known_RT[run_R, first_R] - known_RT[run_R, values_RT.shape[1] - 1 - back_R]
    return np.where(is_known_RT.sum(axis=1) >= 2, fall_R, np.nan)
