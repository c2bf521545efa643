"""`seedbed twins`: forecasts of runs before their first step, from twins trained for a share of their cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from analysis.forecasting.fitted import FittedForecasts, fit_forecasts
from analysis.forecasting.live import forecast_running
from analysis.forecasting.predictor_file import read_forecaster
from analysis.outcomes.outcomes import decide_outcomes
from analysis.outcomes.subsets import with_metrics
from pipeline.planning.packs import stored_spec
from pipeline.store.added import added_tables
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.look_ahead_table import AHEAD
from sweeps.command.exit_codes import COMPLETE
from sweeps.command.forecasts.forecasting import print_forecasts
from sweeps.command.forks.looking_ahead import LookAheadRequest, run_look_ahead, table_name
from sweeps.command.launching import opened_spec
from sweeps.command.request import Request
from sweeps.command.sources import read_source

# What must be equal for the twins of two sweeps to show the same.
_RECIPE = ("num_steps", "rate", "batch", "data_seed")


@dataclass(frozen=True)
class TwinsRequest:
    """Arguments of `seedbed twins`: a sweep, how its twins are trained (from window 0), and what is learned from.

    `other` is a finished sweep with twins, `predictor` a file of `seedbed fit --metrics ahead`; at most one is given.
    """

    sweep: Request
    twins: LookAheadRequest
    other: SweepStore | None = None
    predictor: Path | None = None


def run_twins(request: TwinsRequest, as_json: bool, out: Console, err: Console) -> int:
    """Opens the sweep's folder, trains a twin of each run, and prints a forecast of every run that has no outcome.

    Returns the exit code, as of a launch. Raises StoreError where there are no twins to learn from, before any is
    trained, where those that there are were trained otherwise, and as a launch and a look-ahead do.
    """
    if request.other is not None and request.predictor is not None:
        raise StoreError("give --from or --predictor, not both")
    _require_any_twins(request)
    spec = request.sweep.spec()
    folder, source = request.sweep.folder(spec), request.sweep.file.read_text(encoding="utf-8")
    told = err if as_json else out
    with opened_spec(spec, folder, source, request.sweep.how, told) as store:
        pass
    code = run_look_ahead(replace(request.twins, folder=folder), told)
    if code != COMPLETE or (request.other is None and request.predictor is None):
        return code
    try:
        found = _forecasts(request, store)
    except ValueError as error:
        raise StoreError(str(error)) from error
    if as_json:
        out.print_json(data=found.to_json())
    else:
        print_forecasts(found, out)
    return COMPLETE


def _forecasts(request: TwinsRequest, store: SweepStore) -> Any:
    criterion = stored_spec(store).criterion
    history = with_metrics(store.history(request.twins.budget), [f"{AHEAD}."])
    # Before the first commit no run has been evaluated.
    unseen_RT = np.full((len(history.runs), len(history.steps_T)), np.nan)
    history = replace(history, values={criterion.metric: unseen_RT, **history.values})
    if request.other is not None:
        _require_equal_twins(request.other, store, history.budget)
    return forecast_running(history, decide_outcomes(history, criterion), _training(request, history.budget))


def _training(request: TwinsRequest, budget: int) -> FittedForecasts:
    if request.predictor is not None:
        return read_forecaster(request.predictor)
    assert request.other is not None
    source = read_source([request.other], None if len(request.other.budgets) == 1 else budget)
    fitted = fit_forecasts(
        with_metrics(source.history, [f"{AHEAD}."]), source.outcomes, windows=(0.0,), copies_R=source.copies_R
    )
    if fitted.windows[0].model is None:
        raise ValueError(f"{source.history.name}: {fitted.windows[0].problem}")
    return fitted


def _require_any_twins(request: TwinsRequest) -> None:
    other, twins = request.other, request.twins
    if other is None or any(f"{added.name}-".startswith(f"{AHEAD}-0-") for added in added_tables(other.folder)):
        return
    options = f"--window 0 --cost {twins.cost:g} --rate {twins.rate:g}"
    options += "" if twins.batch is None else f" --batch {twins.batch:g}"
    options += "" if twins.data_seed is None else f" --data-seed {twins.data_seed}"
    raise _no_twins(other, options)


def _no_twins(other: SweepStore, options: str) -> StoreError:
    how = f"`seedbed look-ahead {other.folder} {options}` trains twins like these"
    return StoreError(f"{other.folder}: has no twins to learn from; {how}")


def _require_equal_twins(other: SweepStore, store: SweepStore, budget: int) -> None:
    here, there = _about(store, budget), _about(other, budget)
    options = f"--window 0 --cost {here['cost']:g} --rate {here['rate']:g} --batch {here['batch']:g}"
    options += "" if here["data_seed"] is None else f" --data-seed {here['data_seed']}"
    how = f"`seedbed look-ahead {other.folder} {options}` trains twins like these"
    if not there:
        raise _no_twins(other, options)
    differing = [f"{name}: {there[name]}, here {here[name]}" for name in _RECIPE if there[name] != here[name]]
    if differing:
        raise StoreError(f"{other.folder}: its twins were trained otherwise ({'; '.join(differing)}); {how}")


def _about(store: SweepStore, budget: int) -> Mapping[str, Any]:
    name = table_name(store, 0, budget)
    return next((added.about for added in added_tables(store.folder) if added.name == name), {})
