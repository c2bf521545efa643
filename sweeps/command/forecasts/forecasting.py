"""What `seedbed fit` and `seedbed forecast` do: a forecaster in a file, and forecasts of the runs that still train."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.forecasting.fitted import FittedForecasts, fit_forecasts
from analysis.forecasting.live import RunForecast, RunForecasts, forecast_running, probability_text, time_text
from analysis.forecasting.predictor_file import read_forecaster, write_forecaster
from analysis.outcomes.subsets import with_metrics
from analysis.summary.in_training import expected_of
from pipeline.store.history import RunInfo
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import unfinished
from pipeline.store.stored_forecast import newest_orders
from pipeline.store.sweep_store import SweepStore
from sweeps.command.forecasts.newest_forecast import keep_forecast
from sweeps.command.sources import read_source

_WIDTH, _WIDE = 300, 130
_NICENESS = 10
# At rest for at least so many seconds per CPU second of a forecast: a twentieth of one core at most.
_REST = 20
_COLUMNS = ("run", "setting", "step", "window", "P(conv.)", "P(div.)", "median step (90%)", "why")


def run_fit(stores: Sequence[SweepStore], path: Path, metrics: Sequence[str], out: Console) -> None:
    """Fits a forecaster to the finished runs of these sweeps and writes it.

    With `metrics` it learns from those alone whose names begin so.

    Raises StoreError where the sweeps differ in budget or criterion, or no window has enough finished runs.
    """
    try:
        fitted = _fitted(stores, metrics)
    except ValueError as error:
        raise StoreError(str(error)) from error
    write_forecaster(path, fitted)
    for window in fitted.windows:
        quality = f"AUROC between unseen seeds of one setting {window.auroc_within.text()}"
        out.print(f"window {window.fraction:g}: {window.num_finished} finished runs; {window.problem or quality}")
    out.print(f"forecaster: {path}", markup=False)


def run_forecast(
    store: SweepStore, other: SweepStore | None, predictor: Path | None, as_json: bool, out: Console, err: Console
) -> None:
    """Prints a forecast of every run that still trains, and keeps it as the newest.

    Raises StoreError where it cannot be made: two sources, nothing committed, another question, lacking columns.
    """
    found, problem = _forecast(store, _training(store, other, predictor))
    if as_json:
        out.print_json(data=found.to_json())
    else:
        print_forecasts(found, out)
    if problem:
        err.print(problem)


def watch(
    store: SweepStore, other: SweepStore | None, predictor: Path | None, interval_s: float, out: Console, err: Console
) -> None:
    """Forecasts again whenever something was committed, `interval_s` seconds or more apart, until the sweep is done.

    Each time it prints a line and keeps the forecast; at low priority, and at rest for at least _REST times the CPU
    seconds of a forecast. Raises StoreError where the folder holds no sweep, or a predictor does not fit it.
    """
    training, before = _training(store, other, predictor), None
    os.nice(_NICENESS)
    while unfinished(store):
        started, orders = time.process_time(), newest_orders(store)
        if orders and orders != before:
            found, problem = _forecast(store, training)
            before = orders
            out.print(f"{time.strftime('%H:%M:%S')} {expected_of(found)}", markup=False)
            if problem:
                err.print(problem)
        time.sleep(max(interval_s, _REST * (time.process_time() - started)))
    out.print(f"{store.plan['name']}: no run is left to forecast")


def _forecast(store: SweepStore, training: FittedForecasts | None) -> tuple[RunForecasts, str]:
    """The forecasts, kept as the newest; a sentence where they could not be kept."""
    source = read_source([store])
    try:
        found = forecast_running(source.history, source.outcomes, training, copies_R=source.copies_R)
    except ValueError as error:
        raise StoreError(str(error)) from error
    if not found.runs:
        return found, ""
    return found, keep_forecast(store, source.orders, len(source.history.runs), found.to_json())


def _training(store: SweepStore, other: SweepStore | None, predictor: Path | None) -> FittedForecasts | None:
    if other is not None and predictor is not None:
        raise StoreError("give --from or --predictor, not both")
    try:
        if other is not None:
            return _fitted([other], unseen_by=read_source([store]).history.runs)
        return None if predictor is None else read_forecaster(predictor)
    except ValueError as error:
        raise StoreError(str(error)) from error


def _fitted(
    stores: Sequence[SweepStore], metrics: Sequence[str] = (), unseen_by: Sequence[RunInfo] = ()
) -> FittedForecasts:
    source = read_source(stores)
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
        return
    # In a file or a pipe every row stands on one line; a narrow terminal has no room for the reasons.
    console = out if out.is_terminal else Console(file=out.file, width=_WIDTH, highlight=False, markup=False)
    is_wide = console.width >= _WIDE
    _print_rows([_row(run, found.budget, is_wide) for run in found.runs], console)
    if not is_wide:
        out.print(f"what each forecast rests on: a terminal of {_WIDE} columns, or --json")
    for sentence in found.sentences():
        out.print(sentence, markup=False)


def _row(run: RunForecast, budget: int, is_wide: bool) -> tuple[str, ...]:
    """The cells of a run; only a wide table says why."""
    row = (
        run.run_id,
        run.setting,
        str(run.step),
        "" if run.window != run.window else f"{run.window:g}",
        probability_text(run.converged),
        probability_text(run.diverged),
        run.problem if run.problem and not is_wide else time_text(run, budget),
    )
    return (*row, run.problem or "; ".join(run.reasons)) if is_wide else row


def _print_rows(rows: Sequence[tuple[str, ...]], console: Console) -> None:
    """A line each, aligned; where that is too wide for a terminal, a table with folded cells."""
    names = _COLUMNS[: len(rows[0])]
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
