"""Base class of stopping rules, which decide at every evaluation whether a run ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.registry import Registry
from pipeline.spec.criterion import Criterion
from pipeline.spec.grid import Grid
from pipeline.spec.parameters import Registered


@dataclass(frozen=True)
class RunPrefix:
    """What one run has recorded up to an evaluation: all that a stopping rule may use.

    `steps_T` and `values[metric]` (T,) are its rows up to now, NaN where a metric was not recorded. `converged_index`
    is where, among the evaluations `eval_steps_E`, the first streak that meets the sweep's criterion began, or None;
    a streak is `evaluations_to_converge` long. `hyperparameters` maps dotted path -> value, without seeds.
    """

    run_id: str
    budget: int
    steps_T: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    eval_steps_E: NDArray[np.int64]
    converged_index: int | None
    evaluations_to_converge: int = 1
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


class StoppingRule(Registered):
    """Decides whether a run ends at its newest evaluation.

    Contract:
    1. `should_stop` is a pure function of `prefix`: the same prefix of a run always gets the same answer.
    2. It never stops a run that has nothing recorded.
    3. It can only truncate: what was recorded before is untouched.
    4. `reason_of` says what an end is called: "converged" only where the run has converged by then, else "stopped",
       which analysis treats as censoring. It is `reason` unless a rule says otherwise.
    """

    reason: ClassVar[str] = "stopped"
    # Whether it stops no run that has not converged: then it is not asked before.
    stops_converged_alone: ClassVar[bool] = False

    def should_stop(self, prefix: RunPrefix) -> bool:
        """Whether the run ends at its newest evaluation."""
        raise NotImplementedError

    def reason_of(self, prefix: RunPrefix) -> str:
        """What the end of a run that stops with this prefix is called."""
        return self.reason

    def problems(self, budget: int, criterion: Criterion, grid: Grid) -> list[tuple[str, str]]:
        """Why the rule does not fit a sweep, asked for each of its budgets: (parameter, a sentence) each."""
        return []

    def metrics_needed(self) -> frozenset[str]:
        """Metrics by which it decides and that not every sweep records: what is recorded is then checked at planning.

        Readings among them are computed at once, for an evaluation; others later, in groups.
        """
        return frozenset()

    def unread(self, steps_by_metric: Mapping[str, frozenset[int]]) -> list[str]:
        """Why it cannot decide in a sweep that records these metrics at these steps, a sentence each."""
        lacking = sorted(self.metrics_needed() - steps_by_metric.keys())
        return [f"this sweep does not record {', '.join(lacking)}"] if lacking else []

    def unfit(self, hyperparameters: dict[str, Any]) -> list[str]:
        """Why it cannot decide on runs with these hyperparameters, a sentence each."""
        return []

    def doubts(self, setting_ids: frozenset[str]) -> list[str]:
        """Why what it promises may not hold for runs of these settings, a sentence each."""
        return []

    def in_words(self) -> str:
        """What it does, in a sentence; its name and parameters unless a rule says it better."""
        given = ", ".join(f"{name} {value}" for name, value in self.model_dump().items())
        return f"{self.name}, {given}" if given else self.name

    @classmethod
    def tiny(cls) -> Self:
        """One with small parameters, for tests."""
        return cls()


STOPPING_RULES: Registry[StoppingRule] = Registry("pipeline.stopping", StoppingRule, ("base", "policy_file"))
