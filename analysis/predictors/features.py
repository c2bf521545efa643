"""Feature matrices of predictors: columns by name, their scaling, and the statistics of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.statistics.base import STATISTICS, Statistic
from pipeline.arrays import Bools, Floats, Ints
from pipeline.store.history import Window


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

    def named(self, names_F: Sequence[str]) -> Features:
        """The columns of these names, in this order, whatever the order here; other columns are left out.

        Raises ValueError with the names that are lacking.
        """
        place = {name: f for f, name in enumerate(self.names_F)}
        lacking = [name for name in names_F if name not in place]
        if lacking:
            raise ValueError(f"{len(lacking)} of {len(names_F)} columns are lacking: {', '.join(lacking)}")
        # Picking columns leaves them stored column by column, and sums over a row then round in another order.
        values_RF = np.ascontiguousarray(self.values_RF[:, [place[name] for name in names_F]])
        return Features(tuple(names_F), values_RF)

    def rows(self, use_R: Bools) -> Features:
        """The same columns for the runs where `use_R` is True."""
        return Features(self.names_F, self.values_RF[use_R])

    def beside(self, other: Features) -> Features:
        """These columns and then those of `other`, which must hold the same runs."""
        return Features(self.names_F + other.names_F, np.hstack([self.values_RF, other.values_RF]))


@dataclass(frozen=True)
class FeatureScaler:
    """Fills NaN with the training median, clips to the training 1% and 99% quantiles, then standardises.

    Clipping keeps one run that is about to diverge from setting the scale of all the others. A column that is constant
    or all NaN in training becomes zeros.
    """

    fill_F: Floats
    low_F: Floats
    high_F: Floats
    mean_F: Floats
    spread_F: Floats

    @classmethod
    def of(cls, values_RF: Floats, weight_R: Floats) -> FeatureScaler:
        """Fitted to the training rows (R, F) with weights above 0, R at least 1; NaN is a missing value."""
        seen_F = ~np.all(np.isnan(values_RF), axis=0)
        known_RF = np.where(seen_F, values_RF, 0.0)
        low_F, fill_F, high_F = weighted_quantiles(known_RF, weight_R, (0.01, 0.5, 0.99))
        cut_RF = np.clip(np.where(np.isnan(known_RF), fill_F, known_RF), low_F, high_F)
        mean_F = np.average(cut_RF, axis=0, weights=weight_R)
        spread_F = np.sqrt(np.average((cut_RF - mean_F) ** 2, axis=0, weights=weight_R))
        is_constant_F = spread_F <= 1e-12 * np.maximum(1.0, np.abs(fill_F))
        return cls(fill_F, low_F, high_F, mean_F, np.where(is_constant_F, np.inf, spread_F))

    def magnified(self, is_magnified_F: Bools, times: float) -> FeatureScaler:
        """The same, but the marked columns come out `times` as large, so a penalty on weights hardly binds them."""
        return replace(self, spread_F=np.where(is_magnified_F, self.spread_F / times, self.spread_F))

    def apply(self, values_RF: Floats) -> Floats:
        """(R, F) scaled values, never NaN."""
        filled_RF = np.where(np.isnan(values_RF), self.fill_F, values_RF)
        return np.asarray((np.clip(filled_RF, self.low_F, self.high_F) - self.mean_F) / self.spread_F)


def weighted_quantiles(values_RF: Floats, weight_R: Floats, levels: Sequence[float]) -> list[Floats]:
    """Per level, (F,) the quantile of each column's finite values, of which each has one; a weight k counts as k rows.

    Interpolated linearly (type 7 of Hyndman and Fan, 1996): with weights of 1, those of `np.nanquantile`.

    >>> values_RF, weight_R = np.array([[1.0], [2.0], [np.nan]]), np.array([1.0, 3.0, 1.0])
    >>> [quantile_F.tolist() for quantile_F in weighted_quantiles(values_RF, weight_R, (0.25, 0.5))]
    [[1.75], [2.0]]
    """
    # Column by column: a sort along rows of memory takes half the time of one across them.
    values_FR = np.ascontiguousarray(values_RF.T)
    is_known_FR = np.isfinite(values_FR)
    if np.all(weight_R == 1):
        # The usual case, in which values can be sorted without what goes with them: a tenth of the time.
        sorted_FR = np.sort(np.where(is_known_FR, values_FR, np.inf), axis=1)
        return [_quantile_of_ones(sorted_FR, is_known_FR.sum(axis=1) - 1, level) for level in levels]
    order_FR = np.argsort(np.where(is_known_FR, values_FR, np.inf), axis=1, kind="stable")
    sorted_FR = np.take_along_axis(values_FR, order_FR, axis=1)
    upto_FR = np.cumsum(np.take_along_axis(np.where(is_known_FR, weight_R, 0.0), order_FR, axis=1), axis=1)
    last_F = is_known_FR.sum(axis=1) - 1
    return [_quantile(sorted_FR, upto_FR, last_F, level) for level in levels]


def _quantile(sorted_FR: Floats, upto_FR: Floats, last_F: Ints, level: float) -> Floats:
    place_F = np.maximum(upto_FR[:, -1] - 1, 0) * level
    below_F = _value_at(sorted_FR, upto_FR, last_F, np.floor(place_F))
    return _between(below_F, _value_at(sorted_FR, upto_FR, last_F, np.floor(place_F) + 1), place_F)


def _quantile_of_ones(sorted_FR: Floats, last_F: Ints, level: float) -> Floats:
    place_F: Floats = np.asarray(last_F * level, dtype=np.float64)
    columns = np.arange(len(last_F))
    below_F = np.floor(place_F).astype(np.int64)
    return _between(sorted_FR[columns, below_F], sorted_FR[columns, np.minimum(below_F + 1, last_F)], place_F)


def _between(below_F: Floats, above_F: Floats, place_F: Floats) -> Floats:
    share_F, step_F = place_F - np.floor(place_F), above_F - below_F
    # As in numpy, from the nearer end, so that the median of two equal halves is the same from either side.
    return np.asarray(np.where(share_F < 0.5, below_F + step_F * share_F, above_F - step_F * (1 - share_F)))


def _value_at(sorted_FR: Floats, upto_FR: Floats, last_F: Ints, place_F: Floats) -> Floats:
    """(F,) the value that stands at this place, counted from 0, when each row is repeated by its weight."""
    is_beyond_FR = upto_FR > place_F[:, None]
    row_F = np.where(is_beyond_FR.any(axis=1), is_beyond_FR.argmax(axis=1), last_F)
    return np.asarray(np.take_along_axis(sorted_FR, row_F[:, None], axis=1)[:, 0])


def statistics_RF(window: Window, statistics: Iterable[Statistic] | None = None) -> Features:
    """The columns of the given statistics (default: every registered one), by name of the statistic."""
    chosen = [STATISTICS[name]() for name in STATISTICS] if statistics is None else list(statistics)
    columns: dict[str, Floats] = {}
    for statistic in chosen:
        columns.update(statistic(window))
    return stacked(columns, len(window.runs))


def stacked(columns: Mapping[str, Floats], num_runs: int) -> Features:
    """Columns, each (R,), as features; what is not finite becomes NaN."""
    if not columns:
        return Features((), np.empty((num_runs, 0)))
    values_RF = np.stack(list(columns.values()), axis=1)
    return Features(tuple(columns), np.where(np.isfinite(values_RF), values_RF, np.nan))
