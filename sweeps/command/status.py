"""`seedbed status`: progress of a sweep and its newest forecast, read from its store alone."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.counted import counted
from pipeline.imports import without_garbage_collection
from pipeline.store.budgets import budget_by_run
from pipeline.store.computed_by import numerics_text, numerics_that_differ
from pipeline.store.failures import failed_runs, failure_lines
from pipeline.store.history import RunEnd, RunInfo, run_info
from pipeline.store.progress import Progress, packs_left, readable_records, runs_left, summed, totals_by_pack
from pipeline.store.records.ends import EndColumns
from pipeline.store.records.record import Record
from pipeline.store.stored_forecast import RunProbability, orders_of, read_forecast
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import COMPLETE, FAILED, INCOMPLETE
from sweeps.command.fleet.workers_shown import worker_documents, worker_lines
from sweeps.command.forecasts.newest_forecast import ForecastNow, how_to_forecast

_ENDS = {"running": "in progress"}
# A run, its end, and its budget.
_Run = tuple[RunInfo, RunEnd, int]


def show_status(store: SweepStore, with_runs: bool, as_json: bool, out: Console) -> int:
    """Print counts of runs, the newest forecast, and a line for each run if `with_runs`; returns the exit code.

    Of packs the records are read, by their own checksums; of the files that they name only that these are there. The
    code is FAILED where packs are damaged, whose runs then count as not begun, or where no run is left and some
    failed; INCOMPLETE while runs are left; else COMPLETE.
    """
    # What records name is neither read nor needed here, and may be most of a disk.
    with without_garbage_collection():
        records, damaged = readable_records(store, reads_files=False)
    progress = totals_by_pack(store.plan, records)
    left, total = packs_left(progress), summed(progress.values())
    code = FAILED if damaged else INCOMPLETE if left else FAILED if total.num_failed else COMPLETE
    run_ids = runs_left(store.plan, records) if left else []
    # Without a run left there is nothing to forecast, so nothing is read.
    now = ForecastNow.of(read_forecast(store), run_ids, orders_of(records)) if run_ids else None
    runs = _runs(store, records, damaged) if with_runs else None
    by_numerics = numerics_that_differ(store.plan, records)
    if as_json:
        failed = [asdict(run) for run in failed_runs(records)]
        extra = {"runs_by_numerics": by_numerics, "damaged": damaged, "failed_runs": failed}
        document = _document(store, total, left, now, runs)
        extra["workers"] = worker_documents(store.folder)
        out.print_json(data=document | {name: value for name, value in extra.items() if value})
        return code
    out.print(
        f"{store.plan['name']}: {total.num_done}/{total.num_runs} runs done, {total.outcomes_text()}; "
        f"{total.run_steps:,} run-steps"
    )
    for line in worker_lines(store.folder):
        out.print(line, markup=False, highlight=False)
    if runs is not None:
        _print_runs(store.plan["varied"], runs, _probabilities(now), out)
    if by_numerics:
        out.print(numerics_text(by_numerics), markup=False)
    if now is not None:
        out.print(now.sentence())
    elif left and records and store.is_local:
        out.print(f"no forecast of the runs in training yet; make one with: {how_to_forecast(store.folder)}")
    for pack_id, problem in damaged.items():
        out.print(f"pack {pack_id} cannot be read, and its runs are not counted: {problem}", style="red", markup=False)
    if damaged:
        out.print(
            f"damaged: {counted(len(damaged), 'pack')}; repair with: seedbed repair {shlex.quote(store.files.address)}"
        )
    elif left:
        go_on = f"{'resume' if store.is_local else 'work'} {shlex.quote(store.files.address)}"
        out.print(f"incomplete: {counted(len(left), 'pack')} left; resume with: seedbed {go_on}")
    for line in failure_lines(store, records):
        out.print(line, style="yellow", markup=False, highlight=False)
    return code


def _document(
    store: SweepStore, total: Progress, left: list[str], now: ForecastNow | None, runs: Sequence[_Run] | None
) -> dict[str, Any]:
    document = {
        "sweep": store.plan["name"],
        "folder": store.files.address,
        **total.counts(),
        "packs_left": sorted(left),
    }
    document["forecast"] = None if now is None else now.to_json()
    if runs is not None:
        document["runs"] = _run_documents(store.plan["varied"], runs, _probabilities(now))
    return document


def _probabilities(now: ForecastNow | None) -> dict[str, RunProbability]:
    return {} if now is None else now.stored.probabilities(now.run_ids)


def _run_documents(
    varied: Sequence[str], runs: Sequence[_Run], probabilities: Mapping[str, RunProbability]
) -> list[dict[str, Any]]:
    return [
        {
            "run_id": run.run_id,
            "init_seed": run.init_seed,
            "data_seed": run.data_seed,
            **{name: run.hyperparameters.get(name) for name in varied},
            "end": end.reason,
            "step": end.step,
            "budget": budget,
            "p_converged": probabilities[run.run_id].converged if run.run_id in probabilities else None,
            "window": probabilities[run.run_id].window if run.run_id in probabilities else None,
        }
        for run, end, budget in runs
    ]


def _runs(store: SweepStore, records: Mapping[str, Record], damaged: Collection[str]) -> list[_Run]:
    """Every run, in the order of the plan; of those in damaged packs it is not known how they ended."""
    plan, budgets = store.plan, budget_by_run(store.plan)
    ends = {run: end for record in records.values() for run, end in EndColumns.of(record.ends).kind_by_run().items()}
    steps = {run_id: entry.step for record in records.values() for run_id, entry in record.active.items()}
    lost = {run_id for pack in plan["packs"] if pack["pack_id"] in damaged for run_id in pack["run_ids"]}

    def end_of(run_id: str) -> RunEnd:
        if run_id in ends:
            return RunEnd(ends[run_id].reason, ends[run_id].step)
        return RunEnd("unreadable" if run_id in lost else "running", steps.get(run_id, 0))

    return [(run_info(plan, row), end_of(row["run_id"]), budgets[row["run_id"]]) for row in plan["runs"]]


def _print_runs(
    varied: Sequence[str], runs: Sequence[_Run], probabilities: Mapping[str, RunProbability], out: Console
) -> None:
    forecast = ("P(conv.)", "window") if probabilities else ()
    budgets = ("budget",) if len({budget for *_, budget in runs}) > 1 else ()
    table = Table(box=None, header_style="bold")
    names = [name.rpartition(".")[2] for name in varied]
    for column in ("run", "init", "data", *names, *budgets, "end", "step", *forecast):
        table.add_column(column, no_wrap=True)
    for run, end, budget in runs:
        values = [*(str(run.hyperparameters.get(name)) for name in varied), *(str(budget) for _ in budgets)]
        table.add_row(
            run.run_id,
            str(run.init_seed),
            str(run.data_seed),
            *values,
            _ENDS.get(end.reason, end.reason),
            str(end.step),
            *(_forecast_cells(probabilities.get(run.run_id)) if forecast else ()),
        )
    out.print(table)


def _forecast_cells(found: RunProbability | None) -> tuple[str, str]:
    return ("", "") if found is None else (f"{found.converged:.2f}", f"{found.window:g}")
