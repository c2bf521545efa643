"""The rows of tracked runs, from the history tables of packs. Needs no wandb.

A row, once written, is final: an aggregate's row at a step is written only when none of the setting's runs can still
add to that step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.arrays import Floats, Ints
from pipeline.tracking.names import CONVERGED_SHARE, NUM_RUNS, QUANTILES, RUN_TIME, quantile_names, wandb_name

TIME = "_time"


class TrackedRow(NamedTuple):
    """One row of a tracked run: values by their names in wandb; `at` is the Unix time, None where it is not known."""

    step: int
    values: Mapping[str, float]
    at: float | None = None


@dataclass(frozen=True)
class Recorded:
    """What one run recorded: `values_TM` at increasing `steps_T` for `metrics`, NaN where nothing was recorded.

    `times_T` are Unix times in seconds, NaN where they are not known.
    """

    steps_T: Ints
    metrics: tuple[str, ...]
    values_TM: Floats
    times_T: Floats

    @staticmethod
    def empty() -> Recorded:
        """For a run that has recorded nothing."""
        return Recorded(np.empty(0, np.int64), (), np.empty((0, 0)), np.empty(0))

    def column(self, metric: str) -> Floats:
        """(T,), all NaN for a metric that the run never recorded."""
        if metric not in self.metrics:
            return np.full(len(self.steps_T), np.nan)
        return self.values_TM[:, self.metrics.index(metric)]

    def rows(self, after: int = -1) -> Iterator[TrackedRow]:
        """The rows after a step, in order, without what was not recorded."""
        names = [wandb_name(metric) for metric in self.metrics]
        first = int(np.searchsorted(self.steps_T, after, side="right"))
        parts = (self.steps_T[first:].tolist(), self.values_TM[first:].tolist(), self.times_T[first:].tolist())
        for step, values_M, time in zip(*parts, strict=True):
            values = {name: value for name, value in zip(names, values_M, strict=True) if not math.isnan(value)}
            if math.isnan(time):
                yield TrackedRow(step, values)
            else:
                yield TrackedRow(step, {**values, RUN_TIME: time - float(np.nanmin(self.times_T))}, time)


def with_times(table: pa.Table, times: tuple[float, float] | None) -> pa.Table:
    """A history table with a column of Unix times, NaN without `times`, between which its rows were recorded.

    Rows stand in the order in which they were recorded, so their times are spread evenly; the last is the commit's.
    """
    shares_N = np.arange(1, len(table) + 1) / max(len(table), 1)
    time_N = np.full(len(table), np.nan) if times is None else times[0] + (times[1] - times[0]) * shares_N
    return table.append_column(TIME, pa.array(time_N))


def read_recorded(tables: Sequence[pa.Table]) -> dict[str, Recorded]:
    """run_id -> what it recorded, from the history tables of one pack, with or without a column of times."""
    if not tables:
        return {}
    plain = [table.set_column(0, "run_id", table["run_id"].cast(pa.string())) for table in tables]
    whole = pa.concat_tables(plain, promote_options="default")
    metrics = tuple(name for name in whole.column_names[2:] if name != TIME)
    names, codes = np.unique(np.array(whole["run_id"].to_pylist()), return_inverse=True)
    steps = whole["step"].to_numpy()
    order = np.lexsort((steps, codes))
    columns = [whole[name].to_numpy() for name in metrics]
    values = np.stack(columns, axis=1)[order] if columns else np.empty((len(steps), 0))
    times = (whole[TIME].to_numpy() if TIME in whole.column_names else np.full(len(steps), np.nan))[order]
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    spans = [slice(low, high) for low, high in pairwise(bounds)]
    sorted_steps = steps[order]
    return {
        str(name): Recorded(sorted_steps[span], metrics, values[span], times[span])
        for name, span in zip(names, spans, strict=True)
    }


def joined_recorded(parts: Sequence[Recorded]) -> Recorded:
    """What one run recorded, from several files, in the order of their steps."""
    if len(parts) == 1:
        return parts[0]
    metrics = tuple(dict.fromkeys(metric for part in parts for metric in part.metrics))
    values = [np.stack([part.column(metric) for metric in metrics], axis=1) for part in parts if metrics]
    return Recorded(
        np.concatenate([part.steps_T for part in parts]),
        metrics,
        np.concatenate(values) if values else np.empty((0, 0)),
        np.concatenate([part.times_T for part in parts]),
    )


@dataclass(frozen=True)
class StackedCurves:
    """What runs recorded at the same `steps_T`, for the same `metrics`: (R, T, M) values and (R, T) Unix times.

    NaN where nothing was recorded, or a time is not known.
    """

    steps_T: Ints
    metrics: tuple[str, ...]
    values_RTM: Floats
    times_RT: Floats

    def column(self, metric: str) -> Floats:
        """(R, T), all NaN for a metric that the runs never recorded."""
        if metric not in self.metrics:
            return np.full(self.times_RT.shape, np.nan)
        return self.values_RTM[:, :, self.metrics.index(metric)]


def stacked_curves(recorded_R: Sequence[Recorded]) -> list[StackedCurves]:
    """The runs in groups that have their steps and metrics in common; within a group, in their order."""
    groups: dict[tuple[bytes, tuple[str, ...]], list[Recorded]] = {}
    for recorded in recorded_R:
        groups.setdefault((recorded.steps_T.tobytes(), recorded.metrics), []).append(recorded)
    return [
        StackedCurves(
            runs[0].steps_T,
            metrics,
            np.stack([recorded.values_TM for recorded in runs]),
            np.stack([recorded.times_T for recorded in runs]),
        )
        for (_, metrics), runs in groups.items()
    ]


def aggregate_rows(
    groups: Sequence[StackedCurves], confirmed_C: Ints, after: int, last_step: int
) -> Iterator[TrackedRow]:
    """Quantiles of every metric over the runs that recorded it, per step in (`after`, `last_step`].

    A run that ended early is in no later quantile. The converged share is over all runs; each counts from the
    evaluation that confirms it (`confirmed_C`, of those that have converged), so that a row does not change when later
    ones are seen.
    """
    steps_T = np.unique(np.concatenate([group.steps_T for group in groups]))
    steps_T = steps_T[(steps_T > after) & (steps_T <= last_step)]
    values: list[dict[str, float]] = [{} for _ in steps_T]
    for metric in dict.fromkeys(metric for group in groups for metric in group.metrics):
        names = quantile_names(metric)
        for row, values_R in zip(values, _aligned(groups, metric, steps_T).T, strict=True):
            present = values_R[~np.isnan(values_R)]
            if len(present):
                found = np.quantile(present, list(QUANTILES.values())).tolist()
                row |= dict(zip(names, found, strict=True))
    num_runs_T = np.sum([len(group.times_RT) * np.isin(steps_T, group.steps_T) for group in groups], axis=0)
    latest_T = _latest(groups, steps_T)
    num_runs = sum(len(group.times_RT) for group in groups)
    for step, row, num_here, time in zip(steps_T.tolist(), values, num_runs_T.tolist(), latest_T.tolist(), strict=True):
        share = float(np.sum(confirmed_C <= step)) / num_runs
        own = {NUM_RUNS: num_here, CONVERGED_SHARE: share}
        yield TrackedRow(step, {**own, **row}, time if math.isfinite(time) else None)


def _aligned(groups: Sequence[StackedCurves], metric: str, steps_T: Ints) -> Floats:
    """(R, T) values of a metric at these steps, NaN where a run has none."""
    parts = []
    for group in groups:
        part_RT = np.full((len(group.times_RT), len(steps_T)), np.nan)
        kept = np.isin(group.steps_T, steps_T)
        part_RT[:, np.searchsorted(steps_T, group.steps_T[kept])] = group.column(metric)[:, kept]
        parts.append(part_RT)
    return np.concatenate(parts)


def _latest(groups: Sequence[StackedCurves], steps_T: Ints) -> Floats:
    """(T,) the latest time at which any of the runs recorded the step, -inf where none is known."""
    latest_T = np.full(len(steps_T), -np.inf)
    for group in groups:
        kept = np.isin(group.steps_T, steps_T)
        places = np.searchsorted(steps_T, group.steps_T[kept])
        known = np.where(np.isnan(group.times_RT[:, kept]), -np.inf, group.times_RT[:, kept])
        latest_T[places] = np.maximum(latest_T[places], known.max(axis=0))
    return latest_T
