"""Never stop: every run uses its budget, so that relapse and late instability show."""

from __future__ import annotations

from typing import ClassVar

from pipeline.stopping.base import RunPrefix, StoppingRule


class RunToBudget(StoppingRule):
    """Runs end at their budget or on divergence alone."""

    name = "run_to_budget"
    stops_converged_alone: ClassVar[bool] = True

    def should_stop(self, prefix: RunPrefix) -> bool:
        """Always False."""
        return False

    def in_words(self) -> str:
        """That nothing is stopped."""
        return "every run goes to its budget unless it diverges"
