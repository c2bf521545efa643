"""What `seedbed list`, `status`, `analyse`, `report` and `replay` do."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.summary.analyse import Analysis
from analysis.summary.analyse import analyse as analyse_history
from pipeline.launch.launch import unfinished
from pipeline.planning.packs import stored_spec
from pipeline.store.files import encode_arrays, write_file
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.worker import criterion_of
from sweeps.command.launching import COMPLETE, INCOMPLETE, progress_by_pack, summary_of

_SWEEPS = Path(__file__).resolve().parent.parent
_ENDS = {"running": "in progress"}
# Of a replay so much is printed; all of it is in the file.
_SHOWN_METRICS, _SHOWN_ROWS = 5, 20


def list_everything(out: Console) -> None:
    from analysis.predictors.base import PREDICTORS
    from analysis.statistics.base import STATISTICS
    from pipeline.models.base import MODELS
    from pipeline.optimisers.base import OPTIMISERS
    from pipeline.schedules.base import SCHEDULES
    from pipeline.spec.sweep import load_spec
    from pipeline.stopping.base import STOPPING_RULES
    from pipeline.tasks.base import TASKS

    table = Table("sweep", "runs", "budget", "what", box=None, header_style="bold")
    for path in sorted(_SWEEPS.rglob("*.yaml")):
        spec = load_spec(path)
        runs = "of its parents" if spec.fork is not None else str(len(spec.runs()))
        table.add_row(str(path.relative_to(_SWEEPS.parent)), runs, str(spec.budget), spec.description)
    out.print(table)
    registries: dict[str, Iterable[str]] = {
        "tasks": TASKS,
        "models": MODELS,
        "optimisers": OPTIMISERS,
        "schedules": SCHEDULES,
        "statistics": STATISTICS,
        "predictors": PREDICTORS,
        "stopping rules": STOPPING_RULES,
    }
    for kind, registry in registries.items():
        out.print(f"{kind}: {', '.join(registry)}")


def show_status(store: SweepStore, with_runs: bool, as_json: bool, out: Console) -> int:
    left = unfinished(store)
    counts = summary_of(progress_by_pack(store))
    code = INCOMPLETE if left else COMPLETE
    if as_json:
        document = {"sweep": store.plan["name"], "folder": str(store.folder), **counts, "packs_left": sorted(left)}
        if with_runs:
            document["runs"] = _run_documents(store)
        out.print_json(data=document)
        return code
    out.print(
        f"{store.plan['name']}: {counts['num_done']}/{counts['num_runs']} runs done, {counts['num_converged']} "
        f"converged, {counts['num_diverged']} diverged; {counts['run_steps']:,} run-steps"
    )
    if with_runs:
        _print_runs(store, out)
    if left:
        out.print(
            f"incomplete: {len(left)} packs are left; resume with: seedbed resume {shlex.quote(str(store.folder))}"
        )
    return code


def _run_documents(store: SweepStore) -> list[dict[str, Any]]:
    history = store.history()
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


def _print_runs(store: SweepStore, out: Console) -> None:
    history = store.history()
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


def analysis_of(store: SweepStore) -> Analysis:
    """The analysis of what is committed, by the sweep's own criterion. Raises StoreError if nothing is."""
    spec = stored_spec(store)
    history = store.history()
    if not history.values:
        raise StoreError(f"{store.folder}: nothing is committed yet")
    return analyse_history(history, criterion_of(spec), provenance_of(store))


def provenance_of(store: SweepStore) -> dict[str, Any]:
    sweep, plan = store.sweep, store.plan
    newest = sweep["launches"][-1]
    return {"sweep": plan["name"], "sweep_id": sweep["sweep_id"], **newest, "numerics": plan["packs"][0]["numerics"]}


def run_analyse(store: SweepStore, out: Console) -> Analysis:
    found = analysis_of(store)
    document = json.dumps(found.to_json(), indent=1, allow_nan=False).encode()
    write_file(store.folder / "analysis.json", document)
    out.print(found.summary(), markup=False)
    return found


def run_report(store: SweepStore, out: Console) -> None:
    from analysis.report.report import write_report

    found = run_analyse(store, out)
    page = write_report(found, store.folder / "report")
    out.print(f"report: {page}")


def run_replay(
    run: str,
    results: Path | None,
    steps: tuple[int, int, int],
    probes: tuple[str, ...],
    with_weights: bool,
    out: Console,
) -> None:
    from pipeline.training.replay import replay

    store, run_id = find_run(run, results)
    first, last, every = steps
    try:
        found = replay(store, run_id, first, last, every, probes, with_weights)
    except ValueError as error:
        raise StoreError(str(error)) from None
    names = list(next(iter(found.rows.values())))
    shown = list(found.rows)[:: math.ceil(len(found.rows) / _SHOWN_ROWS)]
    table = Table("step", *names[:_SHOWN_METRICS], box=None, header_style="bold")
    for step in shown:
        table.add_row(str(step), *(f"{found.rows[step][name]:.5g}" for name in names[:_SHOWN_METRICS]))
    out.print(table)
    if len(shown) < len(found.rows) or len(names) > _SHOWN_METRICS:
        out.print(f"shown: {len(shown)} of {len(found.rows)} steps, {len(table.columns) - 1} of {len(names)} metrics")
    folder = store.folder / "replays"
    folder.mkdir(mode=0o700, exist_ok=True)
    stem = f"{run_id}-{first}-{last}-{every}"
    finite = {
        step: {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        for step, metrics in found.rows.items()
    }
    rows = {"run_id": run_id, "rows": [{"step": step, **metrics} for step, metrics in finite.items()]}
    write_file(folder / f"{stem}.json", json.dumps(rows, indent=1, allow_nan=False).encode())
    out.print(f"rows: {folder / stem}.json")
    if with_weights:
        arrays = {f"{step}/{name}": a for step, state in found.states.items() for name, a in state.arrays.items()}
        write_file(folder / f"{stem}.parquet", encode_arrays(arrays))
        out.print(f"weights: {folder / stem}.parquet")
    out.print(f"checked: {found.num_hashes} states by hash, {found.num_values} recorded numbers; all equal to the bit")


def find_run(prefix: str, results: Path | None) -> tuple[SweepStore, str]:
    """The one sweep, of `results` or of all under results/, with one run whose id begins so."""
    everywhere = sorted(path.parent for path in Path("results").glob("*/sweep.json"))
    folders = everywhere if results is None else [results]
    found = []
    for folder in folders:
        store = SweepStore(folder)
        matches = [row["run_id"] for row in store.plan["runs"] if row["run_id"].startswith(prefix)]
        found += [(store, run_id) for run_id in matches]
    if len(found) == 1:
        return found[0]
    where = "results/*" if results is None else str(results)
    if not found:
        raise StoreError(
            f"{where}: no run id begins with {prefix!r}; see status --runs, or name a folder with --results"
        )
    places = ", ".join(f"{run_id} in {store.folder}" for store, run_id in found[:5])
    raise StoreError(f"{where}: {len(found)} run ids begin with {prefix!r} ({places}); name a folder with --results")
