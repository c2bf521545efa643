"""Feature matrices of predictors: encoded hyperparameters and window statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.statistics.base import STATISTICS, Statistic
from pipeline.arrays import Bools, Floats
from pipeline.store.history import RunInfo, Window


@dataclass(frozen=True)
class Features:
    """`values_RF`, one column per name; NaN where a run has no such value, never infinite."""

    names_F: tuple[str, ...]
    values_RF: Floats

    def keep(self, use: Callable[[str], bool]) -> Features:
        """The columns whose name `use` accepts, in the same order; possibly none."""
        kept_F = np.array([use(name) for name in self.names_F], dtype=bool)
        names = tuple(name for name, kept in zip(self.names_F, kept_F, strict=True) if kept)
        return Features(names, self.values_RF[:, kept_F])

    def rows(self, use_R: Bools) -> Features:
        """The same columns for the runs where `use_R` is True."""
        return Features(self.names_F, self.values_RF[use_R])

    def beside(self, other: Features) -> Features:
        """These columns and then those of `other`, which must hold the same runs."""
        return Features(self.names_F + other.names_F, np.hstack([self.values_RF, other.values_RF]))


def statistics_RF(window: Window, statistics: Iterable[Statistic] | None = None) -> Features:
    """The columns of the given statistics (default: every registered one), by name of the statistic."""
    chosen = [STATISTICS[name]() for name in STATISTICS] if statistics is None else list(statistics)
    columns: dict[str, Floats] = {}
    for statistic in chosen:
        columns.update(statistic(window))
    return _stack(columns, len(window.runs))


def hyperparameters_RF(runs: tuple[RunInfo, ...], varied: Iterable[str]) -> Features:
    """The varied hyperparameters as numbers.

    Numeric: as it is, or log10 where all values are positive and span more than a factor of 10. Anything else, booleans
    and mixed types included: one column of 0 and 1 per value. A run that lacks a numeric hyperparameter has NaN.
    """
    columns: dict[str, Floats] = {}
    for path in varied:
        columns.update(_encode(path, [run.hyperparameters.get(path) for run in runs]))
    return _stack(columns, len(runs))


def _encode(path: str, values: list[Any]) -> dict[str, Floats]:
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        number_R = np.array([np.nan if value is None else float(value) for value in values])
        lowest, highest = min(present), max(present)
        if lowest > 0 and highest > 10 * lowest:
            return {f"log10({path})": np.log10(number_R)}
        return {path: number_R}
    texts = [repr(value) for value in values]
    return {f"{path}={text}": np.array([float(t == text) for t in texts]) for text in sorted(set(texts))}


def _stack(columns: dict[str, Floats], num_runs: int) -> Features:
    if not columns:
        return Features((), np.empty((num_runs, 0)))
    values_RF = np.stack(list(columns.values()), axis=1)
    return Features(tuple(columns), np.where(np.isfinite(values_RF), values_RF, np.nan))
