"""`seedbed ceiling`: forks of runs at each window, trained to the budget, and the best forecast that they allow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.forecasting.ceiling import (
    CEILING_FILE,
    FEWEST_PARENTS,
    WindowCeiling,
    can_be_parent,
    ceiling_at,
    sample_parents,
    write_ceiling,
)
from analysis.forecasting.evaluation import windows_of
from analysis.outcomes.equal_runs import distinct_history
from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.uncertainty.intervals import json_safe
from pipeline.arrays import Bools
from pipeline.planning.forked import forked_spec, in_order_of_packs
from pipeline.planning.packs import stored_spec
from pipeline.spec.sweep import SweepSpec
from pipeline.store.files import make_folder
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import progress_by_pack, summed
from pipeline.store.snapshot_index import SnapshotIndex
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import COMPLETE
from sweeps.command.how import HERE, How
from sweeps.command.launching import train_spec

_OFF_CHUNK = "forks start between chunks, and this is no multiple of grid.chunk: name it among the sweep's windows"


@dataclass(frozen=True)
class CeilingRequest:
    """Arguments of `seedbed ceiling`; `windows` are shares of the budget, separated by commas, 0 the initialisation."""

    folder: Path
    num_parents: int = 64
    num_children: int = 20
    windows: str | None = None
    seed: int = 0
    results: Path | None = None
    how: How = HERE
    budget: int | None = None

    def fractions(self) -> list[float] | None:
        """The windows asked for; None for the sweep's own. Raises StoreError as `read_windows`, and for odd counts."""
        if self.num_parents < 1 or self.num_children < 2:
            raise StoreError("--parents must be at least 1 and --children at least 2")
        return None if self.windows is None else read_windows(self.windows)

    def forks_folder(self, store: SweepStore, budget: int) -> Path:
        """The folder that holds a results folder of forks for every window of this budget."""
        folder = self.results or self.folder.with_name(f"{self.folder.resolve().name}-ceiling")
        return folder / store.folder_of(budget).relative_to(store.folder)


@dataclass(frozen=True)
class WindowForks:
    """The forks to be trained for one window: their spec, their folder, and the runs at risk that parents are from."""

    fraction: float
    step: int
    risk_R: Bools
    spec: SweepSpec
    folder: Path

    @property
    def num_forks(self) -> int:
        """Parents times children."""
        assert self.spec.fork is not None
        assert self.spec.fork.runs != "all"
        return len(self.spec.fork.runs) * len(self.spec.fork.seeds_of("") or ())

    @property
    def most_run_steps(self) -> int:
        """Run-steps if every fork goes to the budget."""
        return self.num_forks * (self.spec.budget - self.step)


def read_windows(text: str) -> list[float]:
    """Shares of the budget from `0,0.05,0.25`. Raises StoreError unless they are in [0, 1) and increase."""
    try:
        fractions = [float(part) for part in text.split(",")]
    except ValueError:
        fractions = [-1.0]
    if not all(0 <= fraction < 1 for fraction in fractions) or sorted(set(fractions)) != fractions:
        raise StoreError(f"--windows must be increasing shares of the budget from 0 to below 1, given {text!r}")
    return fractions


def run_ceiling(request: CeilingRequest, as_json: bool, out: Console) -> int:
    """Trains the forks of every window and writes FOLDER/ceiling.json; returns the exit code, as of a launch.

    Of a sweep with several budgets it forks the runs with one, and writes into FOLDER/budget-B. Raises StoreError where
    none is chosen, nothing is committed, or no window has the states that forks start from.
    """
    # With --json, standard output holds nothing else.
    told = Console(file=StringIO()) if as_json else out
    store = SweepStore(request.folder)
    spec, history = stored_spec(store), distinct_history(store, request.budget)
    if spec.criterion.metric not in history.values:
        raise StoreError(f"{store.folder}: nothing is committed yet: there is no {spec.criterion.metric}")
    outcomes = decide_outcomes(history, spec.criterion)
    planned = list(_planned(request, store, spec, history, outcomes, told))
    if not planned:
        raise StoreError(f"{store.folder}: no window has runs at risk with kept states, so there is nothing to fork")
    _announce(planned, store, told)
    rows = []
    for window in planned:
        told.print(f"window {window.fraction:g} (step {window.step}):", style="bold")
        code = train_spec(window.spec, window.folder, window.spec.to_yaml(), request.how, told)
        if code != COMPLETE:
            told.print("incomplete, no ceiling was estimated: the same `seedbed ceiling` continues")
            return code
        rows.append(_row(window, history, request.seed))
    about = {"sweep_id": store.sweep["sweep_id"], "budget": history.budget, "seed": request.seed}
    folder = store.folder_of(history.budget)
    make_folder(folder, is_shared=bool(store.folder.stat().st_mode & 0o020))
    write_ceiling(folder, rows, about)
    if as_json:
        out.print_json(json.dumps(json_safe({**about, "rows": [row.to_json() for row in rows]})))
    else:
        _print_ceiling(rows, out)
        out.print(f"ceiling: {folder / CEILING_FILE}", markup=False)
    return COMPLETE


def _planned(
    request: CeilingRequest, store: SweepStore, spec: SweepSpec, history: History, outcomes: Outcomes, out: Console
) -> Iterator[WindowForks]:
    """The forks of every window that has kept states; of the others, prints what would keep them."""
    snapshots = store.snapshots()
    asked = request.fractions()
    for fraction in sorted({0.0, *windows_of(history)}) if asked is None else asked:
        step = history.window_step(fraction)
        if step % spec.grid.chunk:
            out.print(f"window {fraction:g} (step {step}): left out, {_OFF_CHUNK}", style="yellow")
            continue
        risk_R = can_be_parent(history, outcomes, step)
        rows = [
            r for sample in sample_parents(history, risk_R, request.num_parents, request.seed).values() for r in sample
        ]
        problem = _problem(history, snapshots, rows, step)
        if problem:
            out.print(f"window {fraction:g} (step {step}): left out, {problem}", style="yellow", markup=False)
            continue
        fork: dict[str, Any] = {
            "runs": in_order_of_packs(store, (history.runs[r].run_id for r in rows)),
            "steps": [step],
            "data_seed": {"fresh": request.num_children},
        }
        forks = forked_spec(spec, store.folder, f"ceiling_{step}", fork, history.budget)
        folder = request.forks_folder(store, history.budget) / f"step-{step}"
        yield WindowForks(fraction, step, risk_R, forks, folder)


def _problem(history: History, snapshots: SnapshotIndex, rows: list[int], step: int) -> str:
    """Why these runs cannot be forked at `step`; empty where they can."""
    if not rows:
        return "no run is at risk there"
    num_without = sum(step not in snapshots.of(history.runs[r].run_id) for r in rows) if step else 0
    if num_without:
        return (
            f"{num_without} of {len(rows)} sampled runs have no training state there: a sweep keeps them with {step} "
            "among snapshots.states in its file, or the word windows"
        )
    return ""


def _announce(planned: list[WindowForks], store: SweepStore, out: Console) -> None:
    total = sum(window.most_run_steps for window in planned)
    own = summed(progress_by_pack(store).values()).run_steps
    for window in planned:
        out.print(
            f"window {window.fraction:g} (step {window.step}): {window.num_forks} forks, "
            f"at most {window.most_run_steps:,} run-steps"
        )
    share = f", {total / own:.2g} times those of the sweep so far" if own else ""
    out.print(f"in all at most {total:,} run-steps{share}")


def _row(window: WindowForks, history: History, seed: int) -> WindowCeiling:
    forks = SweepStore(window.folder).history()
    outcomes = decide_outcomes(forks, window.spec.criterion)
    return ceiling_at(window.fraction, window.step, history, window.risk_R, forks, outcomes, seed=seed)


def _print_ceiling(rows: list[WindowCeiling], out: Console) -> None:
    out.print(_table(rows))
    out.print("with 95% intervals, over resampled parents")
    for row in rows:
        if row.num_left_out:
            few = f"{row.num_left_out} of {row.num_at_risk} runs at risk left out"
            why = f"of settings with fewer than {FEWEST_PARENTS} parents (--parents)"
            out.print(f"window {row.fraction:g}: {few}, {why}", style="yellow")


def _table(rows: list[WindowCeiling]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("window", "step", "at risk", "parents", "forks each", "attainable AUROC", "least Brier score"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row.fraction:g}",
            str(row.step),
            str(row.num_at_risk),
            str(len(row.parents)),
            str(row.num_children),
            row.auroc.text(3),
            row.brier_floor.text(3),
        )
    return table
