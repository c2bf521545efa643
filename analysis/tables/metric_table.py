"""The table of metrics: a row for each run and step at which it recorded something, a column for each metric."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from analysis.tables.run_table import OWN_COLUMNS
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore


def metric_table(
    store: SweepStore, metrics: Collection[str] | None = None, steps: Collection[int] | None = None
) -> pa.Table:
    """Columns `run_id` (dictionary-encoded), `step` (int64) and a float64 column for each metric, null where a run
    recorded none.

    Rows go by run, in the order of the plan, then by step. `metrics` and `steps` limit them; a row without any of
    these metrics is left out. Raises StoreError, naming what there is, for a metric that no run recorded.
    """
    histories = [store.history(budget, metrics=metrics) for budget in store.budgets]
    names = _chosen(store, histories, metrics)
    run_ids = [row["run_id"] for row in store.plan["runs"]]
    place = {run_id: number for number, run_id in enumerate(run_ids)}
    parts = [_rows(history, names, steps, place) for history in histories]
    table = pa.concat_tables(parts)
    order_N = np.lexsort((table["step"].to_numpy(), table["run"].to_numpy()))
    table = table.take(pa.array(order_N))
    run_column = pa.DictionaryArray.from_arrays(table["run"].combine_chunks(), pa.array(run_ids, pa.string()))
    return pa.table({"run_id": run_column, "step": table["step"], **{name: table[name] for name in names}})


def joined_table(metrics: pa.Table, runs: pa.Table) -> pa.Table:
    """The table of metrics with all columns of the table of runs beside them; text is dictionary-encoded.

    Raises StoreError where a metric bears the name of a column of runs.
    """
    both = [name for name in metrics.column_names[1:] if name in runs.column_names or name in OWN_COLUMNS]
    if both:
        raise StoreError(f"metrics are named as columns of runs are: {', '.join(both)}; ask for the two tables apart")
    row_of = {run_id: row for row, run_id in enumerate(runs["run_id"].to_pylist())}
    known = metrics["run_id"].combine_chunks()
    to_row = np.array([row_of[run_id] for run_id in known.dictionary.to_pylist()], np.int64)
    row_N = pa.array(to_row[known.indices.to_numpy()] if len(known) else np.empty(0, np.int64))
    columns = {"run_id": known}
    for name in runs.column_names[1:]:
        column = runs[name].combine_chunks()
        if pa.types.is_string(column.type):
            column = column.dictionary_encode()
        columns[name] = column.take(row_N)
    columns |= {name: metrics[name] for name in metrics.column_names[1:]}
    return pa.table(columns).replace_schema_metadata(runs.schema.metadata)


def _chosen(store: SweepStore, histories: Sequence[History], metrics: Collection[str] | None) -> list[str]:
    found = _recorded(histories)
    if metrics is None:
        return found
    if missing := [name for name in metrics if name not in found]:
        known = ", ".join(_recorded(store.histories())) or "none"
        raise StoreError(f"{histories[0].name} has no metric {missing[0]!r} (recorded: {known})")
    return list(dict.fromkeys(metrics))


def _recorded(histories: Sequence[History]) -> list[str]:
    return list(dict.fromkeys(name for history in histories for name in history.values))


def _rows(history: History, names: Sequence[str], steps: Collection[int] | None, place: dict[str, int]) -> pa.Table:
    """Columns `run`, the place of a run in the plan, `step`, and the metrics."""
    arrays = [history.values.get(name) for name in names]
    shape = (len(history.runs), len(history.steps_T))
    seen_RT = np.zeros(shape, bool)
    for array in arrays:
        if array is not None:
            seen_RT |= ~np.isnan(array)
    if steps is not None:
        seen_RT &= np.isin(history.steps_T, np.fromiter(steps, np.int64))[None]
    row_N, column_N = np.nonzero(seen_RT)
    place_R = np.array([place[run.run_id] for run in history.runs], np.int32)
    columns = {"run": pa.array(place_R[row_N]), "step": pa.array(history.steps_T[column_N].astype(np.int64))}
    for name, array in zip(names, arrays, strict=True):
        values_N = np.full(len(row_N), np.nan) if array is None else array[row_N, column_N]
        columns[name] = pa.array(values_N, pa.float64(), mask=np.isnan(values_N))
    return pa.table(columns)
