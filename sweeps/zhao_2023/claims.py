"""What Zhao (2023, UCB/EECS-2023-96) states of small transformers that learn in context, and what ours show.

The report's abstract states four phenomena: 100% test accuracy, phase change behaviour, attention patterns that are
invariant across models of one attention head, and early determination of the convergence probability. Its task, sizes,
seeds and criterion are not known to us, so no figure of its is compared: the phenomena are looked for in a dictionary
lookup in context, at settings of our own. Regions, budgets and statistics were fixed before these runs were looked at,
from a smaller set of runs under other seeds; the claim on heads of width 2 was added after 256 other seeds of theirs,
and their sweep has fresh seeds because 768 earlier ones left the share of false positives undecided.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from analysis.claims.claims import ClaimBook, Evidence, Region
from analysis.claims.sweeps import Sweeps
from analysis.dynamics.early_signs import sibling_auroc, time_correlation
from analysis.dynamics.fork_fates import fates_by_step, fixed_step
from analysis.forecasting.evaluation import PRIMARY
from analysis.outcomes.outcomes import CONVERGED
from analysis.outcomes.subsets import some_runs
from analysis.uncertainty.estimates import share_of_runs
from analysis.uncertainty.intervals import short
from sweeps.zhao_2023.attention import AttentionContrasts
from sweeps.zhao_2023.early_figures import early_statistics, fates, forecasts, head_widths, init_and_data
from sweeps.zhao_2023.evidence import abrupt, alike, correlated, later, restricted, variance, without_error
from sweeps.zhao_2023.figures import attention, head_order, learning_curves, phase_change
from sweeps.zhao_2023.measures import (
    EARLY_STEP,
    LARGE_BUDGET,
    MIXED_BUDGET,
    OTHER_LEVELS,
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
)

CLAIMS = ClaimBook()
FIGURES = (
    learning_curves,
    phase_change,
    head_order,
    attention,
    early_statistics,
    forecasts,
    head_widths,
    init_and_data,
    fates,
)
claim, OURS = partial(CLAIMS.claim, paper="Zhao 2023"), "not in the paper"


@claim(
    statement="Small transformers reach 100% test accuracy (setting A): share without an error in 1024 answers",
    value="100%",
    figure="learning_curves",
)
def accuracy_reaches_100_percent(sweeps: Sweeps) -> Evidence:
    """The share of the runs of setting A whose last two evaluations, 1024 fresh sequences, are without an error."""
    return without_error(sweeps["setting_a"].history, Region(low=0.5))


@claim(
    statement="All do where the head is as wide as the model: the same share, two learning rates",
    value="100%",
    figure="learning_curves",
)
def wide_heads_reach_100_percent(sweeps: Sweeps) -> Evidence:
    """The same share, at both learning rates together."""
    return without_error(sweeps["full_width"].history, Region(low=0.9))


@claim(statement="All reach 99% there: share of runs", value=OURS, figure="learning_curves")
def wide_heads_converge(sweeps: Sweeps) -> Evidence:
    """The share that reaches 99% at two evaluations in a row, at both learning rates together."""
    history = sweeps["full_width"].history
    outcomes = outcomes_of(history)
    slowest = float(np.max(outcomes.upper_R))
    note = f"{outcomes.count(CONVERGED)} of {len(history.runs)} runs, the last of them by step {slowest:g}."
    return Evidence.of(
        share_of_runs(outcomes.is_kind_R(CONVERGED), history.runs), len(history.runs), Region(low=0.9), note
    )


@claim(
    statement="One layer of one head does where a token is a pair: the same share",
    value="100%",
    figure="learning_curves",
)
def pair_tokens_reach_100_percent(sweeps: Sweeps) -> Evidence:
    """The same share."""
    return without_error(sweeps["pair_tokens"].history, Region(low=0.5))


@claim(
    statement="Learning is a phase change: share of converged runs of setting A",
    value="clear indications",
    figure="phase_change",
)
def converged_runs_change_abruptly(sweeps: Sweeps) -> Evidence:
    """The share of the converged runs of setting A whose excess loss falls abruptly."""
    history = converged(sweeps["setting_a"].history)
    return abrupt(history, phase_changes(history), Region(low=0.8))


@claim(
    statement="It is one in the larger task, too (setting B): share of converged runs",
    value="clear indications",
    figure="phase_change",
)
def converged_runs_of_b_change_abruptly(sweeps: Sweeps) -> Evidence:
    """The same share."""
    history = converged(sweeps["setting_b"].history)
    return abrupt(history, phase_changes(history), Region(low=0.8))


@claim(
    statement="It is one where heads are of width 2, too (setting C): share of converged runs",
    value="clear indications",
    figure="phase_change",
)
def converged_runs_of_c_change_abruptly(sweeps: Sweeps) -> Evidence:
    """The same share."""
    history = converged(sweeps["setting_c"].history)
    return abrupt(history, phase_changes(history), Region(low=0.8))


@claim(
    statement="Runs that do not converge have no phase change (settings A, B, C): share that has",
    value=OURS,
    figure="phase_change",
)
def unconverged_runs_do_not_change_abruptly(sweeps: Sweeps) -> Evidence:
    """The share in which the same method finds one; of those settings that are there."""
    names = [name for name in ("setting_a", "setting_b", "setting_c") if name == "setting_a" or sweeps.has(name)]
    histories = {name: unconverged(sweeps[name].history) for name in names}
    is_abrupt_R = np.concatenate([phase_changes(history).is_abrupt_R for history in histories.values()])
    is_low_R = np.concatenate([last_accuracies(history)[:, -1] < STILL_LOW for history in histories.values()])
    runs = [run for history in histories.values() for run in history.runs]
    note = (
        f"{' and '.join(f'{len(history.runs)} of {name}' for name, history in histories.items())}; found in "
        f"{is_abrupt_R.sum()}, and in {is_abrupt_R[is_low_R].sum()} of the {is_low_R.sum()} that end below an accuracy "
        f"of {STILL_LOW:g}."
    )
    return Evidence.of(share_of_runs(is_abrupt_R, runs), len(runs), Region(high=0.05), note)


@claim(
    statement="Smooth curves fitted to the runs that converge have none (setting A): share that has",
    value=OURS,
    figure="phase_change",
)
def smooth_curves_do_not_change_abruptly(sweeps: Sweeps) -> Evidence:
    """The share in which the same method finds one; the curves have noise as strong as the runs' own."""
    history = converged(sweeps["setting_a"].history)
    return abrupt(history, smooth_changes(history), Region(high=0.05))


@claim(
    statement="The previous-token score is .5 before the induction score is: share of runs",
    value=OURS,
    figure="head_order",
)
def previous_token_head_forms_first(sweeps: Sweeps) -> Evidence:
    """The share of the runs of setting A that form a head; ties do not count for it."""
    history = sweeps["setting_a"].history
    order, rise = order_of_heads(history), order_by_own_rise(history)
    others = ", ".join(f"{order_of_heads(history, level).first.text()} at {level:g}" for level in OTHER_LEVELS)
    note = (
        f"Induction score first {order.second.text()}, tied {order.tied.text()}; {order.num_neither} of "
        f"{len(history.runs)} runs reach neither. The order depends on the level: previous-token first in {others}; "
        f"in {rise.first.text()} where each must come half of its own way."
    )
    return Evidence.of(order.first, order.num_runs, Region(low=0.8), note)


@claim(
    statement="Converged runs attend alike, by cosine: more than with positions renamed (a control, 0 by construction)",
    value="invariant patterns",
    figure="attention",
)
def maps_agree_beyond_permuted_positions(sweeps: Sweeps) -> Evidence:
    """The mean similarity of pairs of runs, less that with positions renamed at random."""
    return alike(AttentionContrasts(sweeps["setting_a"]).of_permuted(), "positions renamed")


@claim(
    statement="Converged runs attend alike, by cosine: more than unconverged ones",
    value="invariant patterns",
    figure="attention",
)
def maps_agree_beyond_unconverged_runs(sweeps: Sweeps) -> Evidence:
    """The mean similarity of pairs of runs, less that of pairs of unconverged ones."""
    return alike(AttentionContrasts(sweeps["setting_a"]).of_unconverged(), "unconverged runs")


@claim(
    statement="Converged runs attend alike, by cosine: more than before training (a control, near 0 by construction)",
    value="invariant patterns",
    figure="attention",
)
def maps_agree_beyond_init(sweeps: Sweeps) -> Evidence:
    """The mean similarity of pairs of runs, less that of the same runs at step 0."""
    return alike(AttentionContrasts(sweeps["setting_a"]).of_init(), "step 0")


@claim(
    statement="Converged runs attend alike, by cosine: more than at one loss before their jumps",
    value="invariant patterns",
    figure="attention",
)
def maps_agree_beyond_matched_loss(sweeps: Sweeps) -> Evidence:
    """The mean similarity of pairs of runs, less that of the same runs on the plateau."""
    contrasts = AttentionContrasts(sweeps["setting_a"])
    return alike(contrasts.of_matched_loss(), "the plateau", contrasts.matched_text())


@claim(
    statement=f"Statistics of a quarter of {MIXED_BUDGET} steps tell which seeds will have converged: AUROC",
    value="early determination",
    figure="forecasts",
)
def early_statistics_foretell_convergence(sweeps: Sweeps) -> Evidence:
    """AUROC between seeds of setting A at a quarter of the mixed budget, held-out seeds, runs at risk."""
    scores, num_runs, note = early_scores(sweeps["setting_a"].history)
    return Evidence.of(scores[PRIMARY].auroc_within, num_runs, Region(low=0.7), note)


@claim(
    statement="They tell more than the losses so far do: AUROC, less that of the losses", value=OURS, figure="forecasts"
)
def early_statistics_tell_more_than_loss(sweeps: Sweeps) -> Evidence:
    """That AUROC less that of a forecast from the last losses, on the same runs."""
    scores, num_runs, note = early_scores(sweeps["setting_a"].history)
    return Evidence.of(scores[PRIMARY].auroc_gain, num_runs, Region(low=0.01), note)


@claim(
    statement=f"At step {EARLY_STEP} the previous-token score tells when a run will converge: rank correlation",
    value="early determination",
    figure="early_statistics",
)
def previous_token_score_foretells_the_time(sweeps: Sweeps) -> Evidence:
    """Rank correlation with the time to convergence in setting A, over the runs at risk."""
    return correlated(sweeps["setting_a"].history, EARLY_STEP, Region(high=-0.3))


@claim(statement="At step 0 it does not: rank correlation", value=OURS, figure="early_statistics")
def previous_token_score_at_init_says_little(sweeps: Sweeps) -> Evidence:
    """The same rank correlation before training."""
    return correlated(sweeps["setting_a"].history, 0, Region(-0.2, 0.2))


@claim(statement="Narrower heads converge later: rank correlation of width and time", value=OURS, figure="head_widths")
def narrower_heads_converge_later(sweeps: Sweeps) -> Evidence:
    """Rank correlation of the head's width (2, 3, 4, 8, 16) with the time to convergence, the same seeds at each."""
    history = sweeps["head_widths"].history
    found = time_correlation(head_width_R(history), outcomes_of(history), history.runs, 0)
    is_early_R = outcomes_of(history, MIXED_BUDGET).is_kind_R(CONVERGED)
    shares = (
        f"{width:g} {short(is_early_R[head_width_R(history) == width].mean())}" for width in head_widths_of(history)
    )
    note = f"Converged by step {MIXED_BUDGET}, by width: {', '.join(shares)}."
    return Evidence.of(found.rho, found.num_runs, Region(high=-0.3), note)


@claim(
    statement="The initial weights decide on the time to convergence: share of the variance of its logarithm",
    value="early determination",
    figure="init_and_data",
)
def init_decides_on_the_time(sweeps: Sweeps) -> Evidence:
    """The share of the variance of log time that init seeds explain, where each meets each data stream."""
    found = variance(sweeps)
    return Evidence.of(found.init, found.num_init * found.num_data, Region(low=0.5), restricted(found))


@claim(statement="The data stream by itself hardly does: the same share", value=OURS, figure="init_and_data")
def data_stream_hardly_decides(sweeps: Sweeps) -> Evidence:
    """The share that data seeds explain."""
    found = variance(sweeps)
    return Evidence.of(found.data, found.num_init * found.num_data, Region(high=0.1), restricted(found))


@claim(
    statement="Runs of the same initial weights tell before the first step who will have converged: AUROC",
    value="early determination",
    figure="init_and_data",
)
def siblings_foretell_convergence(sweeps: Sweeps) -> Evidence:
    """AUROC of the mean log time of an init seed's other runs, for convergence by the mixed budget."""
    history = sweeps["crossed"].history
    outcomes = outcomes_of(history, MIXED_BUDGET)
    note = f"{outcomes.count(CONVERGED)} of {len(history.runs)} runs converged by step {MIXED_BUDGET}."
    return Evidence.of(sibling_auroc(outcomes, history.runs, MIXED_BUDGET), len(history.runs), Region(low=0.8), note)


@claim(
    statement="Outcomes are fixed early: step from which 95% of forks with fresh data share them",
    value="early determination",
    figure="fates",
)
def fate_is_fixed_by_half_of_the_budget(sweeps: Sweeps) -> Evidence:
    """The fork step from which that holds, for convergence of setting A by the mixed budget."""
    found = fates_of(sweeps, MIXED_BUDGET)
    shares = "; ".join(f"{at.step}: {at.share.text()}" for at in fates_by_step(found))
    note = f"Share of forks that end as their parent, by fork step: {shares}."
    num_parents = len({run.parent for run in found.forks})
    return Evidence.of(fixed_step(found, MIXED_BUDGET), num_parents, Region(high=MIXED_BUDGET / 2), note)


@claim(
    statement=f"Unconverged is not never: most runs that miss {MIXED_BUDGET} steps converge by {LARGE_BUDGET}",
    value=OURS,
    figure="learning_curves",
)
def unconverged_runs_converge_by_a_larger_budget(sweeps: Sweeps) -> Evidence:
    """The share of the runs of setting A."""
    return later(sweeps["setting_a"].history, MIXED_BUDGET)


@claim(
    statement=f"Most runs that miss {LARGE_BUDGET} steps converge later (head widths 2 to 4)",
    value=OURS,
    figure="head_widths",
)
def unconverged_runs_converge_in_the_end(sweeps: Sweeps) -> Evidence:
    """The share of the runs of settings A and C, and of the width between, at the largest budget."""
    history = sweeps["head_widths"].history
    return later(some_runs(history, np.isin(head_width_R(history), (2, 3, 4))), LARGE_BUDGET)
