"""`seedbed look-ahead`: trains short, fast forks of all runs at a window, and adds what they show to the forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from analysis.forecasting.ceiling import can_be_parent
from analysis.outcomes.outcomes import decide_outcomes
from pipeline.planning.forked import in_order_of_packs
from pipeline.planning.look_ahead import DEFAULT_RATE, LookAhead
from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.added import AddedTable, add_table
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.look_ahead_table import AHEAD, look_ahead_table, readings_ahead
from sweeps.command.exit_codes import COMPLETE
from sweeps.command.how import HERE, How
from sweeps.command.launching import train_spec


@dataclass(frozen=True)
class LookAheadRequest:
    """Arguments of `seedbed look-ahead`. `cost` is a share of a whole run's examples, `window` of its budget.

    `batch` None: the smallest share of the parents' batch that fits. `readings` None: those of `readings_ahead`.
    """

    folder: Path
    window: float
    cost: float = 0.05
    rate: float = DEFAULT_RATE
    batch: float | None = None
    data_seed: int | None = None
    readings: tuple[str, ...] | None = None
    results: Path | None = None
    how: How = HERE
    budget: int | None = None

    def forks_folder(self, look_ahead: LookAhead, store: SweepStore, budget: int) -> Path:
        """Where the forks of the runs with this budget go."""
        folder = self.results or self.folder.with_name(f"{self.folder.resolve().name}-ahead")
        part = store.folder_of(budget).relative_to(store.folder)
        return folder / part / f"step-{look_ahead.step}-{look_ahead.num_steps}"


def run_look_ahead(request: LookAheadRequest, out: Console) -> int:
    """Trains the forks of all runs at risk at the window and adds what they show to the sweep's history.

    Of a sweep with several budgets it forks the runs with one. Returns the exit code, as of a launch. Raises StoreError
    where no run can be forked there, or not so, or no budget is chosen.
    """
    store = SweepStore(request.folder)
    spec, history = stored_spec(store), store.history(request.budget)
    if not 0 <= request.window < 1:
        raise StoreError(f"--window must be a share of the budget from 0 to below 1, given {request.window:g}")
    step = history.window_step(request.window)
    configs = {config.run_id: config for config in expand(spec)}
    run_ids = _parents(store, spec, history, step, out)
    budget = history.budget
    look_ahead = look_ahead_of(request, budget, step, [configs[run_id] for run_id in run_ids])
    names = readings_ahead(request.readings, [configs[run.run_id] for run in history.runs])
    try:
        forks = look_ahead.spec(spec, store.folder, in_order_of_packs(store, run_ids))
    except ValueError as error:
        raise StoreError(str(error)) from error
    cost = look_ahead.cost(budget)
    out.print(
        f"look-ahead from step {step}: {len(run_ids)} forks of {look_ahead.num_steps} steps, at {look_ahead.rate:g} "
        f"times the learning rate and {look_ahead.batch:g} times the batch size; each takes {cost:.1%} of the examples "
        "of a whole run"
    )
    folder = request.forks_folder(look_ahead, store, budget)
    code = train_spec(forks, folder, forks.to_yaml(), request.how, out)
    if code != COMPLETE:
        out.print("incomplete, nothing was added: the same command continues")
        return code
    table = look_ahead_table(SweepStore(folder), names)
    about = {**look_ahead.about(budget), "readings": list(names)}
    path = add_table(store.folder, AddedTable(table_name(store, step, budget), table, about))
    out.print(f"{len(table.column_names) - 2} numbers of {len(table)} runs at step {step}: {path}", markup=False)
    return COMPLETE


def table_name(store: SweepStore, step: int, budget: int) -> str:
    """The name of the added table of the look-ahead from a step of the runs with this budget."""
    return f"{AHEAD}-{step}" if len(store.budgets) == 1 else f"{AHEAD}-{step}-budget-{budget}"


def look_ahead_of(request: LookAheadRequest, budget: int, step: int, parents: Sequence[RunConfig]) -> LookAhead:
    """The look-ahead that is asked for, of runs with this budget. Raises StoreError for a cost that none has."""
    settings = [parent.setting for parent in parents]
    try:
        return LookAhead.costing(request.cost, step, budget, settings, request.rate, request.batch, request.data_seed)
    except ValueError as error:
        raise StoreError(str(error)) from error


def _parents(store: SweepStore, spec: SweepSpec, history: History, step: int, out: Console) -> list[str]:
    """The runs to be forked: of step 0 all, later those at risk there whose states are kept."""
    if step == 0:
        return [run.run_id for run in history.runs if run.parent is None]
    if spec.criterion.metric not in history.values:
        raise StoreError(f"{store.folder}: nothing is committed yet: there is no {spec.criterion.metric}")
    risk_R = can_be_parent(history, decide_outcomes(history, spec.criterion), step)
    asked = [history.runs[r].run_id for r in np.flatnonzero(risk_R)]
    snapshots = store.snapshots()
    found = [run_id for run_id in asked if step in snapshots.of(run_id)]
    if not found:
        raise StoreError(
            f"{store.folder}: none of the {len(asked)} runs at risk at step {step} has its state kept there; "
            f"snapshots.states of a sweep file, with {step} or the word windows, keeps it"
        )
    if len(found) < len(asked):
        out.print(
            f"{len(asked) - len(found)} of {len(asked)} runs at risk are left out: no state is kept", style="yellow"
        )
    return found


def names_in(text: str | None) -> tuple[str, ...] | None:
    """The names in `circuits,forces`; None of None, and none of an empty text."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())
