"""What `seedbed fit` and `seedbed forecast` do: a forecaster in a file, and forecasts of the runs that still train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.forecasting.fitted import FittedForecasts, fit_forecasts
from analysis.forecasting.live import RunForecasts, forecast_running, probability_text, time_text
from analysis.forecasting.predictor_file import read_forecaster, write_forecaster
from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.outcomes.subsets import joined
from pipeline.planning.packs import stored_spec
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore

_WIDTH, _WIDE = 300, 130
_COLUMNS = ("run", "setting", "step", "window", "P(conv.)", "P(div.)", "median step (90%)", "why")


def run_fit(stores: Sequence[SweepStore], path: Path, out: Console) -> None:
    """Fits a forecaster to the finished runs of these sweeps and writes it.

    Raises StoreError where the sweeps differ in budget or criterion, or no window has enough finished runs.
    """
    try:
        fitted = _fitted(stores)
    except ValueError as error:
        raise StoreError(str(error)) from error
    write_forecaster(path, fitted)
    for window in fitted.windows:
        quality = f"AUROC between unseen seeds of one setting {window.auroc_within.text()}"
        out.print(f"window {window.fraction:g}: {window.num_finished} finished runs; {window.problem or quality}")
    out.print(f"forecaster: {path}", markup=False)


def run_forecast(
    store: SweepStore, other: SweepStore | None, predictor: Path | None, as_json: bool, out: Console
) -> None:
    """Prints a forecast of every run that still trains.

    Raises StoreError where it cannot be made: two sources, nothing committed, another question, lacking columns.
    """
    if other is not None and predictor is not None:
        raise StoreError("give --from or --predictor, not both")
    try:
        training = None if other is None else _fitted([other])
        training = training if predictor is None else read_forecaster(predictor)
        history, outcomes = _read(store)
        found = forecast_running(history, outcomes, training)
    except ValueError as error:
        raise StoreError(str(error)) from error
    if as_json:
        out.print_json(data=found.to_json())
    else:
        _print(found, out)


def _fitted(stores: Sequence[SweepStore]) -> FittedForecasts:
    criteria = {_criterion(store): store for store in stores}
    if len(criteria) > 1:
        told = "; ".join(f"{store.folder}: {criterion}" for criterion, store in criteria.items())
        raise StoreError(f"these sweeps have different criteria: {told}")
    history = joined([_history(store) for store in stores])
    fitted = fit_forecasts(history, decide_outcomes(history, next(iter(criteria))))
    if all(window.model is None for window in fitted.windows):
        raise StoreError(f"{history.name}: {fitted.windows[0].problem}")
    return fitted


def _read(store: SweepStore) -> tuple[History, Outcomes]:
    history = _history(store)
    return history, decide_outcomes(history, _criterion(store))


def _history(store: SweepStore) -> History:
    history = store.history()
    if not history.values:
        raise StoreError(f"{store.folder}: nothing is committed yet")
    return history


def _criterion(store: SweepStore) -> Criterion:
    return stored_spec(store).criterion


def _print(found: RunForecasts, out: Console) -> None:
    if not found.runs:
        out.print(f"{found.sweep}: no run is in training, so there is nothing to forecast")
        return
    # In a file or a pipe every row stands on one line; a narrow terminal has no room for the reasons.
    console = out if out.is_terminal else Console(file=out.file, width=_WIDTH, highlight=False, markup=False)
    is_wide = console.width >= _WIDE
    table = Table(box=None, header_style="bold")
    for column in _COLUMNS if is_wide else _COLUMNS[:-1]:
        table.add_column(column, overflow="fold", no_wrap=column in ("run", "median step (90%)"))
    for run in found.runs:
        row = (
            run.run_id,
            run.setting,
            str(run.step),
            "" if run.window != run.window else f"{run.window:g}",
            probability_text(run.converged),
            probability_text(run.diverged),
            run.problem if run.problem and not is_wide else time_text(run, found.budget),
            run.problem or "; ".join(run.reasons),
        )
        table.add_row(*row[: len(table.columns)])
    console.print(table)
    if not is_wide:
        out.print(f"what each forecast rests on: a terminal of {_WIDE} columns, or --json")
    for sentence in found.sentences():
        out.print(sentence, markup=False)
