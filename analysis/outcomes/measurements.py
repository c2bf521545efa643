"""Measurements on trained models, joined to the history of their sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Floats, Ints
from pipeline.store.history import History, filled

_PLACE = ("run_id", "step")


def read_measurements(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of measurements."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert isinstance(rows, list)
    return rows


def join_measurements(history: History, rows: Iterable[Mapping[str, Any]] | pa.Table) -> History:
    """The history with the metrics of `rows`, each of which names a run and a step of its own; NaN where not measured.

    A step that nothing was recorded at is added. Null is not measured. Raises ValueError for a run that the history
    does not have, and for a metric that it has already.
    """
    row_of = {run.run_id: r for r, run in enumerate(history.runs)}
    run_ids, step_N, columns = _columns(rows if isinstance(rows, pa.Table) else list(rows))
    if unknown := sorted(set(run_ids) - row_of.keys()):
        raise ValueError(f"history {history.name!r} has no run {', '.join(unknown)}")
    if twice := sorted(history.values.keys() & columns.keys()):
        raise ValueError(f"history {history.name!r} records {', '.join(twice)} already")
    return filled(history, np.array([row_of[run_id] for run_id in run_ids], np.int64), step_N, columns)


def _columns(rows: list[Mapping[str, Any]] | pa.Table) -> tuple[list[str], Ints, dict[str, Floats]]:
    """Run ids and steps of N rows, and metric -> (N,) values, NaN for null and where a row lacks the metric."""
    if isinstance(rows, pa.Table):
        columns = {name: rows[name].to_numpy().astype(np.float64) for name in rows.column_names[2:]}
        return rows["run_id"].to_pylist(), rows["step"].to_numpy(), columns
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in _PLACE]
    values = {name: [row.get(name) for row in rows] for name in names}
    steps = np.array([row["step"] for row in rows], dtype=np.int64)
    # None becomes NaN.
    columns = {name: np.array(column, dtype=np.float64) for name, column in values.items()}
    return [str(row["run_id"]) for row in rows], steps, columns
