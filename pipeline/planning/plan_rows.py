"""The runs of a plan as its document has them: a row for each, or columns where there are many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.spec.run_config import RunConfig, Setting
from pipeline.store.plans import plan_columns


def of_every_setting(runs: Iterable[RunConfig]) -> list[RunConfig]:
    """Runs that have every setting of `runs` between them, in their order; of forks all of them."""
    firsts: dict[int, RunConfig] = {}
    last: Setting | None = None
    for run in runs:
        # Runs of one setting share it and stand together, and what a fork changes is its own.
        if run.setting is not last or run.lineage is not None:
            last = run.setting
            firsts.setdefault(id(last if run.lineage is None else run), run)
    return [*firsts.values()]


def rows_of(runs: Mapping[str, RunConfig]) -> Sequence[dict[str, Any]]:
    """A row for each run, by id, in order; of many runs without forks as columns, from which rows are made."""
    configs = runs.values()
    if len(runs) <= plan_columns.FEW_RUNS or any(run.lineage is not None for run in of_every_setting(configs)):
        return [_row(run_id, config) for run_id, config in runs.items()]
    return plan_columns.RunColumns(
        [*runs],
        [run.setting.setting_id for run in configs],
        [run.init_seed for run in configs],
        [run.data_seed for run in configs],
    )


def _row(run_id: str, config: RunConfig) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run_id": run_id,
        "setting_id": config.setting_id,
        "init_seed": config.init_seed,
        "data_seed": config.data_seed,
    }
    if config.lineage is not None:
        row |= {"parent": config.lineage.parent, "fork_step": config.lineage.step}
        row["changes"] = dict(config.lineage.changes)
    return row
