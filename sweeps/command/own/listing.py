"""`seedbed list`: the sweeps that come with seedbed, and the names that a sweep file may use."""

from __future__ import annotations

import textwrap
from pathlib import Path

from rich.console import Console

from pipeline.long_loops import loop_over
from pipeline.spec.registered import MADE
from pipeline.spec.sweep import load_spec
from pipeline.spec.yaml_source import read_spec_file
from sweeps.command.own.kinds import KINDS_OF_CODE
from sweeps.command.shipped import name_of, shipped_sweeps
from sweeps.command.terminal.wrapped import print_wrapped

_HEAD = ("sweep", "runs", "budget", "what")
# A description is not cut to fewer characters than these, however narrow the terminal.
_LEAST = 20


def list_everything(out: Console) -> None:
    """Prints a line for each sweep, as it is launched by name, and the registered names of every kind.

    On a terminal descriptions end with the line; names never do.
    """
    # Those to begin with are in no folder.
    paths = sorted(shipped_sweeps(), key=lambda path: "/" in name_of(path))
    rows = [(name_of(path), *_row(path)) for path in loop_over("reading sweeps", paths)]
    names, runs, budgets = (max(map(len, column)) for column in list(zip(_HEAD, *rows, strict=True))[:3])
    for row in (_HEAD, *rows):
        start = f"{row[0]:{names}}  {row[1]:>{runs}}  {row[2]:>{budgets}}  "
        what = textwrap.shorten(row[3], max(_LEAST, out.width - len(start)), placeholder=" ...")
        line = start + (what if out.is_terminal else row[3])
        out.print(line, style="bold" if row is _HEAD else "")
    out.print()
    for name, kind in KINDS_OF_CODE.items():
        print_wrapped(out, f"{kind.plural}: {', '.join([*kind.classes, *MADE.get(name, {})])}")
    print_wrapped(out, "more of each: seedbed list NAME")


def _row(path: Path) -> tuple[str, str, str]:
    """Runs, budgets, description; a sweep with code of its own is not opened, which would load torch and its data."""
    data = read_spec_file(path).data
    if data.get("imports") or data.get("model", {}).get("name") == "lightning":
        return "own code", str(data["budget"]), str(data["description"])
    spec = load_spec(path)
    runs = "forks" if spec.fork is not None else str(len(spec.runs()))
    return runs, ", ".join(map(str, spec.budgets)), spec.description
