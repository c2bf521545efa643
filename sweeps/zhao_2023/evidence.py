"""From measures on Zhao (2023) to evidence: an estimate, its interval, and a sentence on what it rests on."""

from __future__ import annotations

import numpy as np

from analysis.claims.claims import Evidence, Region
from analysis.claims.sweeps import Sweeps
from analysis.dynamics.early_signs import time_correlation
from analysis.dynamics.phases import PhaseChanges
from analysis.dynamics.seed_variance import SeedVariance, seed_variance
from analysis.outcomes.outcomes import CONVERGED, UNCONVERGED
from analysis.outcomes.settings import members, setting_labels
from analysis.outcomes.subsets import some_runs
from analysis.uncertainty.estimates import median_of_runs, share_of_runs
from analysis.uncertainty.intervals import short
from pipeline.store.history import History
from sweeps.zhao_2023.attention import MapContrast
from sweeps.zhao_2023.measures import PREVIOUS_TOKEN, last_accuracies, outcomes_of, value_at


def without_error(history: History, holds_if: Region) -> Evidence:
    """The share of runs whose last two evaluations are without an error; all wrong answers there, and each setting."""
    accuracy_RE = last_accuracies(history)
    is_perfect_R = np.all(accuracy_RE == 1, axis=1)
    estimate = share_of_runs(is_perfect_R, history.runs)
    judged = outcomes_of(history)
    wrong = 1 - float(np.mean(accuracy_RE[judged.is_kind_R(CONVERGED)])) if judged.count(CONVERGED) else np.nan
    note = (
        f"{judged.count(CONVERGED)} of {len(history.runs)} runs reach 99% within {history.budget} steps; of their last "
        f"answers {100 * wrong:.2g}% are wrong."
    )
    labels = setting_labels(history)
    if len(labels) > 1:
        shares = (f"{labels[s]} {short(np.mean(is_perfect_R[is_s_R]))}" for s, is_s_R in members(history).items())
        note += f" Without an error: {', '.join(shares)}."
    return Evidence.of(estimate, len(history.runs), holds_if, note)


def abrupt(history: History, changes: PhaseChanges, holds_if: Region) -> Evidence:
    """The share of runs with a phase change, and where the largest changes are and how wide."""
    location, width = (median_of_runs(step_R, history.runs).text(0) for step_R in (changes.location_R, changes.width_R))
    note = (
        f"Median step of the largest change {location}, from 10% to 90% within {width} steps. It is over half of the "
        f"way in {np.isfinite(changes.location_R).sum()} of {len(history.runs)} runs."
    )
    return Evidence.of(share_of_runs(changes.is_abrupt_R, history.runs), len(history.runs), holds_if, note)


def alike(found: MapContrast, what: str, more: str = "") -> Evidence:
    """What converged runs have more in common than something else."""
    note = f"{found.note(what)} {more}".rstrip()
    return Evidence.of(found.both.difference, min(found.both.num_runs), Region(low=0.1), note)


def correlated(history: History, step: int, holds_if: Region) -> Evidence:
    """The previous-token score at `step` against the time to convergence, over the runs at risk."""
    values_R = value_at(history, PREVIOUS_TOKEN, step)
    found = time_correlation(values_R, outcomes_of(history), history.runs, step)
    return Evidence.of(found.rho, found.num_runs, holds_if, f"Times up to {history.budget} steps.")


def variance(sweeps: Sweeps) -> SeedVariance:
    """What explains the variance of log time where every init seed meets every data stream."""
    history = sweeps["crossed"].history
    return seed_variance(outcomes_of(history), history.runs, history.budget)


def restricted(found: SeedVariance) -> str:
    """What those shares rest on."""
    return (
        f"{found.num_init} init times {found.num_data} data seeds; {found.num_restricted} runs did not converge and "
        f"count with the budget; interaction {found.interaction.text()}."
    )


def later(history: History, budget: int) -> Evidence:
    """Of the runs that missed `budget`, the share that converged by the end of the sweep."""
    missed_R = outcomes_of(history, budget).is_kind_R(UNCONVERGED)
    late = some_runs(history, missed_R)
    estimate = share_of_runs(outcomes_of(late).is_kind_R(CONVERGED), late.runs)
    note = f"{len(late.runs)} of {len(history.runs)} runs missed {budget} steps; followed to {history.budget}."
    return Evidence.of(estimate, len(late.runs), Region(low=0.5), note)
