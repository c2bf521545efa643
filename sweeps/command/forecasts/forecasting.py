"""What `seedbed fit` and `seedbed forecast` do: a forecaster in a file, and forecasts of the runs that still train."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.forecasting.by_budget import forecasts_document
from analysis.forecasting.fitted import FittedForecasts, fit_forecasts
from analysis.forecasting.live import forecast_running
from analysis.forecasting.predictor_file import read_forecaster, write_forecaster
from analysis.forecasting.run_forecasts import RunForecast, RunForecasts, probability_text, time_text
from analysis.outcomes.subsets import with_metrics
from analysis.statistics.base import own_statistics
from analysis.summary.in_training import expected_of
from pipeline.spec.criteria.judged_by import JudgedBy
from pipeline.store.budgets import budgets_json, part_of
from pipeline.store.history import RunInfo
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import unfinished
from pipeline.store.stored_forecast import newest_orders
from pipeline.store.sweep_store import SweepStore
from sweeps.command.forecasts.newest_forecast import keep_forecast
from sweeps.command.sources import SweepData, budgets_in, judged_alike, print_notes, read_source, read_sources

_WIDTH, _WIDE = 300, 130
_NICENESS = 10
# At rest for at least so many seconds per CPU second of a forecast: a twentieth of one core at most.
_REST = 20
_COLUMNS = ("run", "setting", "step", "window", "P(conv.)", "P(div.)", "rank", "median step (90%)", "why")


@dataclass(frozen=True)
class ForecastRequest:
    """Arguments of `seedbed forecast`: the sweep, and what is learned from in place of it, `others` or `predictor`.

    With `any_task` runs of another task than that one's are ranked all the same. `budget` None: the runs of every
    budget, each forecast from runs of its own. All sweeps are read by `criterion`; None: by their own (see
    `judged_alike`).
    """

    store: SweepStore
    others: tuple[SweepStore, ...] = ()
    predictor: Path | None = None
    any_task: bool = False
    budget: int | None = None
    criterion: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the runs of all budgets are forecast, by the sweep's own criterion.

        Then the forecast is kept as the newest.
        """
        return (self.budget is None or len(self.store.budgets) == 1) and self.judged.is_own

    @property
    def judged(self) -> JudgedBy:
        """The criterion of what is forecast. Raises StoreError where the sweep has none of this name."""
        return judged_alike([self.store], self.criterion)

    def sources(self) -> dict[int, SweepData]:
        """The sweep's commits so far, by budget."""
        return read_sources([self.store], self.budget, self.criterion)

    def training(self) -> dict[int, FittedForecasts]:
        """What is learned from in place of the sweep, fitted, by budget; empty where nothing is.

        Raises StoreError where it cannot be.
        """
        if self.others and self.predictor is not None:
            raise StoreError("give --from or --predictor, not both")
        if self.any_task and not self.others and self.predictor is None:
            raise StoreError("--any-task is about what --from or --predictor learned from: give one of them")
        try:
            if self.predictor is not None:
                return {part_of(self.store.plan, self.budget).budget: read_forecaster(self.predictor)}
            if not self.others:
                return {}
            # Of the parts of which nothing is committed yet, too: a watch begins before they do.
            has_one = all(len(other.budgets) == 1 for other in self.others)
            return {
                budget: _fitted(
                    read_source(self.others, None if has_one else budget, self.criterion),
                    unseen_by=self.store.history(budget).runs,
                )
                for budget in budgets_in([self.store], self.budget)
            }
        except ValueError as error:
            raise StoreError(str(error)) from error


def run_fit(
    stores: Sequence[SweepStore],
    path: Path,
    metrics: Sequence[str],
    budget: int | None,
    out: Console,
    criterion: str | None = None,
) -> None:
    """Fits a forecaster to the finished runs of these sweeps and writes it; of several budgets, to those with one.

    With `metrics` it learns from those alone whose names begin so.

    Raises StoreError where the sweeps differ in budget or criterion, have several and none is chosen, or no window has
    enough finished runs.
    """
    try:
        source = read_source(stores, budget, criterion)
        fitted = _fitted(source, metrics)
    except ValueError as error:
        raise StoreError(str(error)) from error
    write_forecaster(path, fitted)
    print_notes([source], out)
    for window in fitted.windows:
        quality = f"AUROC between unseen seeds of one setting {window.auroc_within.text()} (95% interval)"
        out.print(f"window {window.fraction:g}: {window.num_finished} finished runs; {window.problem or quality}")
    if own := own_statistics():
        out.print(f"{own[0].upper()}{own[1:]}.", markup=False)
    out.print(f"forecaster: {path}", markup=False)


def run_forecast(request: ForecastRequest, as_json: bool, out: Console, err: Console) -> None:
    """Prints a forecast of every run that still trains, and keeps it as the newest; not one of a single budget of many.

    Raises StoreError where it cannot be made: two sources, nothing committed, another question, lacking columns.
    """
    sources = request.sources()
    found, problem = _forecast(request, sources, request.training())
    if as_json:
        other = {} if request.judged.is_own else {"criterion": str(request.judged.criterion)}
        out.print_json(data=_document(request, found) | other)
    else:
        print_notes(sources.values(), out)
        for part in found:
            if len(request.store.budgets) > 1:
                out.print(f"budget {part.budget} steps:")
            print_forecasts(part, out)
        if not request.judged.is_own:
            out.print(f"converged means {request.judged.criterion}", markup=False)
    if problem:
        err.print(problem)


def watch(request: ForecastRequest, interval_s: float, out: Console, err: Console) -> None:
    """Forecasts again whenever something was committed, `interval_s` seconds or more apart, until the sweep is done.

    Each time it prints a line and keeps the forecast; at low priority, and at rest for at least _REST times the CPU
    seconds of a forecast. Raises StoreError where the folder holds no sweep, or a predictor does not fit it.
    """
    store, training, before = request.store, request.training(), None
    os.nice(_NICENESS)
    while unfinished(store):
        started, orders = time.process_time(), newest_orders(store)
        if orders and orders != before:
            found, problem = _forecast(request, request.sources(), training)
            before = orders
            for part in found:
                which = f"budget {part.budget}: " if len(store.budgets) > 1 else ""
                out.print(f"{time.strftime('%H:%M:%S')} {which}{expected_of(part)}", markup=False)
            if problem:
                err.print(problem)
        time.sleep(max(interval_s, _REST * (time.process_time() - started)))
    out.print(f"{store.plan['name']}: no run is left to forecast")


def _forecast(
    request: ForecastRequest, sources: Mapping[int, SweepData], training: Mapping[int, FittedForecasts]
) -> tuple[list[RunForecasts], str]:
    """The forecasts by budget, kept as the newest if they are whole; a sentence where they could not be kept."""
    try:
        found = [
            forecast_running(
                source.history,
                source.outcomes,
                training.get(budget),
                any_task=request.any_task,
                copies_R=source.copies_R,
            )
            for budget, source in sources.items()
        ]
    except ValueError as error:
        raise StoreError(str(error)) from error
    if not request.is_whole or not any(part.runs for part in found):
        return found, ""
    num_runs = sum(len(source.history.runs) for source in sources.values())
    orders = next(iter(sources.values())).orders
    return found, keep_forecast(request.store, orders, num_runs, _document(request, found))


def _document(request: ForecastRequest, found: Sequence[RunForecasts]) -> dict[str, Any]:
    is_of_all = request.budget is None or len(request.store.budgets) == 1
    return forecasts_document(found, budgets_json(request.store.plan) if is_of_all else found[0].budget)


def _fitted(source: SweepData, metrics: Sequence[str] = (), unseen_by: Sequence[RunInfo] = ()) -> FittedForecasts:
    history = with_metrics(source.history, metrics) if metrics else source.history
    fitted = fit_forecasts(history, source.outcomes, unseen_by=unseen_by, copies_R=source.copies_R)
    if all(window.model is None for window in fitted.windows):
        left_out = f"; {fitted.num_left_out} runs share a seed with the runs to forecast" if fitted.num_left_out else ""
        raise StoreError(f"{source.history.name}: {fitted.windows[0].problem}{left_out}")
    return fitted


def print_forecasts(found: RunForecasts, out: Console) -> None:
    """A table with a row for every run, and what the forecasts rest on."""
    if not found.runs:
        out.print(f"{found.sweep}: no run is in training, so there is nothing to forecast")
        out.print("how well finished runs would have been forecast: seedbed analyse FOLDER --scores")
        return
    # In a file or a pipe every row stands on one line; a narrow terminal has no room for the reasons.
    console = out if out.is_terminal else Console(file=out.file, width=_WIDTH, highlight=False, markup=False)
    is_wide = console.width >= _WIDE
    is_shown = {"rank": any(run.rank for run in found.runs), "why": is_wide}
    names = [column for column in _COLUMNS if is_shown.get(column, True)]
    rows = [_cells(run, found.budget, is_wide) for run in found.runs]
    _print_rows(names, [tuple(row[name] for name in names) for row in rows], console)
    if not is_wide:
        out.print(f"what each forecast rests on: a terminal of {_WIDE} columns, or --json")
    for sentence in found.sentences():
        out.print(sentence, markup=False)


def _cells(run: RunForecast, budget: int, is_wide: bool) -> dict[str, str]:
    """The texts of a run's row; a narrow table has no column for reasons, so a problem stands in that of the time."""
    texts = (
        run.run_id,
        run.setting,
        str(run.step),
        "" if np.isnan(run.window) else f"{run.window:g}",
        probability_text(run.converged),
        probability_text(run.diverged),
        f"{run.rank} of {run.num_ranked}" if run.rank else "",
        run.problem if run.problem and not is_wide else time_text(run, budget),
        run.problem or "; ".join(run.reasons),
    )
    return dict(zip(_COLUMNS, texts, strict=True))


def _print_rows(names: Sequence[str], rows: Sequence[tuple[str, ...]], console: Console) -> None:
    """A line each, aligned; where that is too wide for a terminal, a table with folded cells."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (names, *rows)
    ]
    if not console.is_terminal or max(map(len, lines)) <= console.width:
        # As plain text: rich takes seconds to lay out a thousand rows.
        console.out(lines[0], style="bold", highlight=False)
        console.out("\n".join(lines[1:]), highlight=False)
        return
    table = Table(box=None, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name in ("run", "median step (90%)"))
    for row in rows:
        table.add_row(*row)
    console.print(table)
