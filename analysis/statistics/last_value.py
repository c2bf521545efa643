"""Last recorded value of each metric in the window."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from analysis.statistics.base import Statistic, column
from pipeline.arrays import Floats
from pipeline.store.history import Window


class LastValue(Statistic):
    """Each metric's last recorded value, in the metric's units; NaN where the run recorded none in the window."""

    name: ClassVar[str] = "last_value"

    def __call__(self, window: Window) -> dict[str, Floats]:
        """`last_value(METRIC)` -> (R,) for every metric of the window."""
        return {column(self.name, metric): last_finite(values_RT) for metric, values_RT in window.values.items()}


def last_finite(values_RT: Floats) -> Floats:
    """(R,) the last finite entry of each row; NaN where there is none."""
    if values_RT.shape[1] == 0:
        return np.full(len(values_RT), np.nan)
    finite_RT = np.isfinite(values_RT)
    last_R = values_RT.shape[1] - 1 - finite_RT[:, ::-1].argmax(axis=1)
    found_R = values_RT[np.arange(len(values_RT)), last_R]
    return np.where(finite_RT.any(axis=1), found_R, np.nan)
