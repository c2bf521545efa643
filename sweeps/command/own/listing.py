"""`seedbed list`: the sweeps that come with seedbed, and the names that a sweep file may use."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from pipeline.spec.registered import MADE
from pipeline.spec.sweep import load_spec
from sweeps.command.own.kinds import KINDS_OF_CODE
from sweeps.command.shipped import name_of, shipped_sweeps


def list_everything(out: Console) -> None:
    """Prints a table of sweep files, and the registered names of every kind."""
    table = Table("sweep", "runs", "budget", "what", box=None, header_style="bold")
    for path in shipped_sweeps():
        spec = load_spec(path)
        runs = "of its parents" if spec.fork is not None else str(len(spec.runs()))
        table.add_row(name_of(path), runs, ", ".join(map(str, spec.budgets)), spec.description)
    out.print(table)
    for name, kind in KINDS_OF_CODE.items():
        out.print(f"{kind.plural}: {', '.join([*kind.classes, *MADE.get(name, {})])}")
