"""Content of the wandb mirror: the tracked runs of a sweep, their progress and their rows. Needs no wandb.

A tracked run is one run of wandb's: job type `run` mirrors a run, `aggregate` a setting. A row, once written, is final:
an aggregate's row at a step is written only when none of the setting's runs can still add to that step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.arrays import Floats, Ints
from pipeline.spec.criterion import Criterion
from pipeline.store.budgets import parts_of
from pipeline.store.pack_store import Record

TrackedRow = tuple[int, dict[str, float]]

MAX_TRACKED_RUNS = 500
REPRESENTATIVES = 5
QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
RUNNING = "running"
# wandb refuses longer names of runs and groups.
_MAX_NAME = 128


@dataclass(frozen=True)
class TrackedRun:
    """A tracked run: what is fixed about it before its first row. `run_ids` is one run, or all of a setting."""

    tracked_id: str
    name: str
    group: str
    job_type: str
    config: Mapping[str, Any]
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class CommittedProgress:
    """Progress of a run or a setting: rows up to `step` are final. `reason` as in `RunEnd`; "over" for a setting."""

    step: int
    reason: str
    is_converged: bool = False


@dataclass(frozen=True)
class Recorded:
    """What one run recorded: `values_TM` at increasing `steps_T` for `metrics`, NaN where nothing was recorded."""

    steps_T: Ints
    metrics: tuple[str, ...]
    values_TM: Floats

    @staticmethod
    def empty() -> Recorded:
        """For a run that has recorded nothing."""
        return Recorded(np.empty(0, np.int64), (), np.empty((0, 0)))

    def column(self, metric: str) -> Floats:
        """(T,), all NaN for a metric that the run never recorded."""
        if metric not in self.metrics:
            return np.full(len(self.steps_T), np.nan)
        return self.values_TM[:, self.metrics.index(metric)]

    def rows(self) -> Iterator[TrackedRow]:
        """(step, metrics) in order of steps, without what was not recorded."""
        for step, values_M in zip(self.steps_T.tolist(), self.values_TM.tolist(), strict=True):
            yield step, {m: v for m, v in zip(self.metrics, values_M, strict=True) if not math.isnan(v)}


@dataclass(frozen=True)
class ConvergenceCheck:
    """Determines from a run's rows when it converged, by the sweep's criterion, at the evaluations on its grid."""

    criterion: Criterion
    eval_steps_T: Ints

    @staticmethod
    def of(sweep: Mapping[str, Any], plan: Mapping[str, Any]) -> ConvergenceCheck:
        """With the criterion and grid declared in a store's two documents."""
        # Of the largest budget: the evaluations of a smaller one are those of them that it reaches.
        eval_steps_T = np.array(parts_of(plan)[-1].eval_steps, np.int64)
        return ConvergenceCheck(Criterion(**sweep["spec"]["converged"]), eval_steps_T)

    def streak(self, recorded: Recorded) -> tuple[int, int] | None:
        """The evaluation at which the run had converged, and the later one that confirms it; None if it has not."""
        is_eval_T = np.isin(recorded.steps_T, self.eval_steps_T)
        label_1E = recorded.column(self.criterion.metric)[None, is_eval_T]
        start = int(self.criterion.first_streak(label_1E)[0])
        if start < 0:
            return None
        steps_E = recorded.steps_T[is_eval_T]
        return int(steps_E[start]), int(steps_E[start + self.criterion.evaluations - 1])


def tracked_runs(
    sweep: Mapping[str, Any], plan: Mapping[str, Any], max_runs: int = MAX_TRACKED_RUNS
) -> list[TrackedRun]:
    """All tracked runs of a sweep, runs first.

    Detail `runs`: every run. `aggregates`: every setting, and representatives: five runs a setting, evenly spaced in
    order of run_id, fewer where that makes more than `max_runs` in all. `auto`: `runs` up to `max_runs` runs.
    """
    detail = sweep["spec"]["tracking"]["detail"]
    rows_of: dict[str, list[Mapping[str, Any]]] = {}
    for row in plan["runs"]:
        rows_of.setdefault(row["setting_id"], []).append(row)
    if detail == "runs" or (detail == "auto" and len(plan["runs"]) <= max_runs):
        return [_run(sweep, plan, row) for row in plan["runs"]]
    count = min(REPRESENTATIVES, max_runs // len(rows_of))
    chosen = [row for rows in rows_of.values() for row in representatives(rows, count)]
    aggregates = [_aggregate(sweep, plan, setting_id, rows) for setting_id, rows in rows_of.items()]
    return [_run(sweep, plan, row) for row in chosen] + aggregates


def representatives(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """`count` of a setting's runs, all if there are fewer: evenly spaced in order of run_id, which is a hash."""
    ordered = sorted(rows, key=lambda row: str(row["run_id"]))
    if count >= len(ordered):
        return ordered
    return [ordered[(2 * index + 1) * len(ordered) // (2 * count)] for index in range(count)]


def _run(sweep: Mapping[str, Any], plan: Mapping[str, Any], row: Mapping[str, Any]) -> TrackedRun:
    own = {name: value for name, value in row.items() if name != "setting_id"}
    name = f"init_seed={row['init_seed']} data_seed={row['data_seed']}"
    if row.get("parent") is not None:
        name += f" fork of {row['parent']} at {row['fork_step']}"
    return TrackedRun(
        tracked_id=f"{sweep['sweep_id']}-{row['run_id']}",
        name=name,
        group=_group(plan, row["setting_id"]),
        job_type="run",
        config=_config(sweep, plan, row["setting_id"]) | own,
        run_ids=(row["run_id"],),
    )


def _aggregate(
    sweep: Mapping[str, Any], plan: Mapping[str, Any], setting_id: str, rows: Sequence[Mapping[str, Any]]
) -> TrackedRun:
    # The number is part of the id: a sweep extended by seeds has other aggregates, and written rows stay final.
    return TrackedRun(
        tracked_id=f"{sweep['sweep_id']}-{setting_id}-{len(rows)}",
        name=f"{len(rows)} runs",
        group=_group(plan, setting_id),
        job_type="aggregate",
        config=_config(sweep, plan, setting_id) | {"num_runs": len(rows)},
        run_ids=tuple(row["run_id"] for row in rows),
    )


def _group(plan: Mapping[str, Any], setting_id: str) -> str:
    setting = plan["settings"][setting_id]
    label = " ".join(f"{path}={_text(setting[path])}" for path in plan["varied"] if path in setting)
    return f"{label[: _MAX_NAME - len(setting_id) - 1]} {setting_id}".strip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _config(sweep: Mapping[str, Any], plan: Mapping[str, Any], setting_id: str) -> dict[str, Any]:
    """Nested by section: wandb's filters read a dot in a key as a path."""
    config: dict[str, Any] = {"sweep_id": sweep["sweep_id"], "sweep": sweep["name"], "setting_id": setting_id}
    for path, value in plan["settings"][setting_id].items():
        section, _, name = path.partition(".")
        if name:
            config.setdefault(section, {})[name] = value
        else:
            config[section] = value
    return config


def progress_of_runs(records: Iterable[Record], budgets: Mapping[str, int]) -> dict[str, CommittedProgress]:
    """run_id -> progress, for runs that have started. One that a larger budget will continue is running."""
    found: dict[str, CommittedProgress] = {}
    for record in records:
        found |= {run_id: CommittedProgress(active.step, RUNNING) for run_id, active in record.active.items()}
        for run_id, end in record.ends.items():
            reason = RUNNING if end.is_continued_to(budgets[run_id]) else end.reason
            found[run_id] = CommittedProgress(end.step, reason, end.is_converged)
    return found


def progress_of(tracked: TrackedRun, progress_by_run: Mapping[str, CommittedProgress]) -> CommittedProgress | None:
    """Progress of a tracked run; None before it has anything to write."""
    if tracked.job_type == "run":
        return progress_by_run.get(tracked.run_ids[0])
    if any(run_id not in progress_by_run for run_id in tracked.run_ids):
        return None
    of_runs = [progress_by_run[run_id] for run_id in tracked.run_ids]
    running = [progress.step for progress in of_runs if progress.reason == RUNNING]
    if running:
        return CommittedProgress(min(running), RUNNING)
    return CommittedProgress(max(progress.step for progress in of_runs), "over")


def read_recorded(tables: Sequence[pa.Table]) -> dict[str, Recorded]:
    """run_id -> what it recorded, from the history tables of one pack."""
    if not tables:
        return {}
    plain = [table.set_column(0, "run_id", table["run_id"].cast(pa.string())) for table in tables]
    whole = pa.concat_tables(plain, promote_options="default")
    metrics = tuple(whole.column_names[2:])
    names, codes = np.unique(np.array(whole["run_id"].to_pylist()), return_inverse=True)
    steps = whole["step"].to_numpy()
    order = np.lexsort((steps, codes))
    columns = [whole[name].to_numpy() for name in metrics]
    values = np.stack(columns, axis=1)[order] if columns else np.empty((len(steps), 0))
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    spans = [slice(low, high) for low, high in pairwise(bounds)]
    sorted_steps = steps[order]
    return {
        str(name): Recorded(sorted_steps[span], metrics, values[span]) for name, span in zip(names, spans, strict=True)
    }


def run_summary(progress: CommittedProgress, recorded: Recorded, check: ConvergenceCheck) -> dict[str, Any]:
    """How a run ended; `converged_step` is left out where it has not converged."""
    streak = check.streak(recorded)
    is_converged = streak is not None if progress.reason == RUNNING else progress.is_converged
    summary = {"reason": progress.reason, "last_step": progress.step, "converged": is_converged}
    return summary if streak is None else {**summary, "converged_step": streak[0]}


def aggregate_rows(recorded_R: Sequence[Recorded], check: ConvergenceCheck, last_step: int) -> Iterator[TrackedRow]:
    """Quantiles of every metric over the runs that recorded it, per step up to `last_step`, and how many runs have.

    A run that ended early is in no later quantile. `converged_fraction` is over all runs; each counts from the
    evaluation that confirms it, so that a row does not change when later ones are seen.
    """
    steps_T = np.unique(np.concatenate([recorded.steps_T for recorded in recorded_R]))
    steps_T = steps_T[steps_T <= last_step]
    streaks = [check.streak(recorded) for recorded in recorded_R]
    confirmed = np.array([streak[1] for streak in streaks if streak is not None], np.int64)
    metrics = list(dict.fromkeys(metric for recorded in recorded_R for metric in recorded.metrics))
    rows: list[dict[str, float]] = [{} for _ in steps_T]
    num_runs_T = np.zeros(len(steps_T), np.int64)
    for recorded in recorded_R:
        num_runs_T += np.isin(steps_T, recorded.steps_T)
    for metric in metrics:
        values_RT = _aligned(recorded_R, metric, steps_T)
        for row, values_R in zip(rows, values_RT.T, strict=True):
            present = values_R[~np.isnan(values_R)]
            if len(present):
                found = np.quantile(present, list(QUANTILES.values())).tolist()
                row |= {f"{metric}.{name}": value for name, value in zip(QUANTILES, found, strict=True)}
    for step, row, num_runs in zip(steps_T.tolist(), rows, num_runs_T.tolist(), strict=True):
        fraction = float(np.sum(confirmed <= step)) / len(recorded_R)
        yield step, {"num_runs": num_runs, "converged_fraction": fraction, **row}


def _aligned(recorded_R: Sequence[Recorded], metric: str, steps_T: Ints) -> Floats:
    values_RT = np.full((len(recorded_R), len(steps_T)), np.nan)
    for row_T, recorded in zip(values_RT, recorded_R, strict=True):
        kept = np.isin(recorded.steps_T, steps_T)
        row_T[np.searchsorted(steps_T, recorded.steps_T[kept])] = recorded.column(metric)[kept]
    return values_RT


def aggregate_summary(progress_R: Sequence[CommittedProgress], progress: CommittedProgress) -> dict[str, Any]:
    """Progress of a setting, and how its runs ended."""
    reasons = [of_run.reason for of_run in progress_R]
    return {
        "reason": progress.reason,
        "last_step": progress.step,
        "num_running": reasons.count(RUNNING),
        "num_converged": sum(of_run.is_converged for of_run in progress_R),
        "num_diverged": reasons.count("diverged"),
        "num_stopped": reasons.count("stopped"),
    }
