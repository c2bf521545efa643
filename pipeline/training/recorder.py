"""Records rows, snapshots and ends of a pack's runs, and makes them durable by commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.arrays import Array, Floats
from pipeline.engine.slots import RunState, StackedStates
from pipeline.store.formats.tables import encode_arrays, encode_table
from pipeline.store.pack_store import PackStore
from pipeline.store.records.ends import FAILED_RUN, Ended
from pipeline.store.records.new_snapshots import NewSnapshots, rows_sha256
from pipeline.store.records.record import Active, Record
from pipeline.training.run_rows import NewRows, RowsByRun, RunRows


@dataclass(frozen=True)
class Origin:
    """What computes an attempt, as `Record` has it: known answer, source files, processor."""

    answer: str = ""
    sources: str = ""
    processor: str = ""


class Recorder:
    """Collects what one attempt at a pack produces, and commits it to the pack's store.

    Opening it claims the attempt and starts from the newest whole record. `rows[run_id]` holds all rows of runs in
    progress and of those to be `continued`, recorded by this attempt or an earlier one. Those are the runs that ended
    at a smaller budget than `budgets[run_id]`, or failed and are to be tried again: they count as ended until a slot
    takes them up. `origin` is of this attempt, which `claim` claims where it is given. Nothing of a run that
    ended is final before the next commit.
    """

    def __init__(
        self,
        store: PackStore,
        sweep_id: str,
        pack_id: str,
        budgets: Mapping[str, int],
        origin: Origin | None = None,
        claim: Callable[[], int] | None = None,
    ) -> None:
        self.store, self.origin = store, origin or Origin()
        self.attempt = (claim or store.claim_attempt)()
        newest = store.newest()
        self.record = newest or Record(sweep_id, pack_id, attempt=0, sequence=0)
        if newest is not None:
            older = [record for record in store.records() if record.order < newest.order]
            store.remove_unnamed(self.attempt, [newest, *older[:1]])
        else:
            store.remove_unnamed(self.attempt, [])
        self.ends = dict(self.record.ends)
        self.continued = {run: end.step for run, end in self.ends.items() if end.is_continued_to(budgets[run])}
        self.run_steps = self.record.run_steps
        self._sources = {run_id: entry.sources for run_id, entry in self.record.active.items()}
        self._sources |= {run_id: self.ends[run_id].sources for run_id in self.continued}
        self._slots = {run_id: entry.slots for run_id, entry in self.record.active.items()}
        self._slots |= {run_id: self.ends[run_id].slots for run_id in self.continued}
        self.rows = RowsByRun(self._rows_in_progress())
        self._new = NewRows()
        self._snapshots = NewSnapshots()
        self._started, self._began_at = time.monotonic(), time.time()

    def _rows_in_progress(self) -> dict[str, RunRows]:
        found: dict[str, RunRows] = {run_id: RunRows() for run_id in (*self.record.active, *self.continued)}
        for entry in self.record.history if found else ():
            for row in self.store.table(entry).to_pylist():
                run_id, step = row.pop("run_id"), row.pop("step")
                if run_id in found:
                    measured = {name: value for name, value in row.items() if value is not None}
                    found[run_id].add(step, [*measured], [*measured.values()])
        return found

    def checkpoint(self) -> dict[str, tuple[int, RunState]]:
        """run_id -> (slot, state) of the runs in progress at the newest commit."""
        if self.record.checkpoint is None:
            return {}
        by_run: dict[str, dict[str, Array]] = {run_id: {} for run_id in self.record.active}
        for place, array in self.store.arrays(self.record.checkpoint).items():
            run_id, _, name = place.partition("/")
            if run_id in by_run:
                by_run[run_id][name] = array
        active = self.record.active.items()
        return {run_id: (entry.slot, RunState(entry.step, by_run[run_id])) for run_id, entry in active}

    def add(self, run_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """One row; a run's steps must increase, so that every (run, step, metric) occurs exactly once."""
        self.add_rows([run_id], [step], tuple(metrics), np.array([[*metrics.values()]], np.float64))

    def add_rows(self, run_ids: Sequence[str], steps: Sequence[int], names: tuple[str, ...], values_NM: Floats) -> None:
        """The same for N runs, at a step each, of the same M metrics."""
        self.rows.add(run_ids, steps, names, values_NM)
        self._new.add(run_ids, steps, names, values_NM)

    def amend_rows(
        self, run_ids: Sequence[str], steps: Sequence[int], names: tuple[str, ...], values_NM: Floats
    ) -> None:
        """Record further metrics in rows that were added since the newest commit; `rows` stay as they are."""
        self._new.amend(run_ids, steps, names, values_NM)

    def add_snapshot(self, run_id: str, step: int, kind: str, arrays: Mapping[str, Array]) -> None:
        """Arrays of one run at one step. A last state that is also a declared snapshot is kept once."""
        self.add_snapshots([run_id], [step], kind, {name: np.asarray(array)[None] for name, array in arrays.items()})

    def add_snapshots(
        self, run_ids: Sequence[str], steps: Sequence[int], kind: str, arrays: Mapping[str, Array]
    ) -> None:
        """The same of N runs, at a step each, of name -> (N, ...)."""
        self._snapshots.add(run_ids, steps, kind, arrays)

    def end(
        self,
        run_id: str,
        reason: str,
        state: RunState,
        is_converged: bool,
        kept: Literal["state", "weights", "nothing"] = "state",
    ) -> None:
        """Record the end of a run, with what is kept of its final state, from which a larger budget can continue it."""
        arrays = {name: np.asarray(array)[None] for name, array in state.arrays.items()}
        self.end_runs([run_id], [reason], StackedStates([state.step], arrays), [is_converged], kept)

    def end_runs(
        self,
        run_ids: Sequence[str],
        reasons: Sequence[str],
        states: StackedStates,
        are_converged: Sequence[bool],
        kept: Literal["state", "weights", "nothing"],
    ) -> None:
        """The same of N runs."""
        if kept != "nothing":
            arrays = states.arrays if kept == "state" else {"weights": states.arrays["weights"]}
            self.add_snapshots(run_ids, states.steps, kept, arrays)
        digests = rows_sha256(states.arrays["weights"])
        columns = zip(run_ids, reasons, states.steps, digests, are_converged, strict=True)
        for run_id, reason, step, digest, is_converged in columns:
            computed_by = self._sources_of(run_id), self._slots_of(run_id)
            self.ends[run_id] = Ended(reason, step, digest, is_converged, *computed_by)

    def fail(self, run_id: str, state: RunState | None, first: int, is_converged: bool, cause: str) -> None:
        """Record that a run raised an error, in this state; None if it has none beyond that at its `first` step."""
        if run_id in self.continued:
            self.ends[run_id] = replace(self.ends[run_id], reason=FAILED_RUN, cause=cause)
        elif state is None:
            computed_by = self._sources_of(run_id), self._slots_of(run_id)
            self.ends[run_id] = Ended(FAILED_RUN, first, "", is_converged, *computed_by, cause)
        else:
            self.end(run_id, FAILED_RUN, state, is_converged)
            self.ends[run_id] = replace(self.ends[run_id], cause=cause)

    def forget(self, run_id: str, step: int) -> None:
        """Remove what a run recorded after `step`, all of it since the newest commit."""
        self.rows.truncate(run_id, step)
        self._new.forget(run_id, step)
        self._snapshots.forget(run_id, step)

    def reopen(self, run_id: str) -> None:
        """Remove the end of a run that is continued, once it is loaded into a slot."""
        del self.ends[run_id], self.continued[run_id]

    def commit(self, states: Mapping[str, tuple[int, RunState]]) -> None:
        """Commit everything so far; `states` maps run_id -> (slot, state) of all runs in progress."""
        sequence = self.record.sequence + 1
        checkpoint = None
        if states:
            arrays = {f"{run}/{name}": a for run, (_, state) in states.items() for name, a in state.arrays.items()}
            checkpoint = self.store.write(self.attempt, sequence, "checkpoint", encode_arrays(arrays))
        history, snapshots, now = self.record.history, self.record.snapshots, time.time()
        history_times = tuple(times or (0.0, 0.0) for _, times in self.record.times_of_history())
        if self._new:
            history_times = (*history_times, (round(self._began_at, 3), round(now, 3)))
            history = (*history, self.store.write(self.attempt, sequence, "history", encode_table(self._new.table())))
        if self._snapshots:
            written = self.store.write(self.attempt, sequence, "snapshots", self._snapshots.encoded())
            snapshots = (*snapshots, (written, self._snapshots.entries))
        record = Record(
            sweep_id=self.record.sweep_id,
            pack_id=self.record.pack_id,
            attempt=self.attempt,
            sequence=sequence,
            checkpoint=checkpoint,
            history=history,
            snapshots=snapshots,
            ends=dict(self.ends),
            active={
                run_id: Active(slot, state.step, self._sources_of(run_id), self._slots_of(run_id))
                for run_id, (slot, state) in states.items()
            },
            run_steps=self.run_steps,
            wall_s=self.record.wall_s + time.monotonic() - self._started,
            answer=self.origin.answer,
            sources=self.origin.sources,
            processor=self.origin.processor,
            history_times=history_times,
            slots=self.record.slots,
        )
        self.store.commit(record)
        self._started, self._began_at = time.monotonic(), now
        before, self.record = self.record, record
        self._new, self._snapshots = NewRows(), NewSnapshots()
        self.rows.remove(self.ends.keys() - self.continued.keys())
        self.store.remove_unnamed(self.attempt, [record, before])

    def _sources_of(self, run_id: str) -> tuple[str, ...]:
        """The digests of the texts that computed a run, this attempt's last."""
        earlier, now = self._sources.get(run_id, ()), self.origin.sources
        return earlier if not now or now in earlier[-1:] else (*earlier, now)

    def _slots_of(self, run_id: str) -> tuple[int, ...]:
        """The numbers of slots under which a run was computed, the present one last; none if that is the plan's."""
        earlier, now = self._slots.get(run_id, ()), self.record.slots
        return earlier if not now or now in earlier[-1:] else (*earlier, now)


def weights_sha256(state: RunState) -> str:
    """SHA-256 over the bytes of the unpadded weights, as recorded at the end of a run."""
    return rows_sha256(state.arrays["weights"][None])[0]
