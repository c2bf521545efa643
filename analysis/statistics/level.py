"""Mean of each metric over the last third of the window."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from analysis.statistics.base import Statistic, column
from pipeline.arrays import Floats
from pipeline.store.history import Window


class Level(Statistic):
    """Mean of each metric's values recorded in the last third of the window's steps, in the metric's units.

    NaN where the run recorded none there, for instance because it was stopped or its probes are sparser than that.
    """

    name: ClassVar[str] = "level"

    def __call__(self, window: Window) -> dict[str, Floats]:
        """`level(METRIC)` -> (R,) for every metric that is a curve."""
        late_T = window.steps_T >= window.last_step * (2 / 3)
        return {column(self.name, metric): _mean(values_RT, late_T) for metric, values_RT in window.curves.items()}


def _mean(values_RT: Floats, use_T: np.ndarray) -> Floats:
    # Masked sums over all steps, never over the steps that some run recorded: those would depend on the other runs.
    use_RT = np.isfinite(values_RT) & use_T
    total_R = np.where(use_RT, values_RT, 0.0).sum(axis=1)
    number_R = use_RT.sum(axis=1)
    return np.where(number_R > 0, total_R / np.maximum(number_R, 1), np.nan)
