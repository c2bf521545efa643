"""Specs of sweeps that fork the runs of another: its criterion and grid, and nothing kept but last states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.spec.sweep import SweepSpec
from pipeline.store.sweep_store import SweepStore

_LONGEST_NAME = 64


def forked_spec(
    parents: SweepSpec,
    folder: Path,
    suffix: str,
    fork: Mapping[str, Any],
    budget: int,
    chunk: int | None = None,
) -> SweepSpec:
    """A sweep named `NAME_SUFFIX` of forks of the runs in `folder`, which is the results folder of `parents`.

    `fork` is that section of a sweep file without `sweep`. Without `chunk`, `budget` is that of the parents that are
    forked: forks are judged as those are, at the same evaluations, and end once they have converged. With a `chunk`,
    which must divide it, they run to it, and are evaluated and probed there alone. Raises ValueError for a `fork` that
    does not fit.
    """
    stored = parents.identity()
    is_whole = chunk is None
    grid = {**stored["grid"], "probe_every": None, "probe_steps": [budget]}
    if not is_whole:
        grid |= {"chunk": chunk, "eval_every": None, "eval_steps": [budget]}
    elif parents.grid.eval_steps is not None:
        grid |= {"eval_steps": parents.steps(budget).grid.eval_steps_T.tolist()}
    criterion = stored["converged"] if is_whole else {**stored["converged"], "evaluations": 1}
    return SweepSpec.model_validate(
        {
            "name": f"{parents.name[: _LONGEST_NAME - len(suffix) - 1]}_{suffix}",
            "budget": budget,
            "fork": {"sweep": str(folder.resolve()), **fork},
            "grid": grid,
            "converged": criterion,
            "stopping": {"name": "after_convergence", "evaluations": 0} if is_whole else {"name": "run_to_budget"},
            "windows": [],
            "snapshots": {"states": [], "attention": []},
            "resources": stored["resources"],
            "tracking": {"mode": "disabled"},
        }
    )


def in_order_of_packs(store: SweepStore, run_ids: Iterable[str]) -> list[str]:
    """The same runs, pack by pack: forks read their parents' states in this order, and a pack's stand in one file."""
    place_of = {run: place for place, pack in enumerate(store.plan["packs"]) for run in pack["run_ids"]}
    return sorted(run_ids, key=lambda run_id: place_of[run_id])
