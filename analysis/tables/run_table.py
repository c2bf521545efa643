"""The table of runs: a row for each planned run, with its hyperparameters, seeds, outcome and newest forecast."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.outcomes.equal_runs import draw_keys_of
from analysis.outcomes.outcomes import CENSORED, Outcomes, decide_outcomes, recorded_text
from analysis.outcomes.settings import labels_of
from analysis.tables.held_out import HeldOut, held_out_column, read_held_out
from pipeline.planning.packs import stored_spec
from pipeline.spec.criteria.judged_by import JudgedBy, judged_by
from pipeline.spec.criterion import Criterion
from pipeline.spec.draws import run_that_counts
from pipeline.store.history import History, RunEnd, RunInfo
from pipeline.store.pack_store import StoreError
from pipeline.store.stored_forecast import RunProbability, read_forecast
from pipeline.store.sweep_store import SweepStore

# Raised when a column is renamed, removed or changes its meaning; columns may be added under the same number.
TABLE_FORMAT = 1
# What has a name of its own in the table; a hyperparameter's name always has a dot, but for `batch_size` and `dtype`.
OWN_COLUMNS = (
    "run_id",
    "setting_id",
    "setting",
    "init_seed",
    "data_seed",
    "parent",
    "fork_step",
    "equal_to",
    "budget",
    "end",
    "last_step",
    "outcome",
    "outcome_after",
    "outcome_by",
    "p_converged",
    "p_diverged",
    "forecast_window",
    "forecast_step",
    "forecast_median",
    "forecast_low",
    "forecast_high",
    "fold",
)


def run_table(store: SweepStore, judged: JudgedBy | None = None) -> pa.Table:
    """A row for each run, in the order of the plan; OWN_COLUMNS and a column for every window and hyperparameter.

    `setting` is the setting in words. `equal_to` is null, but for a run that draws the same as another of the sweep
    which counts in its place: it has the id of that one, so the rows where it is null are of different runs. `end` says
    how training ended (`running` while it has not) and `last_step` where.
    `outcome` is judged by the sweep's criterion, or as `judged` says: converged, diverged, unconverged or censored, at
    a step in (`outcome_after`, `outcome_by`]. The forecast is the newest one that the store keeps, by the sweep's own
    criterion, of the runs that were in training then; its columns are null for all others, and steps of convergence
    beyond the budget are null, too. `held_out_SHARE` is P(converged) from the window that ends at this share of the
    budget, by models that saw none of the run's seeds, and `fold` the fold that it was held out in, both from the
    newest analysis by this criterion; null without one, for runs that had an outcome by the end of the window, and
    where a run's outcome has changed since the analysis.
    Hyperparameters keep their dotted paths as names; lists are JSON text, and null is where a setting has none.
    The metadata of the schema name the sweep, the criterion, the predictor of `held_out_SHARE`, and the format of the
    table (TABLE_FORMAT).
    Raises StoreError where the store cannot be read.
    """
    judged, histories = judged or judged_by(stored_spec(store)), store.histories()
    _refuse_unrecorded(store, histories, judged)
    keys = draw_keys_of([store])
    parts = [_judged(history, judged.criterion, keys) for history in histories]
    rows = {run.run_id: row for part in parts for run, row in part}
    infos = {run.run_id: run for part in parts for run, _ in part}
    runs = [infos[row["run_id"]] for row in store.plan["runs"]]
    forecast = read_forecast(store) if judged.is_own else None
    probabilities = {} if forecast is None else forecast.probabilities()
    labels = _labels(runs, store.plan["varied"])
    columns = {name: pa.array([rows[run.run_id][name] for run in runs], kind) for name, kind in _JUDGED.items()}
    found = {history.budget: read_held_out(store, history.budget, judged) for history in histories}
    held_out = _held_out(runs, rows, histories, [one for one in found.values() if one is not None])
    columns = _identity(runs, labels) | columns | _forecast(runs, probabilities) | held_out
    table = {name: columns[name] for name in OWN_COLUMNS} | held_out | _hyperparameters(runs)
    predictors = {one.predictor for one in found.values() if one is not None}
    return pa.table(table).replace_schema_metadata(_metadata(store, judged.criterion, predictors))


_JUDGED = {
    "equal_to": pa.string(),
    "budget": pa.int64(),
    "end": pa.string(),
    "last_step": pa.int64(),
    "outcome": pa.string(),
    "outcome_after": pa.int64(),
    "outcome_by": pa.int64(),
}


def _judged(history: History, criterion: Criterion, keys: Mapping[str, str]) -> list[tuple[RunInfo, dict[str, Any]]]:
    """Each run of a history, and the columns that say which run it equals and how it ended."""
    outcomes, runs = _outcomes(history, criterion), history.runs
    counts = run_that_counts([run.run_id for run in runs], history.ends, keys)
    return [
        (run, {"equal_to": None if counts[r] == r else runs[counts[r]].run_id}
         | _ended(history.budget, history.ends[r], outcomes, r))
        for r, run in enumerate(runs)
    ]  # fmt: skip


def _outcomes(history: History, criterion: Criterion) -> Outcomes:
    """The outcomes; without a value of the criterion's metric every run is censored where it stands."""
    if criterion.metric in history.values:
        return decide_outcomes(history, criterion)
    steps_R = np.array([end.step for end in history.ends], float)
    return Outcomes(criterion, np.full(len(history.runs), CENSORED, "<U11"), steps_R, steps_R)


def _ended(budget: int, end: RunEnd, outcomes: Outcomes, r: int) -> dict[str, Any]:
    return {
        "budget": budget,
        "end": end.reason,
        "last_step": end.step,
        "outcome": str(outcomes.kind_R[r]),
        "outcome_after": int(outcomes.lower_R[r]),
        "outcome_by": int(outcomes.upper_R[r]),
    }


def _labels(runs: Sequence[RunInfo], varied: Sequence[str]) -> dict[str, str]:
    return labels_of({run.setting_id: run.hyperparameters for run in runs}, tuple(varied))


def _identity(runs: Sequence[RunInfo], labels: Mapping[str, str]) -> dict[str, pa.Array]:
    return {
        "run_id": pa.array([run.run_id for run in runs], pa.string()),
        "setting_id": pa.array([run.setting_id for run in runs], pa.string()),
        "setting": pa.array([labels[run.setting_id] for run in runs], pa.string()),
        "init_seed": pa.array([run.init_seed for run in runs], pa.int64()),
        "data_seed": pa.array([run.data_seed for run in runs], pa.int64()),
        "parent": pa.array([run.parent for run in runs], pa.string()),
        "fork_step": pa.array([run.fork_step for run in runs], pa.int64()),
    }


def _forecast(runs: Sequence[RunInfo], found: Mapping[str, RunProbability]) -> dict[str, pa.Array]:
    """Columns of the forecast, null for runs that have none."""
    fields = {
        "p_converged": "converged",
        "p_diverged": "diverged",
        "forecast_window": "window",
        "forecast_step": "step",
        "forecast_median": "median",
        "forecast_low": "low",
        "forecast_high": "high",
    }
    return {
        column: pa.array([_finite(getattr(found.get(run.run_id), field, None)) for run in runs], pa.float64())
        for column, field in fields.items()
    }


def _held_out(
    runs: Sequence[RunInfo],
    rows: Mapping[str, Mapping[str, Any]],
    histories: Sequence[History],
    found: Sequence[HeldOut],
) -> dict[str, pa.Array]:
    """`fold`, and a column for every window that the sweep declares or an analysis found."""
    outcomes = {
        run_id: (row["outcome"], float(row["outcome_after"]), float(row["outcome_by"])) for run_id, row in rows.items()
    }
    known = {run_id: columns for one in found for run_id, columns in one.rows(outcomes).items()}
    shares = {share for history in histories for share, _ in history.windows}
    shares |= {share for one in found for share, _ in one.windows}
    names = dict.fromkeys(held_out_column(share) for share in sorted(shares))
    folds = [known.get(run.run_id, {}).get("fold") for run in runs]
    return {"fold": pa.array(folds, pa.int64())} | {
        name: pa.array([_finite(known.get(run.run_id, {}).get(name)) for run in runs], pa.float64()) for name in names
    }


def _refuse_unrecorded(store: SweepStore, histories: Sequence[History], judged: JudgedBy) -> None:
    """Raises StoreError where a criterion other than the sweep's own is on a metric that no run recorded."""
    if not judged.is_own and not any(judged.criterion.metric in history.values for history in histories):
        told = recorded_text(max(histories, key=lambda history: len(history.values)))
        raise StoreError(f"{store.folder}: has no metric {judged.criterion.metric!r} ({told})")


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _hyperparameters(runs: Sequence[RunInfo]) -> dict[str, pa.Array]:
    paths = dict.fromkeys(path for run in runs for path in run.hyperparameters)
    return {path: _column([run.hyperparameters.get(path) for run in runs]) for path in paths}


def _column(values: list[Any]) -> pa.Array:
    """Values of one hyperparameter as booleans, integers, floats or text: the narrowest type that holds them all."""
    types = {type(value) for value in values if value is not None}
    if types <= {bool} or types <= {int} or types <= {str}:
        return pa.array(values)
    if types <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else json.dumps(value, sort_keys=True) for value in values], pa.string())


def _metadata(store: SweepStore, criterion: Criterion, predictors: Collection[str]) -> dict[str, str]:
    return {
        "seedbed.table_format": str(TABLE_FORMAT),
        "seedbed.sweep": store.plan["name"],
        "seedbed.sweep_id": store.sweep["sweep_id"],
        "seedbed.criterion": str(criterion),
        "seedbed.held_out": ", ".join(sorted(predictors)),
    }
