"""Base class of statistics, with its contract, and their registry."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from pipeline.arrays import Floats
from pipeline.registry import Registry
from pipeline.store.history import Window


class Statistic(ABC):
    """Numbers computed from the window of each run. The contract:

    1. The output is a dict of column name -> (R,) float64, and never empty names; the columns depend on which metrics
       the window carries and on nothing else, so every run and every window of a sweep has the same columns. Readings
       are taken at the ends of windows alone, so they enter by their last value and no statistic of curves.
    2. Pure: the same window gives the same bytes, and the window is not changed.
    3. Causal: nothing that happens after the window moves a value by a bit.
    4. Run by run: a run's values depend on its own rows; dropping or permuting the others changes no bit.
    5. NaN where the window holds too little (an absent metric, too few recorded values); never an error, an infinity or
       a warning, with no recorded step or only NaN as well.
    """

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, window: Window) -> dict[str, Floats]:
        """Column name -> (R,) values."""


def column(statistic: str, metric: str) -> str:
    """The name of a statistic's column for one metric, such as `slope(probe_loss)`."""
    return f"{statistic}({metric})"


STATISTICS: Registry[Statistic] = Registry("analysis.statistics", Statistic)  # type: ignore[type-abstract]


def own_statistics() -> str:
    """That the registered statistics contain some of the user's own, with their files, in a clause; empty without."""
    own = {name: cls for name, cls in STATISTICS.items() if not cls.__module__.startswith(f"{STATISTICS.package}.")}
    told = ", ".join(f"{name} ({Path(inspect.getfile(cls)).name})" for name, cls in own.items())
    return f"forecasts learn from statistics of your own, too: {told}" if told else ""
