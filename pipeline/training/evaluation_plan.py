"""When the runs of a sweep are evaluated, probed, recorded and ended, and what a stopping rule is given of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

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
