"""Measures of the claims on Adam's eps: the share of rare features that show each phase, and where it is midway."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Floats
from pipeline.store.history import History
from sweeps.huang_2024.measures import FeatureCurves, feature_curves
from sweeps.landscape.adam.study import EPSILON

_EPS = "optimiser.eps"
_BOOTSTRAP = 1000
# What a feature shows of the phases, from the first on: each needs the one before it.
PHASES = ("the weight on the dominant feature falls first", "then its own takes over", "and grows to log K", "all four")


@dataclass(frozen=True)
class PhasesByEpsilon:
    """Of each run its eps, and the shares of its rare features that show each of PHASES (R, 4)."""

    history: History
    curves: FeatureCurves
    eps_R: Floats
    share_RJ: Floats

    @property
    def epsilons(self) -> list[float]:
        """In rising order."""
        return sorted(set(self.eps_R.tolist()))

    def share(self, eps: float, phase: int = -1) -> Estimate:
        """The mean over runs at this eps, with its 95% interval over seeds."""
        at_R = self.eps_R == eps
        runs = [run for run, is_at in zip(self.history.runs, at_R, strict=True) if is_at]
        weight_BR = resample(runs, _BOOTSTRAP, 0).with_estimate()
        return from_bootstrap((weight_BR @ self.share_RJ[at_R, phase]) / weight_BR.sum(1))

    def middle_B(self, phase: int = 0) -> Floats:
        """(1 + B,) the common logarithm of the eps at which a phase's share is midway between its two ends.

        Linear between the points beside it, coming from large eps; row 0 is the estimate, the others resample seeds.
        NaN where the ends are equal.
        """
        weight_BR = resample(self.history.runs, _BOOTSTRAP, 0).with_estimate()
        epsilons = self.epsilons[::-1]
        at_RE = self.eps_R[:, None] == np.array(epsilons)
        mean_BE = (weight_BR * self.share_RJ[:, phase]) @ at_RE / (weight_BR @ at_RE)
        return np.array([_midway(np.log10(epsilons), mean_E) for mean_E in mean_BE])


def _midway(x_E: Floats, share_E: Floats) -> float:
    """Where the share falls below the mean of its first and its last value for the first time."""
    middle = (share_E[0] + share_E[-1]) / 2
    below = np.flatnonzero(share_E < middle)
    if share_E[0] <= middle or not len(below):
        return float("nan")
    last, first = below[0] - 1, below[0]
    part = (share_E[last] - middle) / (share_E[last] - share_E[first])
    return float(x_E[last] + part * (x_E[first] - x_E[last]))


def phases_by_epsilon(sweeps: Sweeps) -> PhasesByEpsilon:
    """Of the sweep over eps; features that are absent from no prompt set, so all rare ones count."""
    history = sweeps[EPSILON].history
    curves = feature_curves(history)
    found = curves.rare_phases
    ends_RK4 = np.stack([found.swap_RK, found.taken_over_RK, found.grown_RK, found.converged_RK], axis=-1)
    is_shown_RK4 = np.isfinite(ends_RK4)
    is_shown_RK4[..., 1:] &= np.diff(ends_RK4) >= 0
    share_RJ = np.cumprod(is_shown_RK4, axis=-1).mean(axis=1)
    eps_R = np.array([float(run.hyperparameters[_EPS]) for run in history.runs])
    return PhasesByEpsilon(history, curves, eps_R, share_RJ)


def share_at(sweeps: Sweeps, *, eps: float) -> Evidence:
    """Share of rare features with the first phase at one eps, over seeds."""
    found = phases_by_epsilon(sweeps)
    runs = [run for run, value in zip(found.history.runs, found.eps_R, strict=True) if value == eps]
    return Evidence.of(found.share(eps, 0), runs, _shares_text(found))


def share_gained(sweeps: Sweeps, *, small: float, large: float) -> Evidence:
    """Share of rare features with the first phase at a large eps less that at a small one, on the same seeds."""
    found = phases_by_epsilon(sweeps)
    use_R = np.isin(found.eps_R, (small, large))
    runs = [run for run, is_used in zip(found.history.runs, use_R, strict=True) if is_used]
    is_large_R, share_R = found.eps_R[use_R] == large, found.share_RJ[use_R, 0]
    weight_BR = resample(runs, _BOOTSTRAP, 0).with_estimate()
    of_large_B, of_small_B = (
        (weight_BR[:, part] @ share_R[part]) / weight_BR[:, part].sum(1) for part in (is_large_R, ~is_large_R)
    )
    return Evidence.of(from_bootstrap(of_large_B - of_small_B), runs, _shares_text(found))


def _shares_text(found: PhasesByEpsilon) -> str:
    return f"By eps {'; '.join(f'{value:g}: {found.share(value, 0).text()}' for value in found.epsilons)}."
