"""Measures of the claims on Zhao (2023): from sweeps to an estimate, its interval, and a note on what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps
from analysis.dynamics.early_signs import sibling_auroc, sibling_concordance, time_correlation
from analysis.dynamics.fork_fates import ForkFates, fates_by_step, fixed_step
from analysis.dynamics.phases import PhaseChanges
from analysis.dynamics.seed_variance import SeedVariance, seed_variance
from analysis.outcomes.outcomes import CONVERGED, UNCONVERGED
from analysis.outcomes.settings import runs_by_setting, setting_labels
from analysis.outcomes.subsets import some_runs
from analysis.uncertainty.estimates import median_of_runs, proportion_of_runs
from analysis.uncertainty.intervals import short
from pipeline.store.history import History, RunInfo
from sweeps.zhao_2023.attention_maps.contrasts import AttentionContrasts, MapContrast
from sweeps.zhao_2023.failing import FailingSetting, failing_fates
from sweeps.zhao_2023.measures import (
    FORECASTER,
    LARGE_BUDGET,
    MIXED_BUDGET,
    OTHER_LEVELS,
    PREVIOUS_TOKEN,
    STILL_LOW,
    converged,
    early_scores,
    fates_of,
    head_width_R,
    head_widths_of,
    last_accuracies,
    order_by_own_rise,
    order_of_heads,
    outcomes_of,
    phase_changes,
    smooth_changes,
    unconverged,
    value_at,
)


def share_without_error(sweeps: Sweeps, *, sweep: str) -> Evidence:
    """The share of runs whose last two evaluations, 1024 fresh sequences, are without an error.

    The note has all wrong answers there, and the share of each setting.
    """
    history = sweeps[sweep].history
    accuracy_RE = last_accuracies(history)
    is_perfect_R = np.all(accuracy_RE == 1, axis=1)
    estimate = proportion_of_runs(is_perfect_R, history.runs)
    judged = outcomes_of(history)
    wrong = 1 - float(np.mean(accuracy_RE[judged.is_kind_R(CONVERGED)])) if judged.count(CONVERGED) else np.nan
    note = (
        f"{judged.count(CONVERGED)} of {len(history.runs)} runs reach 99% within {history.budget} steps; of their last "
        f"answers {100 * wrong:.2g}% are wrong."
    )
    labels = setting_labels(history)
    if len(labels) > 1:
        shares = (
            f"{labels[s]} {short(np.mean(is_perfect_R[is_s_R]))}" for s, is_s_R in runs_by_setting(history).items()
        )
        note += f" Without an error: {', '.join(shares)}."
    return Evidence.of(estimate, history.runs, note)


def share_converged(sweeps: Sweeps, *, sweep: str) -> Evidence:
    """The share of runs that reach 99% at two evaluations in a row, in all settings together."""
    history = sweeps[sweep].history
    outcomes = outcomes_of(history)
    slowest = float(np.max(outcomes.upper_R))
    note = f"{outcomes.count(CONVERGED)} of {len(history.runs)} runs, the last of them by step {slowest:g}."
    return Evidence.of(proportion_of_runs(outcomes.is_kind_R(CONVERGED), history.runs), history.runs, note)


def share_of_abrupt_runs(sweeps: Sweeps, *, sweep: str) -> Evidence:
    """The share of converged runs whose excess loss falls abruptly."""
    history = converged(sweeps[sweep].history)
    return _abrupt(history, phase_changes(history))


def share_of_abrupt_smooth_curves(sweeps: Sweeps) -> Evidence:
    """The share of smooth fits in which the method finds a phase change; they have noise as strong as the runs' own."""
    history = converged(sweeps["setting_a"].history)
    return _abrupt(history, smooth_changes(history))


def share_of_abrupt_unconverged_runs(sweeps: Sweeps) -> Evidence:
    """The share of the unconverged runs of settings A to C in which the method finds a phase change."""
    histories = {name: unconverged(sweeps[name].history) for name in ("setting_a", "setting_b", "setting_c")}
    is_abrupt_R = np.concatenate([phase_changes(history).is_abrupt_R for history in histories.values()])
    is_low_R = np.concatenate([last_accuracies(history)[:, -1] < STILL_LOW for history in histories.values()])
    runs = [run for history in histories.values() for run in history.runs]
    note = (
        f"{' and '.join(f'{len(history.runs)} of {name}' for name, history in histories.items())}; found in "
        f"{is_abrupt_R.sum()}, and in {is_abrupt_R[is_low_R].sum()} of the {is_low_R.sum()} that end below an accuracy "
        f"of {STILL_LOW:g}."
    )
    return Evidence.of(proportion_of_runs(is_abrupt_R, runs), runs, note)


def share_with_previous_token_first(sweeps: Sweeps) -> Evidence:
    """The share of the runs of setting A that form a head; ties do not count for it."""
    history = sweeps["setting_a"].history
    order, rise = order_of_heads(history), order_by_own_rise(history)
    others = ", ".join(f"{order_of_heads(history, level).first.text()} at {level:g}" for level in OTHER_LEVELS)
    note = (
        f"Induction score first {order.second.text()}, tied {order.tied.text()}; {order.num_neither} of "
        f"{len(history.runs)} runs reach neither. The order depends on the level: previous-token first in {others}; "
        f"in {rise.first.text()} where each must come half of its own way."
    )
    return Evidence.of(order.first, history.runs, note, num_runs=order.num_runs)


def alike_beyond_permuted(sweeps: Sweeps) -> Evidence:
    """The mean similarity of pairs of runs, less that with positions renamed at random."""
    contrasts = AttentionContrasts(sweeps["setting_a"])
    return _alike(contrasts.history.runs, contrasts.of_permuted(), "positions renamed")


def alike_beyond_unconverged(sweeps: Sweeps) -> Evidence:
    """The mean similarity of pairs of runs, less that of pairs of unconverged ones."""
    contrasts = AttentionContrasts(sweeps["setting_a"])
    return _alike(contrasts.history.runs, contrasts.of_unconverged(), "unconverged runs")


def alike_beyond_init(sweeps: Sweeps) -> Evidence:
    """The mean similarity of pairs of runs, less that of the same runs at step 0."""
    contrasts = AttentionContrasts(sweeps["setting_a"])
    return _alike(contrasts.history.runs, contrasts.of_init(), "step 0")


def alike_beyond_matched_loss(sweeps: Sweeps) -> Evidence:
    """The mean similarity of pairs of runs, less that of the same runs on the plateau."""
    contrasts = AttentionContrasts(sweeps["setting_a"])
    return _alike(contrasts.history.runs, contrasts.of_matched_loss(), "the plateau", contrasts.matched_text())


def early_auroc(sweeps: Sweeps) -> Evidence:
    """AUROC between seeds of setting A at a quarter of the mixed budget, held-out seeds, runs at risk."""
    history = sweeps["setting_a"].history
    scores, num_runs, note = early_scores(history)
    return Evidence.of(scores[FORECASTER].auroc_within, history.runs, note, num_runs=num_runs)


def early_auroc_gain(sweeps: Sweeps) -> Evidence:
    """That AUROC less that of a forecast from the last losses, on the same runs."""
    history = sweeps["setting_a"].history
    scores, num_runs, note = early_scores(history)
    return Evidence.of(scores[FORECASTER].auroc_gain, history.runs, note, num_runs=num_runs)


def score_and_time(sweeps: Sweeps, *, step: int) -> Evidence:
    """The previous-token score at `step` against the time to convergence: rank correlation, setting A, runs at risk."""
    history = sweeps["setting_a"].history
    values_R = value_at(history, PREVIOUS_TOKEN, step)
    found = time_correlation(values_R, outcomes_of(history), history.runs, step)
    return Evidence.of(found.rho, history.runs, f"Times up to {history.budget} steps.", num_runs=found.num_runs)


def width_and_time(sweeps: Sweeps) -> Evidence:
    """Rank correlation of the head's width (2, 3, 4, 8, 16) with the time to convergence, the same seeds at each."""
    history = sweeps["head_widths"].history
    found = time_correlation(head_width_R(history), outcomes_of(history), history.runs, 0)
    is_early_R = outcomes_of(history, MIXED_BUDGET).is_kind_R(CONVERGED)
    shares = (
        f"{width:g} {short(is_early_R[head_width_R(history) == width].mean())}" for width in head_widths_of(history)
    )
    note = f"Converged by step {MIXED_BUDGET}, by width: {', '.join(shares)}."
    return Evidence.of(found.rho, history.runs, note, num_runs=found.num_runs)


def variance_of_init(sweeps: Sweeps) -> Evidence:
    """The share of the variance of log time that init seeds explain, crossed with data streams."""
    found, runs = _variance(sweeps), sweeps["crossed"].history.runs
    return Evidence.of(found.init, runs, _restricted(found), num_runs=found.num_init * found.num_data)


def variance_of_init_without_slowest(sweeps: Sweeps) -> Evidence:
    """The share that init seeds explain without the one whose runs converge last on average."""
    found, runs = _variance(sweeps), sweeps["crossed"].history.runs
    return Evidence.of(found.init_without_slowest, runs, _restricted(found), num_runs=found.num_init * found.num_data)


def variance_of_data(sweeps: Sweeps) -> Evidence:
    """The share that data seeds explain."""
    found, runs = _variance(sweeps), sweeps["crossed"].history.runs
    return Evidence.of(found.data, runs, _restricted(found), num_runs=found.num_init * found.num_data)


def concordance_of_siblings(sweeps: Sweeps) -> Evidence:
    """Concordance of the mean log time of an init seed's other runs with the order in which runs converge."""
    history = sweeps["crossed"].history
    outcomes = outcomes_of(history, MIXED_BUDGET)
    at_one_cut = sibling_auroc(outcomes, history.runs, MIXED_BUDGET).text()
    note = (
        f"Over all cuts up to step {history.budget}; at step {MIXED_BUDGET}, by which {outcomes.count(CONVERGED)} of "
        f"{len(history.runs)} runs had converged, the AUROC is {at_one_cut}."
    )
    return Evidence.of(sibling_concordance(outcomes_of(history), history.runs, history.budget), history.runs, note)


def step_of_fixed_fate(sweeps: Sweeps) -> Evidence:
    """The fork step from which 95% of forks end as their parent, for convergence of setting A by the mixed budget."""
    return _fixed(fates_of(sweeps, MIXED_BUDGET), MIXED_BUDGET)


def step_of_fixed_failure(sweeps: Sweeps, *, setting: FailingSetting) -> Evidence:
    """The same of a setting in which runs fail, for convergence by the whole budget."""
    found, budget = failing_fates(sweeps, setting), sweeps["failing_forks"].history.budget
    return _fixed(found, budget)


def share_of_forks_that_end_alike(sweeps: Sweeps, *, setting: FailingSetting) -> Evidence:
    """Of forks from the last fork step, where the most is fixed, the share that ends as the parent by the budget."""
    found = failing_fates(sweeps, setting)
    last = fates_by_step(found)[-1]
    runs = [run for run, step in zip(found.forks, found.step_N, strict=True) if step == last.step]
    return Evidence.of(last.agreement, runs, f"Fork step {last.step}.", num_runs=last.num_parents)


def share_after_mixed_budget(sweeps: Sweeps) -> Evidence:
    """Share of the runs of setting A that missed the mixed budget and converged later."""
    return _later(sweeps["setting_a"].history, MIXED_BUDGET)


def share_after_large_budget(sweeps: Sweeps) -> Evidence:
    """Share of the runs of settings A, C and the width between that missed the largest budget and converged later."""
    history = sweeps["head_widths"].history
    return _later(some_runs(history, np.isin(head_width_R(history), (2, 3, 4))), LARGE_BUDGET)


def _fixed(found: ForkFates, budget: int) -> Evidence:
    shares = "; ".join(f"{at.step}: {at.agreement.text()}" for at in fates_by_step(found))
    note = f"Share of forks that end as their parent, by fork step: {shares}."
    return Evidence.of(fixed_step(found, budget), found.forks, note, num_runs=len({run.parent for run in found.forks}))


def _abrupt(history: History, changes: PhaseChanges) -> Evidence:
    """The share of runs with a phase change, and where the largest changes are and how wide."""
    location, width = (median_of_runs(step_R, history.runs).text(0) for step_R in (changes.location_R, changes.width_R))
    note = (
        f"Median step of the largest change {location}, from 10% to 90% within {width} steps. It is over half of the "
        f"way in {np.isfinite(changes.location_R).sum()} of {len(history.runs)} runs."
    )
    return Evidence.of(proportion_of_runs(changes.is_abrupt_R, history.runs), history.runs, note)


def _alike(runs: Sequence[RunInfo], found: MapContrast, what: str, more: str = "") -> Evidence:
    """Excess similarity of converged runs over a comparison group."""
    note = f"{found.note(what)} {more}".rstrip()
    return Evidence.of(found.both.difference, runs, note, num_runs=min(found.both.num_runs))


def _variance(sweeps: Sweeps) -> SeedVariance:
    """Decomposition of the variance of log time in the design that crosses init seeds and data streams."""
    history = sweeps["crossed"].history
    return seed_variance(outcomes_of(history), history.runs, history.budget)


def _restricted(found: SeedVariance) -> str:
    """A note on the runs behind those shares."""
    return (
        f"{found.num_init} init times {found.num_data} data seeds; {found.num_restricted} runs did not converge and "
        f"count with the budget; interaction {found.interaction.text()}. Without the slowest init seed init has "
        f"{found.init_without_slowest.text()}."
    )


def _later(history: History, budget: int) -> Evidence:
    """Of the runs that missed `budget`, the share that converged by the end of the sweep."""
    missed_R = outcomes_of(history, budget).is_kind_R(UNCONVERGED)
    late = some_runs(history, missed_R)
    estimate = proportion_of_runs(outcomes_of(late).is_kind_R(CONVERGED), late.runs)
    note = f"{len(late.runs)} of {len(history.runs)} runs missed {budget} steps; followed to {history.budget}."
    return Evidence.of(estimate, late.runs, note)
