"""Measures of single claims of von Oswald et al. (2023) on heads, fixed tasks, softmax, separate tokens, sine waves."""

from __future__ import annotations

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.phases import find_phase_changes
from analysis.dynamics.stages import crossed_for_good, crossing_steps, stage_order
from analysis.outcomes.subsets import some_runs
from analysis.uncertainty.estimates import mean_of_runs, median_of_runs, proportion_of_runs
from pipeline.arrays import Bools, Floats
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History
from sweeps.von_oswald_2023.evidence.contexts import median
from sweeps.von_oswald_2023.measures import (
    LEFT_PLATEAU,
    at_end,
    closed_form_R,
    matched_by_seed,
    one_step_loss,
    recorded,
    runs_with,
    smoothed,
    spread,
    steps_until,
    zero_loss,
)

_NINE_TENTHS, _TENTH = (Criterion(LEFT_PLATEAU.metric, at_most=level) for level in (0.9, 0.1))


def share_of_long_plateaus(sweeps: Sweeps) -> Evidence:
    """Share of seeds with a long plateau; it ends when the excess stays at or below half of the zero prediction's."""
    history = runs_with(sweeps["heads"].history, "model.num_heads", 1)
    is_long_R, step = _long_plateaus(history)
    note = f"{int(is_long_R.sum())} of {len(history.runs)} seeds; the median leaves it at step {step:g}."
    return Evidence.of(proportion_of_runs(is_long_R, history.runs), history.runs, note)


def plateaus_spared_by_two_heads(sweeps: Sweeps) -> Evidence:
    """Share of seeds with a long plateau, one head less two; same seeds and first heads, threshold from one head."""
    one, two = _one_and_two_heads(sweeps, "heads")
    is_long_R, step = _long_plateaus(one)
    is_long_with_two_R = steps_until(two, LEFT_PLATEAU) >= 2 * step
    gain_R = is_long_R.astype(float) - is_long_with_two_R.astype(float)
    note = f"{int(is_long_R.sum())} and {int(is_long_with_two_R.sum())} of {len(one.runs)} seeds."
    return Evidence.of(mean_of_runs(gain_R, one.runs), one.runs, note)


def time_with_two_heads(sweeps: Sweeps) -> Evidence:
    """Ratio of the steps at which the plateau is left, two heads over one; the budget for runs that do not leave it."""
    one, two = _one_and_two_heads(sweeps, "heads")
    times = [np.minimum(steps_until(history, LEFT_PLATEAU), history.budget) for history in (one, two)]
    return median(one, times[1] / times[0])


def share_of_sudden_ends(sweeps: Sweeps) -> Evidence:
    """Share of phase changes among the one-head seeds that leave a long plateau, by the method of the other tasks."""
    history = runs_with(sweeps["heads"].history, "model.num_heads", 1)
    is_long_R, _ = _long_plateaus(history)
    drop_R = steps_until(history, _TENTH) - steps_until(history, _NINE_TENTHS)
    left = some_runs(history, is_long_R & np.isfinite(drop_R))
    note = (
        f"{len(left.runs)} of the {int(is_long_R.sum())} seeds with a long plateau end it within {history.budget} "
        f"steps. From 90% to 10% of the excess they take {_middle(drop_R[is_long_R])} steps, the other seeds "
        f"{_middle(drop_R[~is_long_R])} (medians)."
    )
    return _share_of_jumps(left, note)


def excess_of_fixed_tasks(sweeps: Sweeps, *, num_tasks: int) -> Evidence:
    """Excess loss at the end, of runs trained on a given number of fixed tasks; the zero prediction has 1."""
    history = sweeps["fixed_tasks"].history
    batch_size = history.runs[0].hyperparameters["batch_size"]
    chosen = runs_with(history, "task.num_batches", num_tasks // batch_size)
    return median(chosen, at_end(chosen, "label_excess", np.inf))


def delay_of_generalisation(sweeps: Sweeps) -> Evidence:
    """Ratio of steps until the excess loss is halved, new tasks over training tasks.

    Halved means for good below the midpoint of zero prediction and gradient step. For the training tasks, the loss is
    that of each step's batch, smoothed by the median of five, 25 steps apart.
    """
    history = sweeps["mlp_block"].history
    middle_R1 = (closed_form_R(zero_loss, history.runs) + closed_form_R(one_step_loss, history.runs))[:, None] / 2
    below = Criterion(at_most=0.0, evaluations=1)
    trained_R, new_R = (
        crossing_steps(values_RT - middle_R1, history.steps_T, below)
        for values_RT in (smoothed(recorded(history, "train_loss")), recorded(history, "label_loss"))
    )
    halved_R, learned_R = (np.where(np.isnan(step_R), np.inf, step_R) for step_R in (new_R, trained_R))
    note = (
        f"Median over seeds; halved at step {np.median(halved_R):.0f} and {np.median(learned_R):.0f} (medians, inf "
        f"where it is not). Excess on new tasks at the end: "
        f"{median_of_runs(at_end(history, 'label_excess', np.inf), history.runs).text(3)}."
    )
    return median(history, halved_R / trained_R, note)


def excess_of_two_softmax_heads(sweeps: Sweeps) -> Evidence:
    """At the end."""
    history = runs_with(sweeps["softmax"].history, "model.num_heads", 2)
    excess_R = at_end(history, "label_excess", np.inf)
    note = f"Median over seeds; {int(np.sum(excess_R <= 0.1))} of {len(excess_R)} come within .1."
    return median(history, excess_R, note)


def cosine_of_two_softmax_heads(sweeps: Sweeps) -> Evidence:
    """At the end."""
    history = runs_with(sweeps["softmax"].history, "model.num_heads", 2)
    return median(history, at_end(history, "gd_alignment", -1.0))


def excess_of_one_softmax_head_over_two(sweeps: Sweeps) -> Evidence:
    """Excess loss at the end, one head less two, on the same seeds."""
    one, two = _one_and_two_heads(sweeps, "softmax")
    # A pair in which both runs diverged gives NaN.
    with np.errstate(invalid="ignore"):
        gap_R = at_end(one, "label_excess", np.inf) - at_end(two, "label_excess", np.inf)
    return median(one, gap_R)


def loss_on_separate_tokens(sweeps: Sweeps) -> Evidence:
    """Ratio of losses to one gradient step on the same contexts, for the runs that left the plateau."""
    history = sweeps["separate_tokens"].history
    left = _left_plateau(history)
    ratio_R = at_end(left, "label_loss", np.inf) / at_end(left, "label_reference_loss")
    return median(
        left, ratio_R, f"Median over the {len(left.runs)} of {len(history.runs)} seeds that left the plateau."
    )


def share_of_jumps_on_separate_tokens(sweeps: Sweeps) -> Evidence:
    """Share of the runs that left the plateau with a phase change: a sharp sigmoid fits better than smooth curves."""
    left = _left_plateau(sweeps["separate_tokens"].history)
    return _share_of_jumps(left, f"Of the {len(left.runs)} runs that left the plateau.")


def share_with_next_token_first(sweeps: Sweeps) -> Evidence:
    """Share of runs whose next-token sensitivity reaches a quarter of its last value before the excess is a half.

    Ties do not count.
    """
    left = _left_plateau(sweeps["separate_tokens"].history)
    next_RT = recorded(left, "next_token_sensitivity")
    relative_RT = next_RT / at_end(left, "next_token_sensitivity")[:, None]
    copied = crossed_for_good(relative_RT, left.steps_T, Criterion(at_least=0.25, evaluations=1))
    # A sensitivity that is large at the first recorded step has no time of rise.
    copies_R = np.where(copied.upper_R > copied.lower_R, copied.upper_R, np.nan)
    order = stage_order(copies_R, steps_until(left, LEFT_PLATEAU), left.runs)
    note = f"Ties {order.tied.text()}, the jump first {order.second.text()}."
    return Evidence.of(order.first, left.runs, note, num_runs=order.num_runs)


def spread_of_times_on_separate_tokens(sweeps: Sweeps) -> Evidence:
    """90th over 10th percentile of the steps at which the plateau is left.

    A run that does not leave it counts with the budget, so this is a lower bound.
    """
    history = sweeps["separate_tokens"].history
    time_R = steps_until(history, LEFT_PLATEAU)
    note = f"{int(np.sum(np.isfinite(time_R)))} of {len(history.runs)} runs left it within {history.budget} steps."
    return Evidence.of(spread(time_R, history.runs, history.budget), history.runs, note)


def loss_on_sine_waves(sweeps: Sweeps) -> Evidence:
    """Ratio of losses, trained layer over gradient step, each with its own embedding, on the same contexts."""
    stepped, trained = _stepped_and_trained(sweeps)
    return median(trained, at_end(trained, "label_loss", np.inf) / at_end(stepped, "label_loss"))


def worse_excess_on_sine_waves(sweeps: Sweeps) -> Evidence:
    """Larger excess loss of the two, relative to the best guess without a context."""
    stepped, trained = _stepped_and_trained(sweeps)
    worse_R = np.maximum(at_end(trained, "label_excess", np.inf), at_end(stepped, "label_excess", np.inf))
    return median(trained, worse_R)


def _long_plateaus(history: History) -> tuple[Bools, float]:
    """(R,) True for runs that leave the plateau at twice the median step or later, or never; and the median step.

    Raises UndecidedError if twice the median is beyond the budget, since late runs are then not observed.
    """
    left_R = steps_until(history, LEFT_PLATEAU)
    step = float(np.median(left_R))
    if 2 * step > history.budget:
        raise UndecidedError(f"the median run of {history.name!r} does not leave the plateau in half of the budget")
    return left_R >= 2 * step, step


def _one_and_two_heads(sweeps: Sweeps, name: str) -> tuple[History, History]:
    one, two = (runs_with(sweeps[name].history, "model.num_heads", heads) for heads in (1, 2))
    return matched_by_seed(one, two)


def _stepped_and_trained(sweeps: Sweeps) -> tuple[History, History]:
    stepped, trained = (
        runs_with(sweeps["sine"].history, "model.attention", kind) for kind in ("gradient_step", "trained")
    )
    return matched_by_seed(stepped, trained)


def _left_plateau(history: History) -> History:
    return some_runs(history, np.isfinite(steps_until(history, LEFT_PLATEAU)))


def _share_of_jumps(history: History, note: str) -> Evidence:
    found = find_phase_changes(recorded(history, "label_excess"), history.steps_T, chance=1.0, floor=0.0)
    return Evidence.of(proportion_of_runs(found.is_abrupt_R, history.runs), history.runs, note)


def _middle(value_R: Floats) -> str:
    value_R = value_R[np.isfinite(value_R)]
    return f"{np.median(value_R):.0f}" if len(value_R) else "n/a"
