"""Summary per setting: outcome counts, proportion converged, median time to convergence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from analysis.outcomes.incidence import Incidence
from analysis.outcomes.outcomes import CONVERGED, OUTCOME_KINDS, Outcomes
from analysis.outcomes.settings import runs_by_setting, setting_labels
from analysis.uncertainty.intervals import Estimate, proportion_from_bootstrap, wilson
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Bools
from pipeline.store.history import History

WILSON = "Wilson"


@dataclass(frozen=True)
class SettingSummary:
    """Outcome counts and convergence estimates of one setting.

    `converged` is the share that converged by `by_step`: the plain share by the budget where every outcome is known,
    else the Aalen-Johansen estimate at the last step at which a run is at risk, with its band (`is_estimated`).
    `is_weighted`: some runs stand in it for others, which a rule stopped.
    `interval` says whose 95% interval it is: WILSON, or what a bootstrap resampled where runs share seeds or outcomes
    are missing. `half_by` is the first evaluation by which at least half of the runs are estimated to have converged,
    in steps; NaN where that is never.
    """

    setting_id: str
    label: str
    num_runs: int
    num_converged: int
    num_diverged: int
    num_unconverged: int
    num_censored: int
    converged: Estimate
    is_estimated: bool
    is_weighted: bool
    by_step: float
    interval: str
    half_by: float

    def converged_text(self) -> str:
        """The share that converged with its interval; with its step, `.40 (.20-.60) by step 500`, if estimated."""
        return self.converged.text() + (f" by step {self.by_step:.0f}" if self.is_estimated else "")

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "converged": self.converged.to_json()
        }


def summarise_settings(
    history: History, outcomes: Outcomes, incidence_by: Mapping[str, Incidence], bootstrap: int, seed: int
) -> tuple[SettingSummary, ...]:
    """One summary per setting, in the order in which the sweep declares them; `incidence_by` is by setting_id."""
    labels = setting_labels(history)
    return tuple(
        _summarise(history, outcomes, setting, labels[setting], member_R, incidence_by[setting], bootstrap, seed)
        for setting, member_R in runs_by_setting(history).items()
    )


def _summarise(
    history: History, outcomes: Outcomes, setting: str, label: str, member_R: Bools, curves: Incidence,
    bootstrap: int, seed: int,
) -> SettingSummary:  # fmt: skip
    kind_N = outcomes.kind_R[member_R]
    converged, diverged, unconverged, censored = (int((kind_N == kind).sum()) for kind in OUTCOME_KINDS)
    resamples = resample([history.runs[r] for r in np.flatnonzero(member_R)], bootstrap, seed)
    by_step, interval = float(history.budget), f"bootstrap over {resamples.unit}"
    if censored:
        share = Estimate(float(curves.converged_T[-1]), float(curves.low_T[-1]), float(curves.high_T[-1]))
        by_step = float(curves.steps_T[-1])
    elif resamples.are_independent:
        share, interval = wilson(converged, len(kind_N)), WILSON
    else:
        weight_BN = resamples.with_estimate()
        total_B = weight_BN.sum(axis=1)
        converged_B = weight_BN @ (kind_N == CONVERGED)
        share_B = np.where(total_B > 0, converged_B / np.maximum(total_B, 1), np.nan)
        share = proportion_from_bootstrap(share_B, resamples.num_units)
    # 1e-9: sums of products such as 1/3 + 1/6 may fall a rounding error short of one half.
    reached = np.flatnonzero(curves.converged_T >= 0.5 - 1e-9)
    half_by = float(curves.steps_T[reached[0]]) if len(reached) else float("nan")
    return SettingSummary(
        setting, label, len(kind_N), converged, diverged, unconverged, censored, share, censored > 0,
        curves.is_weighted, by_step, interval, half_by,
    )  # fmt: skip


def describe_intervals(settings: tuple[SettingSummary, ...]) -> list[str]:
    """Sentences on the shares and their intervals, as far as they occur."""
    intervals = list(dict.fromkeys(setting.interval for setting in settings))
    sentences = [f"In brackets: 95% intervals of the share ({'; '.join(intervals)})."]
    if intervals != [WILSON]:
        sentences.append(
            "A bootstrap resamples what the seeds leave independent; where its resamples all agree, the interval is "
            "Wilson's on the number of those units."
        )
    if any(setting.is_estimated for setting in settings):
        sentences.append(
            "By step: some runs are censored, so the share is the Aalen-Johansen estimate at the last step at which "
            "any run is at risk."
        )
    if any(setting.is_weighted for setting in settings):
        sentences.append("Runs that the stopping rule spared by chance stand for those that it stopped.")
    return [*sentences, "Half by step: the first evaluation by which half of the runs had converged."]
