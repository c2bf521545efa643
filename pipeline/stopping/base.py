"""Base class of stopping rules, which decide at every evaluation whether a run ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.registry import Registry
from pipeline.spec.parameters import Registered


@dataclass(frozen=True)
class RunPrefix:
    """What one run has recorded up to an evaluation: all that a stopping rule may use.

    `steps_T` and `values[metric]` (T,) are its rows up to now, NaN where a metric was not recorded. `converged_index`
    is where, among the evaluations `eval_steps_E`, the first streak that meets the sweep's criterion began, or None;
    a streak is `evaluations_to_converge` long.
    """

    run_id: str
    budget: int
    steps_T: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    eval_steps_E: NDArray[np.int64]
    converged_index: int | None
    evaluations_to_converge: int = 1


class StoppingRule(Registered):
    """Decides whether a run ends at its newest evaluation.

    Contract:
    1. `should_stop` is a pure function of `prefix`: the same prefix of a run always gets the same answer.
    2. It never stops a run that has nothing recorded.
    3. It can only truncate: what was recorded before is untouched.
    4. `reason` is what the end is called: "converged" where the outcome is known by then, else "stopped", which
       analysis treats as censoring.
    """

    reason: ClassVar[str] = "stopped"

    def should_stop(self, prefix: RunPrefix) -> bool:
        """Whether the run ends at its newest evaluation."""
        raise NotImplementedError


STOPPING_RULES: Registry[StoppingRule] = Registry("pipeline.stopping", StoppingRule)
