"""Measures of the claims on learning rate and head width: where the share of runs that converge in time is one half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.boundaries import crossings
from analysis.outcomes.outcomes import CENSORED, CONVERGED, decide_outcomes
from analysis.outcomes.subsets import joined
from analysis.uncertainty.estimates import proportion_of_runs
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools, Floats
from pipeline.store.history import History
from sweeps.landscape.measures import KEPT_ACCURACY
from sweeps.landscape.sizes.study import RATES

IN_TIME = 2700
_HEAD_WIDTH, _RATE = "model.head_width", "optimiser.lr"
# Rates up to this one are of the lower boundary, from it on of the upper one.
_MIDDLE_RATE = 5e-3
_BOOTSTRAP = 1000


@dataclass(frozen=True)
class PhaseDiagram:
    """Of each run its rate, its head width, and whether it converged by IN_TIME."""

    history: History
    rate_R: Floats
    head_width_R: Floats
    is_event_R: Bools

    @property
    def rates(self) -> list[float]:
        """In rising order."""
        return sorted(set(self.rate_R.tolist()))

    @property
    def head_widths(self) -> list[float]:
        """In rising order."""
        return sorted(set(self.head_width_R.tolist()))

    def share(self, rate: float, head_width: float) -> Estimate:
        """Share of runs at one point that converged in time, with its 95% interval over seeds."""
        at_R = (self.rate_R == rate) & (self.head_width_R == head_width)
        runs = [run for run, is_at in zip(self.history.runs, at_R, strict=True) if is_at]
        return proportion_of_runs(self.is_event_R[at_R], runs)

    def boundary_B(self, head_width: float, *, is_upper: bool = False) -> Floats:
        """(1 + B,) the common logarithm of the rate at which half of the runs converge in time, and resamples of it.

        NaN where that is not between the rates of this side.
        """
        side_R = self.rate_R >= _MIDDLE_RATE if is_upper else self.rate_R <= _MIDDLE_RATE
        at_R = side_R & (self.head_width_R == head_width)
        # Seeds are drawn for all points together, so that two boundaries can be compared on the same seeds.
        weight_BR = resample(self.history.runs, _BOOTSTRAP, 0).with_estimate()[:, at_R]
        return crossings(np.log10(self.rate_R[at_R]), self.is_event_R[at_R], weight_BR)

    def boundary(self, head_width: float, *, is_upper: bool = False) -> Estimate:
        """The rate at which half of the runs converge in time, with its 95% interval over seeds."""
        return from_bootstrap(10 ** self.boundary_B(head_width, is_upper=is_upper))

    def ratio(self, narrow: float, wide: float) -> Estimate:
        """The lower boundary at head width `narrow` over that at `wide`, with its 95% interval over seeds."""
        return from_bootstrap(10 ** (self.boundary_B(narrow) - self.boundary_B(wide)))


def phase_diagram(sweeps: Sweeps, names: Sequence[str] = (RATES,)) -> PhaseDiagram:
    """Of these sweeps together. A run that diverged did not converge.

    Raises UndecidedError where runs have not ended.
    """
    history = joined([sweeps[name].history for name in names])
    outcomes = decide_outcomes(history, KEPT_ACCURACY)
    if CENSORED in outcomes.kind_R:
        raise UndecidedError("runs were stopped or failed, so their times are unknown")
    rate_R, head_width_R = (
        np.array([float(run.hyperparameters[name]) for run in history.runs]) for name in (_RATE, _HEAD_WIDTH)
    )
    return PhaseDiagram(history, rate_R, head_width_R, (outcomes.kind_R == CONVERGED) & (outcomes.upper_R <= IN_TIME))


def ratio_of_boundaries(sweeps: Sweeps, *, narrow: int, wide: int, names: Sequence[str] = (RATES,)) -> Evidence:
    """Rate that half of the runs with narrow heads need to converge in time, over that with wide heads."""
    found = phase_diagram(sweeps, names)
    shown = "; ".join(f"head width {width:g}: {found.boundary(width).text(5)}" for width in found.head_widths)
    use_R = np.isin(found.head_width_R, (narrow, wide)) & (found.rate_R <= _MIDDLE_RATE)
    runs = [run for run, is_used in zip(found.history.runs, use_R, strict=True) if is_used]
    return Evidence.of(found.ratio(narrow, wide), runs, f"Rate at which half converge by step {IN_TIME}, at {shown}.")


def share_lost(sweeps: Sweeps, *, head_width: int, rate: float, higher: float) -> Evidence:
    """Share that converges in time at the higher rate less that at the lower one, on the same seeds."""
    found = phase_diagram(sweeps)
    at_R = (found.head_width_R == head_width) & np.isin(found.rate_R, (rate, higher))
    runs = [run for run, is_used in zip(found.history.runs, at_R, strict=True) if is_used]
    is_higher_R, is_event_R = found.rate_R[at_R] == higher, found.is_event_R[at_R]
    weight_BR = resample(runs, _BOOTSTRAP, 0).with_estimate()
    shares = [
        (weight_BR[:, part] @ is_event_R[part]) / weight_BR[:, part].sum(1) for part in (is_higher_R, ~is_higher_R)
    ]
    note = f"Head width {head_width}: {shares[0][0]:.2f} at {higher:g}, {shares[1][0]:.2f} at {rate:g}."
    return Evidence.of(from_bootstrap(shares[0] - shares[1]), runs, note)
