"""Trains one pack: refills slots, runs a chunk of steps, evaluates, records. Knows nothing of Lightning or Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
from torch import Tensor

from pipeline.arrays import Array, Bools, Ints
from pipeline.engine.block import Block, to_host
from pipeline.engine.slots import RunState
from pipeline.spec.run_config import RunConfig
from pipeline.stopping.base import RunPrefix
from pipeline.store.progress import Progress, RunStates, ended_for_good
from pipeline.training.evaluation_plan import EvaluationPlan, Occupants, run_prefix
from pipeline.training.isolation import apart, train_apart
from pipeline.training.recorder import Recorder
from pipeline.training.run_rows import Measured
from pipeline.training.window_readings import window_readings_of

# Weights of runs that are put into slots in one go.
_LOADED_BYTES = 64 << 20


class PackLoop:
    """Trains `configs`, in order, in the slots of `block`, from the newest commit that `recorder` found.

    `evaluation_plans[run_id]` is that of the run's own budget, so that it is treated alike whatever those of others.
    `first_states(runs, block)` gives the states that runs start from, by id. What each run does depends on its config
    and the block's numerics alone; see docs/design.md. `beat` is called whenever something was done.
    """

    def __init__(
        self,
        configs: Mapping[str, RunConfig],
        block: Block,
        evaluation_plans: Mapping[str, EvaluationPlan],
        recorder: Recorder,
        first_states: Callable[[Mapping[str, RunConfig], Block], Mapping[str, RunState]],
        beat: Callable[[], None] | None = None,
    ) -> None:
        self.configs, self.block, self.evaluation_plans = dict(configs), block, dict(evaluation_plans)
        self.recorder, self.first_states, self.beat = recorder, first_states, beat or (lambda: None)
        # Of any run: what is read from it is common to all.
        self.common = next(iter(evaluation_plans.values()))
        self.readings = window_readings_of(self.common, block)
        if not self.readings.is_immediate:
            # Those of an earlier attempt; a rule that decides by none sees none.
            for rows in recorder.rows.values():
                rows.drop(self.readings.prefixes)
        over = recorder.ends.keys() - recorder.continued.keys()
        self.waiting = [run for run in configs if run not in over and run not in recorder.record.active]
        self._slots = Occupants(block.num_slots, evaluation_plans)
        self._known_steps_S: Ints | None = None
        # Their states are all in the host's memory until they are in slots.
        self._most_at_once = max(1, _LOADED_BYTES // (block.layout.row_width * block.dtype.itemsize))
        # States of runs in progress that wait for a slot.
        self.parked: dict[str, RunState] = {}
        in_progress = recorder.checkpoint()
        self.parked = {run_id: in_progress[run_id][1] for run_id in configs if run_id in in_progress}
        placed = {in_progress[run_id][0]: run_id for run_id in self.parked}
        self._place({slot: run_id for slot, run_id in placed.items() if 0 <= slot < block.num_slots})
        self.waiting = [*self.parked, *self.waiting]
        # What the slots held at the beginning of the chunk: a run that raises ends there.
        self._start = block.copy()
        self.converged = {run_id for run_id, end in recorder.ends.items() if end.is_converged}
        settings = {config.setting_id: config for config in configs.values()}
        by_setting = {setting_id: config.hyperparameters() for setting_id, config in settings.items()}
        self.hyperparameters = {run_id: by_setting[config.setting_id] for run_id, config in configs.items()}
        self._settings = {run_id: config.setting_id for run_id, config in configs.items()}
        self._budgets = {run_id: plan.budget for run_id, plan in evaluation_plans.items()}
        prefixes = {run_id: self._prefix(run_id) for run_id in recorder.rows}
        self.converged |= {run_id for run_id, prefix in prefixes.items() if prefix.converged_index is not None}

    @property
    def occupants(self) -> list[str | None]:
        """The run in each slot."""
        return self._slots.runs

    @property
    def is_done(self) -> bool:
        """Whether every run has ended."""
        return not self.waiting and not any(self.occupants)

    def step(self) -> None:
        """Refill free slots, train one chunk, then evaluate, probe, record and end the runs whose step asks for it.

        A run that raises an error anywhere in this ends as failed, at the beginning of the chunk, and no other run is
        touched by it. Errors that no run can have caused are raised.
        """
        self._fill()
        self._start = self.block.copy()
        self._advance()
        self._evaluate_and_end()

    def commit(self) -> None:
        """Make everything so far durable."""
        self._add_readings(is_last=True)
        occupied = [(slot, run_id) for slot, run_id in enumerate(self.occupants) if run_id is not None]
        found = self.block.run_states([slot for slot, _ in occupied])
        states = {run_id: (slot, state) for (slot, run_id), state in zip(occupied, found, strict=True)}
        self.recorder.commit(states | {run_id: (-1, state) for run_id, state in self.parked.items()})
        self.beat()

    def progress(self) -> Progress:
        """What the pack has done, committed or not."""
        ends = ended_for_good(self.recorder.ends, self._budgets)
        steps = {run_id: end.step for run_id, end in self.recorder.ends.items()}
        steps |= self.recorder.rows.last_steps
        running = {run_id for run_id in self.occupants if run_id is not None}
        states = RunStates(ends, steps, self.converged, running)
        return states.progress(self._settings, self._budgets, self.recorder.run_steps)

    def _fill(self) -> None:
        """Put the next runs into the free slots; those that raise as they are loaded fail, and others follow."""
        while free := [slot for slot, occupant in enumerate(self.occupants) if occupant is None][: len(self.waiting)]:
            free = free[: self._most_at_once]
            chosen, self.waiting = self.waiting[: len(free)], self.waiting[len(free) :]
            causes = self._place(dict(zip(free, chosen, strict=True)))
            for run_id, cause in causes.items():
                self._fail(run_id, self.parked.pop(run_id, None), f"while it was loaded: {cause}")
            for run_id in chosen:
                if run_id in self.recorder.continued and run_id not in causes:
                    self.recorder.reopen(run_id)

    def _place(self, placed: Mapping[int, str]) -> dict[str, str]:
        """Put runs into slots, all of them in one go; the causes of those that raise, by run."""
        parts, causes = apart(lambda slots: self._load({slot: placed[slot] for slot in slots}), list(placed))
        for slot in (slot for group, _ in parts for slot in group):
            self._slots.put(slot, placed[slot])
            self.parked.pop(placed[slot], None)
        return {placed[slot]: cause for slot, cause in causes.items()}

    def _load(self, placed: Mapping[int, str]) -> None:
        fresh = {run_id: self.configs[run_id] for run_id in placed.values() if run_id not in self.parked}
        states = {**self.parked, **self.first_states(fresh, self.block)}
        runs = {slot: (self.configs[run_id], states[run_id]) for slot, run_id in placed.items()}
        self.block.load_runs(runs)
        self._known_steps_S = None

    def _fail_slots(self, causes: Mapping[int, str], what: str) -> None:
        """End the runs in these slots as failed, at the beginning of the chunk, and free the slots."""
        for slot, cause in causes.items():
            run_id, start = self.occupants[slot], self.block.state_in(self._start, slot)
            assert run_id is not None
            self._fail(run_id, start, f"while it was {what} after step {start.step}: {cause}")

    def _fail(self, run_id: str, state: RunState | None, cause: str) -> None:
        """End a run as failed, in this state; None if it raised before it was in a slot."""
        first = 0 if (lineage := self.configs[run_id].lineage) is None else lineage.step
        is_begun = state is not None and state.step > first
        if state is not None:
            kept = state.step if is_begun else -1
            self.recorder.forget(run_id, kept)
            self.readings.forget(run_id, kept)
        if run_id in self.recorder.rows and self._prefix(run_id).converged_index is None:
            self.converged.discard(run_id)
        self.recorder.fail(run_id, state if is_begun else None, first, run_id in self.converged, cause)
        self._slots.remove(run_id)

    def _advance(self) -> None:
        """Train one chunk. Runs in their first chunk are measured at its inner marks; all slots advance together."""
        fresh_S = self._slots.occupied() & (self._steps() == 0)
        if fresh_S.any():
            self._snapshot(fresh_S, np.zeros_like(fresh_S))
        done = 0
        for mark in self._first_marks if fresh_S.any() else ():
            self._train(mark - done, done)
            done = mark
            self._record(np.zeros_like(fresh_S), fresh_S & self._at(_probe_steps), fresh_S & self._at(self._read_steps))
        self._train(self.common.grid.chunk - done, done)
        self.recorder.run_steps += int(self._slots.occupied().sum()) * self.common.grid.chunk

    def _train(self, num_steps: int, num_since: int) -> None:
        """Train so many steps, `num_since` steps after the beginning of the chunk."""
        occupied = np.flatnonzero(self._slots.occupied()).tolist()
        if occupied and num_steps:
            causes = train_apart(self.block, num_steps, occupied, self._start, num_since)
            self._known_steps_S = None
            self._fail_slots(causes, "trained")
            self.beat()

    def _evaluate_and_end(self) -> None:
        """Evaluate, probe, snapshot and end the runs whose step asks for it."""
        occupied_S = self._slots.occupied()
        self._known_steps_S, finite_S = self.block.standing()
        eval_S = self._at(lambda plan: plan.grid.eval_steps)
        # A run with non-finite numbers is probed at any step, so that its last row shows them.
        probe_S = occupied_S & (self._at(_probe_steps) | ~finite_S)
        evaluated = self._record(eval_S, probe_S, self._at(self._read_steps))
        self._add_readings(is_last=self.readings.is_immediate)
        judged_S, is_over_S = self._may_end(eval_S, evaluated), self._slots.over(self._steps())
        parts, causes = apart(
            lambda slots: [self._end(slot, bool(finite_S[slot]), bool(judged_S[slot])) for slot in slots],
            np.flatnonzero(self._slots.occupied() & (~finite_S | judged_S | is_over_S)).tolist(),
        )
        self._fail_slots(causes, "judged by the stopping rule")
        ends = {slot: reason for group, reasons in parts for slot, reason in zip(group, reasons, strict=True)}
        self._snapshot(occupied_S, np.array([ends.get(slot) is not None for slot in range(self.block.num_slots)]))
        ended = {
            slot: reason for slot, reason in ends.items() if reason is not None and self.occupants[slot] is not None
        }
        if ended:
            run_ids = self._slots.among([*ended])
            are_converged = [run_id in self.converged for run_id in run_ids]
            states = self.block.stacked_states([*ended])
            self.recorder.end_runs(run_ids, [*ended.values()], states, are_converged, self.common.last)
        for slot in ended:
            self.block.unload_run(slot)
            self._slots.put(slot, None)

    def _end(self, slot: int, is_finite: bool, is_judged: bool) -> str | None:
        """Why the run in a slot ends here; None if it goes on."""
        run_id = self.occupants[slot]
        assert run_id is not None
        prefix = self._prefix(run_id) if is_judged else None
        if prefix is not None and prefix.converged_index is not None:
            self.converged.add(run_id)
        if not is_finite:
            return "diverged"
        rule = self.common.stopping
        if prefix is not None and rule.should_stop(prefix):
            return rule.reason_of(prefix)
        return "budget" if self._steps()[slot] >= self.evaluation_plans[run_id].budget else None

    def _may_end(self, eval_S: Bools, evaluated: Measured) -> Bools:
        """(S,) whether what a run has recorded matters here: a rule may stop it, or it may have converged just now."""
        criterion, may_S = self.common.criterion, eval_S & self._slots.occupied()
        if not self.common.stopping.stops_converged_alone:
            return may_S
        met_S = may_S
        if criterion.metric in evaluated.names:
            # Most have not met it at this evaluation, which says enough.
            values_N = evaluated.values_NM[:, evaluated.names.index(criterion.metric)]
            met_S = np.zeros_like(may_S)
            met_S[evaluated.slots_N] = criterion.satisfied(values_N)
        for slot in np.flatnonzero(may_S).tolist():
            run_id = str(self.occupants[slot])
            may_S[slot] = run_id in self.converged or (met_S[slot] and self._has_just_converged(run_id))
        return may_S

    def _has_just_converged(self, run_id: str) -> bool:
        criterion = self.common.criterion
        recent = self.recorder.rows[run_id].recent(criterion.metric, criterion.evaluations)
        return len(recent) == criterion.evaluations and bool(criterion.satisfied(np.array(recent)).all())

    def _read_steps(self, evaluation_plan: EvaluationPlan) -> frozenset[int]:
        """Steps at which readings are taken."""
        return evaluation_plan.window_steps if self.readings.has_any else frozenset()

    @cached_property
    def _first_marks(self) -> tuple[int, ...]:
        """Steps before the end of the first chunk at which something of some run is measured."""
        marks = {
            mark for plan in self._slots.plans for mark in (*plan.grid.inner_marks, *({0} & self._read_steps(plan)))
        }
        return tuple(sorted(marks))

    def _at(self, steps_of: Callable[[EvaluationPlan], frozenset[int]]) -> Bools:
        return self._slots.due(self._steps(), steps_of)

    def _prefix(self, run_id: str) -> RunPrefix:
        rows, hyperparameters = self.recorder.rows[run_id], self.hyperparameters[run_id]
        return run_prefix(run_id, rows, self.evaluation_plans[run_id], hyperparameters)

    def _steps(self) -> Ints:
        """(S,) the steps of the slots: one transfer, whenever they have changed."""
        if self._known_steps_S is None:
            self._known_steps_S = self.block.steps()
        return self._known_steps_S

    def _record(self, eval_S: Bools, probe_S: Bools, read_S: Bools) -> Measured:
        """One row for every slot in any mask, holding the metrics of those it is in; readings may come later.

        Gives what was evaluated.
        """
        evaluated = self._measured(lambda slots: self.block.evaluate(self.common.eval_items, slots), eval_S)
        probed = self._measured(lambda slots: self.block.probe(self.common.probe_items, slots), probe_S)
        steps_S, recorded_S = self._steps(), (eval_S | probe_S | read_S) & self._slots.occupied()
        # Slots of which the same was measured have their rows together.
        measured_S = 2 * evaluated.among(len(steps_S)) + probed.among(len(steps_S))
        _, firsts = np.unique(measured_S[recorded_S], return_index=True)
        for kind in measured_S[recorded_S][np.sort(firsts)]:
            slots_N = np.flatnonzero(recorded_S & (measured_S == kind))
            parts = [part for part, is_in in ((evaluated, kind & 2), (probed, kind & 1)) if is_in]
            names = tuple(name for part in parts for name in part.names)
            values_NM = np.concatenate([np.empty((len(slots_N), 0)), *(part.of(slots_N) for part in parts)], 1)
            self.recorder.add_rows(self._slots.among(slots_N.tolist()), steps_S[slots_N].tolist(), names, values_NM)
        read = np.flatnonzero(read_S & recorded_S).tolist()
        if read:
            run_ids = self._slots.among(read)
            self.readings.take(run_ids, [self.configs[run_id] for run_id in run_ids], read, self._start)
        return evaluated

    def _measured(self, measure: Callable[[list[int]], Mapping[str, Tensor]], mask_S: Bools) -> Measured:
        """The metrics of the slots in a mask that are occupied and do not raise."""
        slots = np.flatnonzero(mask_S & self._slots.occupied()).tolist()
        parts, causes = apart(lambda group: to_host(measure(group))[0], slots)
        self._fail_slots(causes, "measured")
        self.beat()
        measured_N = np.array([slot for group, _ in parts for slot in group], np.int64)
        names = tuple(parts[0][1]) if parts else ()
        arrays = [np.stack([columns[name] for name in names], 1) for _, columns in parts]
        values_NM = np.concatenate(arrays) if arrays else np.empty((0, 0))
        return Measured(names, measured_N, values_NM)

    def _add_readings(self, is_last: bool) -> None:
        found, failed = self.readings.computed(is_last)
        self.beat()
        for read in found:
            self.recorder.amend_rows(*read)
            if self.readings.is_immediate:
                for run_id, step, values_M in zip(read.run_ids, read.steps, read.values_NM.tolist(), strict=True):
                    if run_id in self.recorder.rows:
                        self.recorder.rows[run_id].amend(step, dict(zip(read.names, values_M, strict=True)))
        for run_id, (start, step, cause) in failed.items():
            self._fail(run_id, start, f"while its weights at step {step} were read: {cause}")

    def _snapshot(self, candidates_S: Bools, ending_S: Bools) -> None:
        """States, weights and maps of the candidates at a declared step, and maps of runs that end here."""
        steps_S = self._steps()
        attention_S = candidates_S & self._at(lambda plan: plan.attention_steps)
        keeps_S = [run_id is not None and self.common.keeps_last_maps(run_id) for run_id in self.occupants]
        attention_S |= ending_S & np.array(keeps_S, bool)
        mapped = np.flatnonzero(attention_S & self._slots.occupied()).tolist()
        parts, causes = apart(self._attention_maps, mapped)
        self._fail_slots(causes, "measured")
        for group, maps in parts:
            arrays = {f"layer{layer}": attention for layer, attention in enumerate(maps)}
            self.recorder.add_snapshots(self._slots.among(group), steps_S[group].tolist(), "attention", arrays)
        kept = np.flatnonzero(candidates_S & self._at(lambda plan: plan.state_steps)).tolist()
        if kept:
            states = self.block.stacked_states(kept)
            self.recorder.add_snapshots(self._slots.among(kept), states.steps, "state", states.arrays)
        kept = np.flatnonzero(candidates_S & self._at(lambda plan: plan.weight_steps)).tolist()
        if kept:
            weights = {"weights": np.stack(self.block.weights_of_runs(kept))}
            self.recorder.add_snapshots(self._slots.among(kept), steps_S[kept].tolist(), "weights", weights)

    def _attention_maps(self, slots: list[int]) -> list[Array]:
        maps = self.block.attention_maps(self.common.attention_items, slots)
        return [attention.cpu().numpy() for attention in maps]


def _probe_steps(evaluation_plan: EvaluationPlan) -> frozenset[int]:
    return evaluation_plan.grid.probe_steps
