"""`seedbed export`: the tables of a sweep as files that other tools read."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from analysis.tables.files import write_tables
from analysis.tables.sweep import Sweep


def run_export(folder: Path, kinds: list[str], to: Path | None, out: Console) -> None:
    """Write the tables of the sweep in `folder` into `to` (None: its folder `export`), in every one of `kinds`."""
    sweep, target = Sweep(folder), to or folder / "export"
    for kind in kinds:
        for path in write_tables(sweep, target, kind):
            out.print(str(path), soft_wrap=True, highlight=False, markup=False)
