"""Progress of a sweep: that of each pack at its newest commit, and the unfinished packs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pipeline.long_loops import loop_over
from pipeline.store.budgets import budget_by_run, budgets_of
from pipeline.store.pack_store import StoreError
from pipeline.store.records.ends import FAILED_RUN, EndColumns, Ended
from pipeline.store.records.record import Record
from pipeline.store.sweep_store import SweepStore


@dataclass(frozen=True)
class Progress:
    """Progress of a pack over all attempts; `run_steps` counts optimiser steps of single runs.

    `num_stopped` were ended by a stopping rule without having converged, `num_failed` by an error.
    `num_converged` includes runs still in progress where a worker reports it; a commit names ended runs alone.
    `steps_left` supposes that every run uses its whole budget. `num_running` have begun and not ended.
    `by_setting` has the same for the pack's runs of each setting, by its id; there it is empty.
    """

    num_runs: int
    num_done: int
    num_converged: int
    num_diverged: int
    num_stopped: int
    run_steps: int
    steps_left: int
    num_running: int = 0
    num_failed: int = 0
    by_setting: Mapping[str, Progress] = field(default_factory=dict)

    @property
    def num_waiting(self) -> int:
        """How many runs have not begun."""
        return self.num_runs - self.num_done - self.num_running

    def at_its_start(self) -> Progress:
        """The same runs before their first step."""
        parts = {setting: part.at_its_start() for setting, part in self.by_setting.items()}
        left = self.steps_left + self.run_steps
        return Progress(self.num_runs, 0, 0, 0, 0, run_steps=0, steps_left=left, by_setting=parts)

    def counts(self) -> dict[str, int]:
        """The numbers by name, without those of each setting."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "by_setting"}

    def encoded(self) -> str:
        """As text, which a worker reports."""
        return json.dumps(asdict(self))

    @classmethod
    def decoded(cls, text: str) -> Progress:
        """The inverse of `encoded`."""
        fields = json.loads(text)
        parts = {setting: cls(**part) for setting, part in fields.pop("by_setting").items()}
        return cls(**fields, by_setting=parts)

    def outcomes_text(self) -> str:
        """How many runs converged and diverged, and how many were stopped or failed if any were."""
        text = f"{self.num_converged} converged, {self.num_diverged} diverged"
        text += f", {self.num_stopped} stopped" if self.num_stopped else ""
        return f"{text}, {self.num_failed} failed" if self.num_failed else text


@dataclass(frozen=True)
class RunStates:
    """Where the runs of a pack stand, as its newest commit or its worker knows them.

    `ends` are of runs that no longer train, `steps` of all that have begun; `running` are in a slot.
    """

    ends: Mapping[str, Ended]
    steps: Mapping[str, int]
    converged: Collection[str]
    running: Collection[str]

    def progress(
        self, setting_of: Mapping[str, str], budgets: Mapping[str, int], run_steps: int | None = None
    ) -> Progress:
        """Progress of the runs that `setting_of` maps to their settings, of each setting too.

        `run_steps`, where it is known, counts what lost attempts took as well.
        """
        by_setting: dict[str, list[str]] = {}
        for run_id, setting in setting_of.items():
            by_setting.setdefault(setting, []).append(run_id)
        parts = {setting: self._of(run_ids, budgets) for setting, run_ids in by_setting.items()}
        whole = replace(summed(parts.values()), by_setting=parts)
        return whole if run_steps is None else replace(whole, run_steps=run_steps)

    def _of(self, run_ids: Collection[str], budgets: Mapping[str, int]) -> Progress:
        ends = [self.ends[run_id] for run_id in run_ids if run_id in self.ends]
        left = [run_id for run_id in run_ids if run_id not in self.ends]
        return Progress(
            num_runs=len(run_ids),
            num_done=len(ends),
            num_converged=sum(run_id in self.converged for run_id in run_ids),
            num_diverged=sum(end.reason == "diverged" for end in ends),
            num_stopped=sum(end.reason == "stopped" for end in ends),
            run_steps=sum(self.steps.get(run_id, 0) for run_id in run_ids),
            steps_left=sum(budgets[run_id] - self.steps.get(run_id, 0) for run_id in left),
            num_running=sum(run_id in self.running for run_id in left),
            num_failed=sum(end.reason == FAILED_RUN for end in ends),
        )


def readable_records(store: SweepStore, reads_files: bool = True) -> tuple[dict[str, Record], dict[str, str]]:
    """pack_id -> newest whole record, of packs that have one; and what is damaged, by pack, where none is whole.

    Without `reads_files` the files that a record names need only be there.
    """
    records: dict[str, Record] = {}
    damaged: dict[str, str] = {}
    for pack_id in loop_over("reading commits", store.pack_ids()):
        try:
            record = store.pack(pack_id).newest(reads_files)
        except StoreError as error:
            damaged[pack_id] = str(error)
            continue
        if record is not None:
            records[pack_id] = record
    return records, damaged


def totals_by_pack(plan: Mapping[str, Any], records: Mapping[str, Record]) -> dict[str, Progress]:
    """pack_id -> progress at its newest commit, for every pack of the plan; that of each setting may be left out.

    Where all runs have one budget, ends are counted by kind, so a million runs take milliseconds.
    """
    if len(budgets_of(plan)) > 1:
        return _by_run(plan, records)
    (budget,) = budgets_of(plan)
    return {
        pack["pack_id"]: _total(len(pack["run_ids"]), records.get(pack["pack_id"]), budget) for pack in plan["packs"]
    }


def _total(num_runs: int, record: Record | None, budget: int) -> Progress:
    if record is None:
        return Progress(num_runs, 0, 0, 0, 0, run_steps=0, steps_left=num_runs * budget)
    num_by_reason = {"diverged": 0, "stopped": 0, FAILED_RUN: 0}
    num_done = num_converged = 0
    steps_left = num_runs * budget - sum(entry.step for entry in record.active.values())
    for end, number in EndColumns.of(record.ends).counts():
        if end.is_continued_to(budget):
            steps_left -= number * end.step
            continue
        num_done += number
        num_converged += number if end.is_converged else 0
        steps_left -= number * budget
        if end.reason in num_by_reason:
            num_by_reason[end.reason] += number
    return Progress(
        num_runs=num_runs,
        num_done=num_done,
        num_converged=num_converged,
        num_diverged=num_by_reason["diverged"],
        num_stopped=num_by_reason["stopped"],
        run_steps=record.run_steps,
        steps_left=steps_left,
        num_running=len(record.active),
        num_failed=num_by_reason[FAILED_RUN],
    )


def progress_by_pack(store: SweepStore, records: Mapping[str, Record] | None = None) -> dict[str, Progress]:
    """pack_id -> progress at its newest commit (`records`, where they are read already), for every pack of the plan."""
    return _by_run(store.plan, store.newest_records() if records is None else records)


def _by_run(plan: Mapping[str, Any], records: Mapping[str, Record]) -> dict[str, Progress]:
    budgets = budget_by_run(plan)
    setting_of = {row["run_id"]: row["setting_id"] for row in plan["runs"]}
    return {
        pack["pack_id"]: _progress(
            {run_id: setting_of[run_id] for run_id in pack["run_ids"]}, records.get(pack["pack_id"]), budgets
        )
        for pack in plan["packs"]
    }


def _progress(setting_of: Mapping[str, str], record: Record | None, budgets: Mapping[str, int]) -> Progress:
    if record is None:
        return RunStates({}, {}, (), ()).progress(setting_of, budgets)
    ends = ended_for_good(record.ends, budgets)
    steps = {run_id: end.step for run_id, end in EndColumns.of(record.ends).kind_by_run().items()}
    steps |= {run_id: entry.step for run_id, entry in record.active.items()}
    converged = {run_id for run_id, end in ends.items() if end.is_converged}
    return RunStates(ends, steps, converged, record.active.keys()).progress(setting_of, budgets, record.run_steps)


def ended_for_good(committed: Mapping[str, Ended], budgets: Mapping[str, int]) -> dict[str, Ended]:
    """run_id -> its end, of the runs that no longer train, each under its own budget; without digests from columns."""
    ends = committed.kind_by_run() if isinstance(committed, EndColumns) else committed
    return {run_id: end for run_id, end in ends.items() if not end.is_continued_to(budgets[run_id])}


def runs_left(plan: Mapping[str, Any], records: Mapping[str, Record]) -> list[str]:
    """Ids of the runs that train or have yet to start, in the order of the plan."""
    if not packs_left(totals_by_pack(plan, records)):
        return []
    budgets = budget_by_run(plan)
    ended = {run_id for record in records.values() for run_id in ended_for_good(record.ends, budgets)}
    return [row["run_id"] for row in plan["runs"] if row["run_id"] not in ended]


def packs_left(progress: Mapping[str, Progress]) -> list[str]:
    """Ids of the packs that have runs to train, in the order of the plan."""
    return [pack_id for pack_id, entry in progress.items() if entry.num_done < entry.num_runs]


def unfinished(store: SweepStore) -> list[str]:
    """Packs whose newest whole record does not name all their runs as ended, each at its own budget."""
    return packs_left(totals_by_pack(store.plan, store.newest_records()))


def summed(packs: Iterable[Progress]) -> Progress:
    """The progress of several packs together, by setting too; zeros for no packs."""
    whole, none = list(packs), Progress(0, 0, 0, 0, 0, 0, 0)
    parts: dict[str, list[Progress]] = {}
    for entry in whole:
        for setting, part in entry.by_setting.items():
            parts.setdefault(setting, []).append(part)
    return Progress(
        **{name: sum(getattr(entry, name) for entry in whole) for name in none.counts()},
        by_setting={setting: summed(found) for setting, found in parts.items()},
    )
