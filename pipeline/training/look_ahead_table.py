"""What look-aheads show of their parents: metrics and readings of the forks' last weights, as rows of the parents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline.arrays import Floats
from pipeline.engine.reader import suitable_readings
from pipeline.readings.base import READINGS
from pipeline.spec.reading_names import DEFAULT_READINGS
from pipeline.spec.registered import unknown
from pipeline.spec.run_config import RunConfig
from pipeline.store.history import LABEL_PREFIX
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.stored_readings import readings_of

AHEAD = "ahead"
_HEAD_METRIC = re.compile(r"(?P<layer>.+\.l\d+)h\d+")


def readings_ahead(asked: Sequence[str] | None, configs: Sequence[RunConfig]) -> tuple[str, ...]:
    """The readings of forks of these runs: those asked for, else DEFAULT_READINGS, that can read some of them.

    Raises StoreError for an unknown one.
    """
    names = DEFAULT_READINGS if asked is None else asked
    if strange := [name for name in names if name not in READINGS]:
        raise StoreError(unknown("reading", strange[0], READINGS))
    one_of_each = {config.static_key(): config for config in configs}.values()
    suitable = {name for config in one_of_each for name in suitable_readings(names, config)}
    return tuple(name for name in names if name in suitable)


def look_ahead_table(forks: SweepStore, readings: Sequence[str]) -> pa.Table:
    """`run_id` and `step` of each parent where it was forked, and the numbers of its one fork at its end.

    `ahead.METRIC` for every metric that the forks recorded there but those of the label set, and `ahead.READING.WHAT`
    for the named readings of their last weights. Of metrics of several heads there are `ahead.METRIC.lN_max` and
    `_min`, since heads of a layer are exchangeable. Null where a fork diverged or a value is not finite. Raises
    StoreError as `readings_of` does.
    """
    history = forks.history()
    row_of = {run.run_id: row for row, run in enumerate(history.runs)}
    at_end = int(np.searchsorted(history.steps_T, history.budget))
    columns = _over_heads(
        {name: array[:, at_end] for name, array in history.values.items() if not name.startswith(LABEL_PREFIX)}
    )
    if readings:
        found = readings_of(forks, readings)
        is_last_N = found["step"].to_numpy() == history.budget
        row_N = np.array([row_of[run_id] for run_id in found["run_id"].to_pylist()], dtype=np.int64)
        for name in found.column_names[2:]:
            columns[name] = np.full(len(history.runs), np.nan)
            columns[name][row_N[is_last_N]] = found[name].to_numpy()[is_last_N]
    return pa.table(
        {
            "run_id": pa.array([run.parent for run in history.runs], pa.string()),
            "step": pa.array([run.fork_step for run in history.runs], pa.int64()),
            **{f"{AHEAD}.{name}": pa.array(array, mask=~np.isfinite(array)) for name, array in columns.items()},
        }
    )


def _over_heads(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """The columns, those of several heads of a layer replaced by the largest and the smallest of them."""
    found: dict[str, Floats] = {}
    heads: dict[str, list[str]] = {}
    for name, column_R in columns.items():
        match = _HEAD_METRIC.fullmatch(name)
        if match is None:
            found[name] = column_R
        else:
            heads.setdefault(match["layer"], []).append(name)
    for layer, names in heads.items():
        of_heads_HR = np.stack([columns[name] for name in names])
        extremes = {f"{layer}_max": np.fmax.reduce(of_heads_HR), f"{layer}_min": np.fmin.reduce(of_heads_HR)}
        found |= extremes if len(names) > 1 else {layer: of_heads_HR[0]}
    return found
