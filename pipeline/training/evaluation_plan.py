"""When the runs of a sweep are evaluated, probed, recorded and ended, and the slots that are due.

With them what a stopping rule is given of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.arrays import Bools, Ints
from pipeline.spec.criterion import Criterion
from pipeline.spec.grid import Grid
from pipeline.stopping.base import RunPrefix, StoppingRule
from pipeline.training.run_rows import RunRows


@dataclass(frozen=True)
class EvaluationPlan:
    """When the runs of a sweep that have one budget are evaluated, probed, recorded and ended; no weight depends on it.

    Chunk, numbers of items, criterion, stopping rule, readings and what is kept of a run that ends are the same for all
    budgets of a sweep. One in `last_maps` runs, drawn by their ids, keeps its maps then; none if that is 0.
    """

    grid: Grid
    budget: int
    eval_items: int
    probe_items: int
    criterion: Criterion
    stopping: StoppingRule
    state_steps: frozenset[int] = frozenset()
    weight_steps: frozenset[int] = frozenset()
    attention_steps: frozenset[int] = frozenset()
    window_steps: frozenset[int] = frozenset()
    readings: tuple[str, ...] = ()
    attention_items: int = 8
    last: Literal["state", "weights", "nothing"] = "state"
    last_maps: int = 1

    def keeps_last_maps(self, run_id: str) -> bool:
        """Whether a run keeps its attention maps when it ends."""
        return self.last_maps > 0 and int(run_id, 16) % self.last_maps == 0


class Occupants:
    """The runs in the slots of a block, and which of them are due by the plans of their own budgets."""

    def __init__(self, num_slots: int, plans: Mapping[str, EvaluationPlan]) -> None:
        self.runs: list[str | None] = [None] * num_slots
        self.plans = list({id(plan): plan for plan in plans.values()}.values())
        self._plan_of = plans
        self._is_occupied_S = np.zeros(num_slots, bool)

    def put(self, slot: int, run_id: str | None) -> None:
        """Put a run into a slot; None frees it."""
        self.runs[slot], self._is_occupied_S[slot] = run_id, run_id is not None

    def remove(self, run_id: str) -> None:
        """Free the slot of a run, if it has one."""
        if run_id in self.runs:
            self.put(self.runs.index(run_id), None)

    def occupied(self) -> Bools:
        """(S,) whether a slot holds a run."""
        return self._is_occupied_S.copy()

    def among(self, slots: Sequence[int]) -> list[str]:
        """The runs in slots that are occupied."""
        return [str(self.runs[slot]) for slot in slots]

    def due(self, steps_S: Ints, steps_of: Callable[[EvaluationPlan], frozenset[int]]) -> Bools:
        """(S,) whether the run in a slot is at one of the steps that its own plan has; False of a free slot."""
        due_S, present = np.zeros(len(self.runs), bool), {*steps_S.tolist()}
        for plan in self.plans:
            if steps := steps_of(plan) & present:
                due_S |= self._with_plan(plan) & np.isin(steps_S, [*steps])
        return due_S

    def over(self, steps_S: Ints) -> Bools:
        """(S,) whether the run in a slot has used its budget."""
        over_S = np.zeros(len(self.runs), bool)
        for plan in self.plans:
            over_S |= self._with_plan(plan) & (steps_S >= plan.budget)
        return over_S

    def _with_plan(self, plan: EvaluationPlan) -> Bools:
        if len(self.plans) == 1:
            return self.occupied()
        return np.array([run_id is not None and self._plan_of[run_id] is plan for run_id in self.runs])


def run_prefix(
    run_id: str, rows: RunRows, evaluation_plan: EvaluationPlan, hyperparameters: Mapping[str, Any]
) -> RunPrefix:
    """The input of a stopping rule for a run, from its rows so far."""
    steps_T = np.array(rows.steps, np.int64)
    is_eval_T = np.array([step in evaluation_plan.grid.eval_steps for step in rows.steps], bool)
    label_1E = rows.column(evaluation_plan.criterion.metric)[None, is_eval_T]
    start = int(evaluation_plan.criterion.first_streak(label_1E)[0])
    return RunPrefix(
        run_id=run_id,
        budget=evaluation_plan.budget,
        steps_T=steps_T,
        values=rows.columns(),
        eval_steps_E=steps_T[is_eval_T],
        converged_index=None if start < 0 else start,
        evaluations_to_converge=evaluation_plan.criterion.evaluations,
        hyperparameters=hyperparameters,
    )
