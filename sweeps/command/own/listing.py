"""`seedbed list`: the sweeps that come with seedbed, and the names that a sweep file may use."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.spec.registered import MADE
from pipeline.spec.sweep import load_spec
from pipeline.spec.yaml_source import read_spec_file
from sweeps.command.own.kinds import KINDS_OF_CODE
from sweeps.command.shipped import name_of, shipped_sweeps


def list_everything(out: Console) -> None:
    """Prints a table of sweep files, and the registered names of every kind."""
    table = Table("sweep", "runs", "budget, steps", "what", box=None, header_style="bold")
    for path in shipped_sweeps():
        table.add_row(name_of(path), *_row(path))
    out.print(table)
    for name, kind in KINDS_OF_CODE.items():
        out.print(f"{kind.plural}: {', '.join([*kind.classes, *MADE.get(name, {})])}")


def _row(path: Path) -> tuple[str, str, str]:
    """Runs, budgets, description; a sweep with code of its own is not opened, which would load torch and its data."""
    data = read_spec_file(path).data
    if data.get("imports") or data.get("model", {}).get("name") == "lightning":
        return "own code", str(data["budget"]), str(data["description"])
    spec = load_spec(path)
    runs = "of its parents" if spec.fork is not None else str(len(spec.runs()))
    return runs, ", ".join(map(str, spec.budgets)), spec.description
