"""`seedbed list`: the sweeps that come with seedbed, and the names that a sweep file may use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.predictors.base import PREDICTORS
from analysis.statistics.base import STATISTICS
from pipeline.models.base import MODELS
from pipeline.optimisers.base import OPTIMISERS
from pipeline.readings.base import READINGS
from pipeline.schedules.base import SCHEDULES
from pipeline.spec.sweep import load_spec
from pipeline.stopping.base import STOPPING_RULES
from pipeline.tasks.base import TASKS

_SWEEPS = Path(__file__).resolve().parent.parent


def list_everything(out: Console) -> None:
    """Prints a table of sweep files, and the registered names of every kind."""
    table = Table("sweep", "runs", "budget", "what", box=None, header_style="bold")
    for path in sorted(_SWEEPS.rglob("*.yaml")):
        spec = load_spec(path)
        runs = "of its parents" if spec.fork is not None else str(len(spec.runs()))
        table.add_row(str(path.relative_to(_SWEEPS.parent)), runs, ", ".join(map(str, spec.budgets)), spec.description)
    out.print(table)
    registries: dict[str, Iterable[str]] = {
        "tasks": TASKS,
        "models": MODELS,
        "optimisers": OPTIMISERS,
        "schedules": SCHEDULES,
        "readings": READINGS,
        "statistics": STATISTICS,
        "predictors": PREDICTORS,
        "stopping rules": STOPPING_RULES,
    }
    for kind, registry in registries.items():
        out.print(f"{kind}: {', '.join(registry)}")
