"""Stop once a run has converged, a stated number of evaluations later."""

from __future__ import annotations

from typing import ClassVar

from pipeline.spec.parameters import static
from pipeline.stopping.base import RunPrefix, StoppingRule


class AfterConvergence(StoppingRule):
    """Ends a run `evaluations` evaluations after the streak that made it converged was complete."""

    name = "after_convergence"
    reason: ClassVar[str] = "converged"
    stops_converged_alone: ClassVar[bool] = True

    evaluations: int = static(2, ge=0)

    def should_stop(self, prefix: RunPrefix) -> bool:
        """True from `evaluations` evaluations after the end of the streak on; False before it has converged."""
        if prefix.converged_index is None:
            return False
        streak_end = prefix.converged_index + prefix.evaluations_to_converge - 1
        return len(prefix.eval_steps_E) - 1 - streak_end >= self.evaluations

    def in_words(self) -> str:
        """When converged runs end."""
        if self.evaluations == 0:
            return "runs end when they have converged"
        later = "1 evaluation" if self.evaluations == 1 else f"{self.evaluations} evaluations"
        return f"runs that converged end {later} later"
