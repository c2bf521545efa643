"""Every run of the landscape in one table: its settings, and the evaluations between which it converged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.claims.sweeps import Sweeps
from analysis.outcomes.outcomes import decide_outcomes
from pipeline.spec.criterion import Criterion
from sweeps.landscape import measures
from sweeps.landscape.adam.study import EPSILON
from sweeps.landscape.fates.study import EXCHANGED
from sweeps.landscape.settings.study import OTHER_SETTINGS
from sweeps.landscape.sizes.spreads import KEPT_ACCURACY_25
from sweeps.landscape.sizes.study import ALL_WIDTHS
from sweeps.landscape.study import BY_MATRIX, MATRICES, PAIRS, STUDY

_SEEDS = {name: pa.int64() for name in ("init_seed", "data_seed", "fork_step")}
_STEPS = {name: pa.int64() for name in ("not_before", "by", "ended")}
_NUMBERS = {"width": pa.int64(), "head_width": pa.int64(), "lr": pa.float64(), "eps": pa.float64()}
_TEXTS = {name: pa.string() for name in ("sweep", "parents", "combination")}
SCHEMA = pa.schema({**_TEXTS, **_NUMBERS, **_SEEDS, "outcome": pa.string(), **_STEPS})
_PATHS = ("model.width", "model.head_width", "optimiser.lr", "optimiser.eps")
_ORDER = (*MATRICES, "layer0.projection")
_MIXED = {pair.name for pair in EXCHANGED}
_OF_SETTINGS = tuple(pair for setting in OTHER_SETTINGS for pair in setting.pairs)
_PARENTS = {pair.name: (pair.first, pair.second) for pair in (*PAIRS, BY_MATRIX, *_OF_SETTINGS)}
# The metric and the step between evaluations are not the same in all sweeps.
_CRITERIA: dict[str, Criterion] = dict.fromkeys(ALL_WIDTHS, KEPT_ACCURACY_25) | {
    pair.name: setting.criterion for setting in OTHER_SETTINGS for pair in setting.pairs
}
_CRITERIA[EPSILON] = Criterion("label_excess", at_most=0.02, evaluations=2)


def runs_table(sweeps: Sweeps) -> pa.Table:
    """A row of SCHEMA for each run of the sweeps that have ended, empty where a column does not apply.

    A combination has a figure for each matrix that the model has, in the order of MATRICES: 1 for the first parent's, 2
    for the second's; of mixtures of states, 2 for the slow run's. A run converged after the step `not_before`, at the
    latest `by`, and its training went from `fork_step`, or 0, to `ended`.
    """
    return pa.Table.from_pylist(list(_rows(sweeps)), schema=SCHEMA)


def write_runs(table: pa.Table, path: Path) -> None:
    """Writes the table as Parquet, the same bytes for the same rows and version of pyarrow."""
    pq.write_table(table, path, compression="zstd", compression_level=19)


def read_runs(path: Path) -> pa.Table:
    """What `write_runs` wrote. Raises ValueError for a table of other columns."""
    table = pq.read_table(path)
    if table.schema.names != SCHEMA.names:
        raise ValueError(f"{path} has the columns {', '.join(table.schema.names)}")
    return table


def with_newer(kept: pa.Table, found: pa.Table) -> pa.Table:
    """The kept rows, those of the sweeps that are in `found` replaced, in the order of the study's sweeps."""
    is_newer = pc.is_in(kept["sweep"], pc.unique(found["sweep"]))
    together = pa.concat_tables([kept.filter(pc.invert(is_newer)), found])
    order = [sweep.name for sweep in STUDY.sweeps]
    place = pc.index_in(together["sweep"], pa.array(order))
    return together.take(pc.sort_indices(pa.table({"place": place}), [("place", "ascending")]))


def _rows(sweeps: Sweeps) -> Iterator[dict[str, Any]]:
    for name in sweeps:
        history = sweeps[name].history
        outcomes = decide_outcomes(history, _CRITERIA.get(name, measures.KEPT_ACCURACY))
        parents = _PARENTS.get(name, ())
        of_runs = zip(history.runs, history.ends, outcomes.kind_R, outcomes.lower_R, outcomes.upper_R, strict=True)
        for run, end, kind, low, high in of_runs:
            given = run.hyperparameters
            seeds = [given[path] for matrix in _ORDER if (path := f"streams.init/{matrix}") in given]
            combination = "".join(str(1 + parents.index(seed)) for seed in seeds)
            if run.fork_step is not None and name in _MIXED:
                combination = "".join("2" if matrix in run.taken else "1" for matrix in MATRICES)
            yield {
                "sweep": name,
                "parents": " ".join(map(str, parents)),
                "combination": combination,
                **{column: given.get(path) for column, path in zip(_NUMBERS, _PATHS, strict=True)},
                "init_seed": run.init_seed,
                "data_seed": run.data_seed,
                "fork_step": run.fork_step,
                "outcome": str(kind),
                "not_before": int(low),
                "by": int(high),
                "ended": end.step,
            }
