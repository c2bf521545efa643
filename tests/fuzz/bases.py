"""The good files that cases alter: a finished sweep, one that stopped on the way, a forecaster and a policy."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from analysis.forecasting.ceiling import WindowCeiling, write_ceiling
from analysis.uncertainty.intervals import Estimate
from pipeline.spec.sections import Converged
from pipeline.stopping.policy_file import Policy, PolicyColumn, PolicyWindow, write_policy
from pipeline.store.added import AddedTable, add_table
from pipeline.store.stored_forecast import newest_orders, write_forecast
from pipeline.store.sweep_store import SweepStore
from pipeline.training.recorder import Recorder
from tests.fuzz.sweep_files import TINY

# Two packs of sixteen runs: enough to be forecast from.
SPEC = TINY.replace("together: [0, 1]", "together: {range: [0, 16]}").replace("slots: 2", "slots: 16")


def make_bases(base: Path) -> None:
    """Write all of them into an empty folder."""
    (base / "s.yaml").write_text(SPEC)
    _in_child(lambda: _command(base, ("launch", "s.yaml", "--results", "done", "--inline")))
    _in_child(lambda: _stopped(base))
    _in_child(lambda: _with_side_files(base / "done"))
    _in_child(lambda: _with_side_files(base / "begun"))
    _in_child(lambda: _command(base, ("fit", "done", "--out", "forecaster.json")))
    write_policy(base / "policy.json", policy())


def policy() -> Policy:
    """A policy that fits the tiny sweep."""
    numbers = {"fill": 1.0, "low": 0.0, "high": 9.0, "mean": 1.0, "spread": 1.0, "weight": -1.0}
    column = PolicyColumn.model_validate({"source": "metric", "name": "train_loss", "at": 10, **numbers})
    window = PolicyWindow(share=0.5, step=10, columns=(column,), intercept=0.0, threshold=0.1)
    criterion = Converged.model_validate({"metric": "label_loss", "at_most": 1.7})
    return Policy(
        source="tiny",
        num_runs=32,
        settings=(),
        budget=20,
        criterion=criterion,
        lose_at_most=0.05,
        is_promised=False,
        num_convergers=10,
        num_lost=0,
        windows=(window,),
    )


def _in_child(work: Callable[[], None]) -> None:
    """Run it in a process of its own, since this one may not compute."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _command(base: Path, arguments: tuple[str, ...]) -> None:
    from sweeps.cli.__main__ import app

    os.chdir(base)
    os.environ["CXX"] = "/nonexistent/c++"
    descriptor = os.open(base / "printed", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    app(list(arguments), standalone_mode=False)


def _stopped(base: Path) -> None:
    """Train until the second pack is on its way, and die there."""
    os.environ["SEEDBED_COMMIT_S"] = "0"
    commit, number = Recorder.commit, [0]

    def counted(*given: object) -> None:
        commit(*given)  # type: ignore[arg-type]
        number[0] += 1
        if SweepStore(base / "begun").newest_records().keys() == set(SweepStore(base / "begun").pack_ids()):
            os._exit(0)

    Recorder.commit = counted  # type: ignore[assignment,method-assign]
    _command(base, ("launch", "s.yaml", "--results", "begun", "--inline"))


def _with_side_files(folder: Path) -> None:
    store = SweepStore(folder)
    run_ids = [row["run_id"] for row in store.plan["runs"]]
    table = pa.table({"run_id": run_ids, "step": [10] * len(run_ids), "added.steps": [10.0] * len(run_ids)})
    add_table(folder, AddedTable("added", table, {"step": 10, "cost": 0.05}))
    if folder.name == "begun":
        _command(folder.parent, ("forecast", folder.name))
    if not (folder / "forecast.json").exists():
        write_forecast(store, newest_orders(store), len(run_ids), {"budget": 20, "runs": [], "windows": []})
    auroc, brier = Estimate(0.8, 0.7, 0.9), Estimate(0.1, 0.05, 0.2)
    ceiling = WindowCeiling(0.5, 10, 20, 0, 4, (), np.empty(0, np.int64), auroc, brier)
    write_ceiling(folder, [ceiling], {"budget": 20})
    shutil.rmtree(folder / "wandb", ignore_errors=True)
