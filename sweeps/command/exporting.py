"""`seedbed export`: the tables of a sweep as files that other tools read."""

from __future__ import annotations

import shlex
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from analysis.tables.files import write_tables
from analysis.tables.sweep import Sweep


def run_export(folder: Path, kinds: list[str], to: Path | None, out: Console, criterion: str | None = None) -> None:
    """Write the tables of the sweep in `folder` into `to`, in every one of `kinds`.

    `to` None: its folder `export`, or that of `criterion` where this is not the sweep's own. Says how held-out
    forecasts are had where there are none.
    """
    sweep = Sweep(folder, criterion)
    target = to or (folder if sweep.judged.is_own else folder / sweep.judged.folder) / "export"
    without = all(column.null_count == len(column) for column in _held_out(sweep))
    for kind in kinds:
        for path in write_tables(sweep, target, kind):
            out.print(str(path), soft_wrap=True, highlight=False, markup=False)
    if without:
        asked = [] if criterion is None else ["--criterion", criterion]
        command = shlex.join(["seedbed", "analyse", str(folder), *asked])
        out.print(f"without held-out forecasts, which {command} makes", soft_wrap=True, highlight=False, markup=False)


def _held_out(sweep: Sweep) -> list[pa.ChunkedArray]:
    runs = sweep.runs()
    return [runs[name] for name in runs.column_names if name.startswith("held_out_")]
