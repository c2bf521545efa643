"""Measurements on trained models, joined to the history of their sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.store.history import History

_PLACE = ("run_id", "step")


def read_measurements(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of measurements."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert isinstance(rows, list)
    return rows


def join_measurements(history: History, rows: Iterable[Mapping[str, Any]]) -> History:
    """The history with the metrics of `rows`, each of which names a run and a step of its own; NaN where not measured.

    A step that nothing was recorded at is added. Null is not measured. Raises ValueError for a run that the history
    does not have, and for a metric that it has already.
    """
    rows = list(rows)
    if not rows:
        return history
    row_of = {run.run_id: r for r, run in enumerate(history.runs)}
    metrics = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in _PLACE]
    if unknown := sorted({str(row["run_id"]) for row in rows} - row_of.keys()):
        raise ValueError(f"history {history.name!r} has no run {', '.join(unknown)}")
    if twice := sorted(history.values.keys() & set(metrics)):
        raise ValueError(f"history {history.name!r} records {', '.join(twice)} already")
    steps_T = np.union1d(history.steps_T, np.array([row["step"] for row in rows], dtype=np.int64))
    kept_T = np.searchsorted(steps_T, history.steps_T)
    values = {name: np.full((len(row_of), len(steps_T)), np.nan) for name in (*history.values, *metrics)}
    for name, values_RT in history.values.items():
        values[name][:, kept_T] = values_RT
    for row in rows:
        at = row_of[row["run_id"]], int(np.searchsorted(steps_T, row["step"]))
        for name in row.keys() - set(_PLACE):
            values[name][at] = np.nan if row[name] is None else row[name]
    return replace(history, steps_T=steps_T, values=values)
