"""`seedbed read`: readings of a sweep from the weights that it kept, added to its folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version

import pyarrow as pa
from rich.console import Console

from pipeline.planning.packs import stored_spec
from pipeline.spec.reading_names import DEFAULT_READINGS
from pipeline.store.added import AddedTable, add_table
from pipeline.store.sweep_store import SweepStore
from pipeline.training.stored_readings import readings_of

_SHOWN_STEPS = 8


def run_read(store: SweepStore, names: Sequence[str], out: Console) -> None:
    """Adds a table of each named reading (default: those that are recorded by default) to the sweep's folder.

    The history has them from then on, beside what was recorded, which they never replace. Raises StoreError as
    `readings_of` does.
    """
    started, num_items = time.perf_counter(), stored_spec(store).grid.probe_items
    chosen = list(dict.fromkeys(names or DEFAULT_READINGS))
    whole = readings_of(store, chosen)
    about = {"made_with": {name: version(name) for name in ("seedbed", "torch")}, "probe_items": num_items}
    for name in chosen:
        metrics = [column for column in whole.column_names if column.startswith(f"{name}.")]
        if not metrics:
            out.print(f"{name}: can read none of the models")
            continue
        table = whole.select(["run_id", "step", *metrics])
        path = add_table(store.folder, AddedTable(name, table, {"reading": name, **about}))
        out.print(f"{name}: {_what(table)}; in {path}", markup=False)
    out.print(f"read in {time.perf_counter() - started:.1f} s")


def _what(table: pa.Table) -> str:
    """`81 numbers of 3200 runs at steps 0, 60, 120`."""
    steps = [str(step) for step in sorted(set(table["step"].to_pylist()))]
    shown = steps if len(steps) <= _SHOWN_STEPS else [*steps[: _SHOWN_STEPS - 2], "...", steps[-1]]
    num_runs = len(set(table["run_id"].to_pylist()))
    return f"{len(table.column_names) - 2} numbers of {num_runs} runs at steps {', '.join(shown)}"
