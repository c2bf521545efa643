"""A sweep to work with in Python: its tables as Arrow, pandas, polars and xarray, and a short description.

from analysis.tables.sweep import Sweep

sweep = Sweep("results/quickstart")
runs = sweep.runs().to_pandas()
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from analysis.outcomes.outcomes import OUTCOME_KINDS
from analysis.tables.metric_table import joined_table, metric_table
from analysis.tables.run_table import run_table
from pipeline.counted import counted
from pipeline.planning.packs import stored_spec
from pipeline.spec.criteria.judged_by import JudgedBy, judged_by
from pipeline.store.budgets import budgets_text
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore

if TYPE_CHECKING:
    import pandas
    import polars
    import xarray

# The cells of a grid of runs x steps that `to_xarray` may make of each metric.
_MAX_CELLS = 2**28


class Sweep:
    """The sweep of a results folder, read anew at every call.

    Outcomes are by its own criterion, or by `criterion`: a name among those of its file, or a threshold such as
    `train_loss<=0.1` (see `judged_by`). Raises StoreError where the folder holds no sweep, or it has no such criterion.
    """

    def __init__(self, folder: Path | str, criterion: str | None = None) -> None:
        self.store = SweepStore(Path(folder))
        self.name: str = self.store.plan["name"]
        try:
            self.judged: JudgedBy = judged_by(stored_spec(self.store), criterion)
        except ValueError as error:
            raise StoreError(f"criterion: {error}") from error

    def runs(self) -> pa.Table:
        """A row for each run: hyperparameters, seeds, outcome, forecasts; see `run_table`."""
        return run_table(self.store, self.judged)

    def metrics(self, metrics: Collection[str] | None = None, steps: Collection[int] | None = None) -> pa.Table:
        """A row for each run and step, a column for each metric; see `metric_table`."""
        return metric_table(self.store, metrics, steps)

    def table(self, metrics: Collection[str] | None = None, steps: Collection[int] | None = None) -> pa.Table:
        """The metrics with all columns of the runs beside them, as most plots want them; see `joined_table`."""
        return joined_table(self.metrics(metrics, steps), self.runs())

    def history(self, budget: int | None = None) -> History:
        """The metrics as arrays (runs, steps), which the analyses take; see `SweepStore.history`."""
        return self.store.history(budget)

    def to_pandas(
        self, metrics: Collection[str] | None = None, steps: Collection[int] | None = None
    ) -> pandas.DataFrame:
        """`table` as a pandas data frame; text is categorical."""
        return self.table(metrics, steps).to_pandas()

    def to_polars(
        self, metrics: Collection[str] | None = None, steps: Collection[int] | None = None
    ) -> polars.DataFrame:
        """`table` as a polars data frame. Raises StoreError where polars is not installed."""
        frame: polars.DataFrame = imported("polars").from_arrow(self.table(metrics, steps))
        return frame

    def to_xarray(self, metrics: Collection[str] | None = None, steps: Collection[int] | None = None) -> xarray.Dataset:
        """A variable (run, step) for each metric, NaN where nothing was recorded, with the columns of `runs` along
        the axis `run`, whose index is the run_id.

        Raises StoreError where xarray is not installed, or the grid of runs and steps would have over 2**28 cells:
        ask for fewer steps then.
        """
        library = imported("xarray")
        rows, runs = self.metrics(metrics, steps), self.runs()
        steps_T, column_N = np.unique(rows["step"].to_numpy(), return_inverse=True)
        row_N = rows["run_id"].combine_chunks().indices.to_numpy()
        if len(runs) * len(steps_T) > _MAX_CELLS:
            raise StoreError(
                f"{len(runs)} runs x {len(steps_T)} steps are too many cells for one array; choose `steps`"
            )
        values = {}
        for name in rows.column_names[2:]:
            array_RT = np.full((len(runs), len(steps_T)), np.nan)
            array_RT[row_N, column_N] = rows[name].to_numpy()
            values[name] = (("run", "step"), array_RT)
        coordinates: dict[str, Any] = {
            name: ("run", runs[name].to_pandas().to_numpy()) for name in runs.column_names[1:]
        }
        coordinates |= {"run": runs["run_id"].to_pylist(), "step": steps_T}
        text = {key.decode(): value.decode() for key, value in runs.schema.metadata.items()}
        dataset: xarray.Dataset = library.Dataset(values, coordinates, text)
        return dataset

    def counts(self) -> dict[str, int]:
        """Number of runs of each outcome that occurs, equal runs once; runs in training are censored."""
        found = _distinct(self.runs())["outcome"].to_pylist()
        return {kind: found.count(kind) for kind in OUTCOME_KINDS if kind in found}

    def __repr__(self) -> str:
        plan, found = self.store.plan, self.counts()
        counts = ", ".join(f"{number} {kind}" for kind, number in found.items())
        num_equal = len(plan["runs"]) - sum(found.values())
        counts += f"; {num_equal} equal others, which count once" if num_equal else ""
        runs, settings = counted(len(plan["runs"]), "run"), counted(len(plan["settings"]), "setting")
        return f"Sweep({self.name!r}: {runs} of {settings}, budget {budgets_text(plan)}; {counts})"

    def _repr_html_(self) -> str:
        """The settings with the counts of their outcomes, equal runs once, for notebooks."""
        runs = _distinct(self.runs())
        rows = runs.group_by(["setting", "outcome"], use_threads=False).aggregate([([], "count_all")]).to_pylist()
        settings = dict.fromkeys(row["setting"] for row in rows)
        count = {(row["setting"], row["outcome"]): row["count_all"] for row in rows}
        head = Markup("").join(Markup("<th>{}</th>").format(kind) for kind in OUTCOME_KINDS)
        body = Markup("").join(
            Markup("<tr><td>{}</td>{}</tr>").format(
                setting,
                Markup("").join(Markup("<td>{}</td>").format(count.get((setting, kind), 0)) for kind in OUTCOME_KINDS),
            )
            for setting in settings
        )
        table = Markup("<table><thead><tr><th>setting</th>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)
        return str(Markup("<p>{}</p>{}").format(repr(self), table))


def _distinct(runs: pa.Table) -> pa.Table:
    """The rows of the runs that count: of equal ones, one."""
    return runs.filter(pc.is_null(runs["equal_to"]))


def imported(name: str) -> Any:
    """An optional library. Raises StoreError, saying how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise StoreError(f"{name} is not installed; `pip install 'seedbed[tables]'` installs it") from None
