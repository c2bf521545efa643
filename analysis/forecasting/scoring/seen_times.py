"""What was seen of runs at risk: their outcomes, the steps of these or to which they were watched, and censoring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.forecasting.censoring import RiskSet
from analysis.outcomes.outcomes import CONVERGED, DIVERGED, UNCONVERGED, Outcomes
from pipeline.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class SeenTimes:
    """What was seen of N runs at risk: outcomes, the step of each or that to which the run was watched, and censoring.

    `converged_N`, `diverged_N` and `unconverged_N` mark the runs with these outcomes; the others were watched to
    `time_N` without one. `risk` is the risk set of the sweep, `row_N` the places of the runs in it.
    """

    risk: RiskSet
    row_N: Ints
    time_N: Floats
    converged_N: Bools
    diverged_N: Bools
    unconverged_N: Bools

    @classmethod
    def of(cls, outcomes: Outcomes, risk: RiskSet, row_N: Ints) -> SeenTimes:
        """What was seen of the runs at these places of the sweep."""
        kind_N = outcomes.kind_R[row_N]
        kinds = (kind_N == kind for kind in (CONVERGED, DIVERGED, UNCONVERGED))
        return cls(risk, row_N, risk.time_R[row_N], *kinds)

    @property
    def has_weight_N(self) -> Bools:
        """(N,) True for the runs whose outcome is known and weighted."""
        return self.risk.known_R[self.row_N]

    def watched_past(self, step: float) -> Floats:
        """(N,) G(step) of each run."""
        return self.risk.watched_past(np.full(len(self.risk.time_R), step))[self.row_N]

    def watched_before(self) -> Floats:
        """(N,) G(T-) of each run, T being its own time."""
        return self.risk.watched_before(self.risk.time_R)[self.row_N]

    def is_past(self, step: float) -> Bools:
        """(N,) True for the runs that were watched past the step without an outcome, and those that never have one."""
        return self.unconverged_N | (self.time_N > step)
