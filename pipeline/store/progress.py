"""Progress of a sweep: that of each pack at its newest commit, and the unfinished packs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.store.budgets import budget_by_run
from pipeline.store.pack_store import Ended, Record
from pipeline.store.sweep_store import SweepStore


@dataclass(frozen=True)
class Progress:
    """Progress of a pack over all attempts; `run_steps` counts optimiser steps of single runs.

    `num_stopped` were ended by a stopping rule without having converged.
    `num_converged` includes runs still in progress where a worker reports it; a commit names ended runs alone.
    `steps_left` supposes that every run uses its whole budget.
    """

    num_runs: int
    num_done: int
    num_converged: int
    num_diverged: int
    num_stopped: int
    run_steps: int
    steps_left: int

    def outcomes_text(self) -> str:
        """How many runs converged and diverged, and how many were stopped if any were."""
        text = f"{self.num_converged} converged, {self.num_diverged} diverged"
        return f"{text}, {self.num_stopped} stopped" if self.num_stopped else text


def progress_by_pack(store: SweepStore, records: Mapping[str, Record] | None = None) -> dict[str, Progress]:
    """pack_id -> progress at its newest commit (`records`, where they are read already), for every pack of the plan."""
    plan, records = store.plan, store.newest_records() if records is None else records
    budgets = budget_by_run(plan)
    return {pack["pack_id"]: _progress(pack, records.get(pack["pack_id"]), budgets) for pack in plan["packs"]}


def _progress(pack: Mapping[str, Any], record: Record | None, budgets: Mapping[str, int]) -> Progress:
    committed = {} if record is None else record.ends
    ends = ended_for_good(committed, budgets)
    steps = {run_id: end.step for run_id, end in committed.items()}
    steps |= {} if record is None else {run_id: entry.step for run_id, entry in record.active.items()}
    missing = [run_id for run_id in pack["run_ids"] if run_id not in ends]
    return Progress(
        num_runs=len(pack["run_ids"]),
        num_done=len(pack["run_ids"]) - len(missing),
        num_converged=sum(end.is_converged for end in ends.values()),
        num_diverged=sum(end.reason == "diverged" for end in ends.values()),
        num_stopped=sum(end.reason == "stopped" for end in ends.values()),
        run_steps=0 if record is None else record.run_steps,
        steps_left=sum(budgets[run_id] - steps.get(run_id, 0) for run_id in missing),
    )


def ended_for_good(committed: Mapping[str, Ended], budgets: Mapping[str, int]) -> dict[str, Ended]:
    """run_id -> its end, of the runs that no longer train, each under its own budget."""
    return {run_id: end for run_id, end in committed.items() if not end.is_continued_to(budgets[run_id])}


def runs_left(plan: Mapping[str, Any], records: Mapping[str, Record]) -> list[str]:
    """Ids of the runs that train or have yet to start, in the order of the plan."""
    budgets = budget_by_run(plan)
    ended = {run_id for record in records.values() for run_id in ended_for_good(record.ends, budgets)}
    return [row["run_id"] for row in plan["runs"] if row["run_id"] not in ended]


def packs_left(progress: Mapping[str, Progress]) -> list[str]:
    """Ids of the packs that have runs to train, in the order of the plan."""
    return [pack_id for pack_id, entry in progress.items() if entry.num_done < entry.num_runs]


def unfinished(store: SweepStore) -> list[str]:
    """Packs whose newest whole record does not name all their runs as ended, each at its own budget."""
    return packs_left(progress_by_pack(store))


def summed(packs: Iterable[Progress]) -> Progress:
    """The progress of several packs together; zeros for no packs."""
    rows = [asdict(entry) for entry in packs]
    return Progress(**{name: sum(row[name] for row in rows) for name in Progress.__dataclass_fields__})
