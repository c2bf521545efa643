"""What the served page asks for: the page itself, columns, and what has changed since it last asked."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.outcomes.equal_runs import draw_keys_of, equal_runs_text
from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.outcomes.subsets import chosen_runs
from analysis.page.attention import attention_blob
from analysis.page.data import (
    NewestForecast,
    PageData,
    blob_of,
    forecast_names,
    kinds_R,
    newest_columns,
    page_state,
    runs_blob,
)
from analysis.page.findings import outcome_findings
from analysis.page.html import LiveLinks, StaticPart, page_html
from analysis.tables.held_out import analysis_folder, read_held_out
from analysis.uncertainty.intervals import json_safe
from pipeline.arrays import Array, Floats, Ints
from pipeline.planning.packs import stored_spec
from pipeline.spec.criteria.judged_by import JudgedBy, judged_by
from pipeline.spec.criterion import Criterion
from pipeline.spec.draws import run_that_counts
from pipeline.store.history import History, RunEnd
from pipeline.store.pack_store import StoreError
from pipeline.store.stored_forecast import FORECAST_FILE, StoredForecast, read_forecast
from pipeline.store.sweep_store import SweepStore
from pipeline.store.tails.history_tail import HistoryTail
from sweeps.command.forecasts.newest_forecast import ForecastNow

_RELOAD = {"reload": True}


class LivePage:
    """The page of the runs of one budget, equal ones once. `version` is raised by what is taken in: commits, forecasts.

    A page that shows other runs, or the same in another order, is to be loaded again. Runs are judged by the sweep's
    own criterion, or as `judged` says: forecasts in training are by the former alone, so then it shows none.
    """

    def __init__(self, store: SweepStore, budget: int | None, judged: JudgedBy | None = None) -> None:
        self.store = store
        self.judged = judged_by(stored_spec(store)) if judged is None else judged
        self.criterion: Criterion = self.judged.criterion
        self.version = 0
        self._open(budget)
        self._forecast_ns = -1
        self._forecast_version = 0
        self._forecast: StoredForecast | None = None
        self.refresh()

    def _open(self, budget: int | None) -> None:
        self.tail = HistoryTail(self.store, budget)
        self._draw_keys = draw_keys_of([self.store])
        # Places in the tail of the runs that are shown, and the version of what is known of each.
        self._shown_R = self._run_version_R = np.zeros(0, np.int64)

    def refresh(self) -> None:
        """Take in what was committed or forecast since; opens the sweep again after a launch that changed its plan."""
        if self.tail.is_replanned:
            self._open(self.tail.history([]).budget)
        touched = self.tail.poll()
        stamp_ns = _stamp_ns(self.store.folder / FORECAST_FILE)
        is_forecast = stamp_ns != self._forecast_ns
        if not (len(touched) or is_forecast or not len(self._run_version_R)):
            return
        self.version += 1
        whole = self.tail.history([self.criterion.metric])
        self._show(whole)
        self._outcomes = self._decided(self._history)
        # Said at every question, so not counted anew.
        self._is_done = all(end.reason != "running" for end in self._history.ends)
        self._progress = self._progress_text()
        self._run_version_R[np.isin(self._shown_R, touched)] = self.version
        if is_forecast:
            self._forecast_ns, self._forecast_version = stamp_ns, self.version
            self._forecast = read_forecast(self.store) if self.judged.is_own else None

    def _show(self, whole: History) -> None:
        """Take in the runs and their ends; where other ones count than before, they are shown from this version on."""
        # Of those that ended alike the one that is shown stays, or the page would be loaded again at every turn.
        is_shown_R = np.isin(np.arange(len(whole.runs)), self._shown_R).tolist()
        ends = [RunEnd(end.reason, int(is_shown)) for end, is_shown in zip(whole.ends, is_shown_R, strict=True)]
        shown_R = np.unique(run_that_counts([run.run_id for run in whole.runs], ends, self._draw_keys))
        is_changed = not np.array_equal(shown_R, self._shown_R)
        self._shown_R, self._num_equal = shown_R, len(whole.runs) - len(shown_R)
        self._history = self._shown(whole)
        if is_changed:
            self._runs_since = self.version
            self._run_version_R = np.full(len(shown_R), self.version)
            self._read_held_out()

    def _shown(self, whole: History) -> History:
        return chosen_runs(whole, self._shown_R) if self._num_equal else whole

    @property
    def budget(self) -> int:
        """The budget of its runs, in steps."""
        return self._history.budget

    def title(self, has_budget: bool) -> str:
        """The sweep's name, with the budget where it has several."""
        return f"{self._history.name}, budget {self.budget:,}" if has_budget else self._history.name

    def standing(self) -> dict[str, Any]:
        """What a list of sweeps says of this one."""
        words = self._findings()[0]
        return {"folder": str(self.store.folder), "progress": self._progress, "is_done": self._is_done, "found": words}

    def report(self) -> bytes | None:
        """The report of these runs, once they have ended; None where `seedbed report` has not written one."""
        return self._report_path.read_bytes() if self.has_report else None

    @property
    def has_report(self) -> bool:
        """Whether the runs have ended and have a report, which is no link to something else."""
        return self._is_done and self._report_path.is_file() and not self._report_path.is_symlink()

    @property
    def _report_path(self) -> Path:
        return analysis_folder(self.store, self.budget, self.judged) / "report" / "report.html"

    def html(self, pages: Sequence[tuple[str, str | None]], report: str) -> str:
        """The page, without the columns, which it asks for; `report` is the address of the report."""
        state = page_state(self._shown(self.tail.history()), self._outcomes) | {
            "version": self.version,
            "metrics": list(self.tail.metrics) or [self.criterion.metric],
            "findings": self._findings(),
            "folder": str(self.store.folder),
            "forecasts": forecast_names(self._names, self._newest()),
            "attention": {},
        }
        links = LiveLinks(report, self.has_report)
        return page_html(PageData(state), StaticPart(), pages=pages, live=links)

    def blob(self, name: str) -> bytes | None:
        """A blob by its name, as of the last refresh; None where there is none."""
        kind, _, which = name.partition("-")
        if name == "runs":
            return runs_blob(self._history, self._outcomes, self._held_out, self._newest())
        if kind == "attention":
            numbers = {run.run_id: number for number, run in enumerate(self._history.runs)}
            return attention_blob(self.store.snapshots(), {numbers[which]: which}) if which in numbers else None
        number = name.removeprefix("metric_")
        metrics = self.tail.metrics
        if not (number.isdecimal() and int(number) < max(len(metrics), 1)):
            return None
        if not metrics:
            empty = replace(self._history, values={self.criterion.metric: np.empty((len(self._history.runs), 0))})
            return blob_of(empty, self._outcomes, self.criterion.metric, self.version)
        metric = metrics[int(number)]
        return blob_of(self._shown(self.tail.history([metric])), self._outcomes, metric, self.version)

    def changes(self, since: int, metrics: Sequence[str]) -> Mapping[str, Any]:
        """What has changed after version `since`: outcomes, curves of these metrics, forecasts, words."""
        if not self._runs_since <= since <= self.version:
            return _RELOAD
        rows = np.flatnonzero(self._run_version_R > since)
        found: dict[str, Any] = {"version": self.version, "progress": self._progress, "is_done": self._is_done}
        found["has_report"] = self.has_report
        if since == self.version:
            return found
        ends = [self._history.ends[row] for row in rows.tolist()]
        found["runs"] = {
            "run": rows.tolist(),
            "kind": kinds_R(self._history, self._outcomes)[rows].tolist(),
            "lower": self._outcomes.lower_R[rows].tolist(),
            "upper": self._outcomes.upper_R[rows].tolist(),
            "step": [end.step for end in ends],
        }
        found["values"] = {metric: self._rows(metric, rows) for metric in metrics if metric in self.tail.metrics}
        newest = self._newest()
        if self._forecast_version > since and newest is not None:
            columns = newest_columns([run.run_id for run in self._history.runs], newest)
            found["newest"] = {name: _plain(column) for name, column in columns.items()}
        return found | {"metrics": list(self.tail.metrics), "findings": self._findings()}

    def _rows(self, metric: str, rows: Ints) -> dict[str, Any]:
        steps_T, values = self.tail.rows_of(metric, self._shown_R[rows])
        content = np.ascontiguousarray(values, "<f4").tobytes()
        return {"steps": steps_T.tolist(), "rows": base64.b64encode(content).decode()}

    def _decided(self, history: History) -> Outcomes:
        if self.criterion.metric not in history.values:
            nothing = {self.criterion.metric: np.empty((len(history.runs), len(history.steps_T))) * np.nan}
            history = replace(history, values=nothing)
        return decide_outcomes(history, self.criterion)

    def _newest(self) -> NewestForecast | None:
        if self._forecast is None:
            return None
        found = self._forecast.probabilities(run.run_id for run in self._history.runs)
        return NewestForecast({run.run_id: (run.converged, run.median, run.low, run.high) for run in found.values()})

    def _findings(self) -> list[str]:
        found = outcome_findings(self._history, self._outcomes)
        if self._num_equal:
            found.append(f"{equal_runs_text(self._num_equal)}.")
        running = [run.run_id for run, end in zip(self._history.runs, self._history.ends, strict=True)
                   if end.reason == "running"]  # fmt: skip
        now = ForecastNow.of(self._forecast, running, self.tail.orders) if running else None
        if now is not None:
            sentence = now.sentence().removeprefix("forecast: ")
            found.append(f"{sentence[0].upper()}{sentence[1:]}.")
        return found

    def _progress_text(self) -> str:
        history = self._history
        num_ended = sum(end.reason != "running" for end in history.ends)
        if self._is_done:
            return f"All {num_ended:,} runs have ended"
        steps = sum(min(end.step, history.budget) for end in history.ends if end.reason == "running")
        left = len(history.runs) - num_ended
        ended = f"{num_ended:,} of {len(history.runs):,} runs have ended"
        return f"{ended}; the others are at step {steps / left:,.0f} on average"

    def _read_held_out(self) -> None:
        """Held-out forecasts of the last analysis of the same runs; none of one that this version cannot read."""
        self._held_out: dict[str, Floats] = {}
        self._names: dict[str, tuple[float, int]] = {}
        found = read_held_out(self.store, self._history.budget, self.judged)
        if found is None or found.run_ids != tuple(run.run_id for run in self._history.runs):
            return
        for number, name in enumerate(found.windows):
            if np.isfinite(found.converged_RW[:, number]).any():
                self._held_out[f"held_out_{number}"] = found.converged_RW[:, number]
                self._names[f"held_out_{number}"] = name


def live_pages(store: SweepStore, budget: int | None, judged: JudgedBy | None = None) -> dict[int, LivePage]:
    """budget -> its page, of all budgets or of one. Raises StoreError where there is no sweep or no such budget."""
    if budget is not None and budget not in store.budgets:
        raise StoreError(f"{store.folder}: no run has a budget of {budget} steps (there are: {store.budgets})")
    pages = {each: LivePage(store, each, judged) for each in (store.budgets if budget is None else (budget,))}
    recorded = {metric for page in pages.values() for metric in page.tail.metrics}
    if judged is not None and not judged.is_own and recorded and judged.criterion.metric not in recorded:
        raise StoreError(f"{store.folder}: no run has recorded {judged.criterion.metric!r}")
    return pages


def _stamp_ns(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return -1


def _plain(column: Array) -> Any:
    return json_safe(column.tolist())
