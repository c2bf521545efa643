"""`seedbed replay`: trains one run again, measures it more densely, and writes the rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.store.damage import unreadable
from pipeline.store.files import write_file
from pipeline.store.formats.tables import encode_arrays
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.replay import Replayed, replay
from sweeps.command.exit_codes import COMPLETE, INCOMPLETE

# Limits of the printed table; the file has all rows.
_SHOWN_METRICS, _SHOWN_ROWS = 5, 20


def run_replay(
    run: str,
    results: Path | None,
    steps: tuple[int, int, int],
    probes: tuple[str, ...],
    with_weights: bool,
    out: Console,
) -> int:
    """Replays the run whose id begins with `run` from step to step (first, last, every), prints and writes the rows.

    Returns the exit code: INCOMPLETE where the run was looked for in sweeps some of which cannot be read. Raises
    StoreError where there is no such run, step or probe, or more than one such run.
    """
    store, run_id, code = find_run(run, results)
    first, last, every = steps
    try:
        found = replay(store, run_id, first, last, every, probes, with_weights)
    except ValueError as error:
        raise StoreError(str(error)) from None
    _print_rows(found, out)
    folder = store.folder / "replays"
    folder.mkdir(mode=0o700, exist_ok=True)
    _write(found, folder / f"{run_id}-{first}-{last}-{every}", with_weights, out)
    out.print(
        f"checked: {found.num_hashes} states and weights by hash, {found.num_values} recorded numbers; all equal "
        "to the bit"
    )
    return code


def _print_rows(found: Replayed, out: Console) -> None:
    names = list(next(iter(found.rows.values())))
    shown = list(found.rows)[:: math.ceil(len(found.rows) / _SHOWN_ROWS)]
    table = Table("step", *names[:_SHOWN_METRICS], box=None, header_style="bold")
    for step in shown:
        table.add_row(str(step), *(f"{found.rows[step][name]:.5g}" for name in names[:_SHOWN_METRICS]))
    out.print(table)
    if len(shown) < len(found.rows) or len(names) > _SHOWN_METRICS:
        out.print(f"shown: {len(shown)} of {len(found.rows)} steps, {len(table.columns) - 1} of {len(names)} metrics")


def _write(found: Replayed, stem: Path, with_weights: bool, out: Console) -> None:
    rows = [
        {"step": step} | {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        for step, metrics in found.rows.items()
    ]
    document = json.dumps({"run_id": found.run_id, "rows": rows}, indent=1, allow_nan=False)
    write_file(Path(f"{stem}.json"), document.encode())
    out.print(f"rows: {stem}.json")
    if with_weights:
        arrays = {f"{step}/{name}": a for step, state in found.states.items() for name, a in state.arrays.items()}
        write_file(Path(f"{stem}.parquet"), encode_arrays(arrays))
        out.print(f"weights: {stem}.parquet")


def find_run(prefix: str, results: Path | None, err: Console | None = None) -> tuple[SweepStore, str, int]:
    """The sweep, `results` or any under results/, and the run whose id is uniquely given by `prefix`; an exit code.

    Sweeps under results/ whose documents cannot be read are named on `err`, and the code is INCOMPLETE.
    """
    everywhere = [store for path in sorted(Path("results").glob("*")) if (store := SweepStore(path)).exists()]
    stores = everywhere if results is None else [SweepStore(results)]
    left_out: dict[Path, str] = {}
    found = []
    for store in stores:
        problem = unreadable(store, is_whole=False)
        if problem is not None and len(stores) > 1:
            left_out[store.folder] = problem
            continue
        matches = [row["run_id"] for row in store.plan["runs"] if row["run_id"].startswith(prefix)]
        found += [(store, run_id) for run_id in matches]
    for folder, problem in left_out.items():
        (err or Console(stderr=True)).print(f"left out: {folder}: {problem}", style="red", markup=False)
    if len(found) == 1:
        return *found[0], INCOMPLETE if left_out else COMPLETE
    where = "results/*" if results is None else str(results)
    if not found:
        raise StoreError(
            f"{where}: no run id begins with {prefix!r}; see status --runs, or name a folder with --results"
        )
    places = ", ".join(f"{run_id} in {store.folder}" for store, run_id in found[:5])
    raise StoreError(f"{where}: {len(found)} run ids begin with {prefix!r} ({places}); name a folder with --results")
