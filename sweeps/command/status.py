"""`seedbed status`: progress of a sweep, read from its store alone."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.store.history import History
from pipeline.store.progress import packs_left, progress_by_pack, summed
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import COMPLETE, INCOMPLETE

_ENDS = {"running": "in progress"}


def show_status(store: SweepStore, with_runs: bool, as_json: bool, out: Console) -> int:
    """Print counts of runs, and a line for each if `with_runs`; returns the exit code, COMPLETE or INCOMPLETE."""
    progress = progress_by_pack(store)
    left, total, name = packs_left(progress), summed(progress.values()), store.plan["name"]
    code = INCOMPLETE if left else COMPLETE
    if as_json:
        document = {"sweep": name, "folder": str(store.folder), **asdict(total), "packs_left": sorted(left)}
        if with_runs:
            document["runs"] = _run_documents(store.history())
        out.print_json(data=document)
        return code
    out.print(
        f"{name}: {total.num_done}/{total.num_runs} runs done, {total.num_converged} converged, "
        f"{total.num_diverged} diverged; {total.run_steps:,} run-steps"
    )
    if with_runs:
        _print_runs(store.history(), out)
    if left:
        out.print(
            f"incomplete: {len(left)} packs are left; resume with: seedbed resume {shlex.quote(str(store.folder))}"
        )
    return code


def _run_documents(history: History) -> list[dict[str, Any]]:
    return [
        {
            "run_id": run.run_id,
            "init_seed": run.init_seed,
            "data_seed": run.data_seed,
            **{name: run.hyperparameters.get(name) for name in history.varied},
            "end": end.reason,
            "step": end.step,
        }
        for run, end in zip(history.runs, history.ends, strict=True)
    ]


def _print_runs(history: History, out: Console) -> None:
    names = history.varied
    table = Table(box=None, header_style="bold")
    for column in ("run", "init", "data", *(name.rpartition(".")[2] for name in names), "end", "step"):
        table.add_column(column, no_wrap=True)
    for run, end in zip(history.runs, history.ends, strict=True):
        values = [str(run.hyperparameters.get(name)) for name in names]
        table.add_row(
            run.run_id,
            str(run.init_seed),
            str(run.data_seed),
            *values,
            _ENDS.get(end.reason, end.reason),
            str(end.step),
        )
    out.print(table)
