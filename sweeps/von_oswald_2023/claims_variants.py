"""Claims of von Oswald et al. (2023) on heads, fixed tasks, softmax, separate tokens and sine waves."""

from __future__ import annotations

import numpy as np

from analysis.claims.claims import ClaimBook, Evidence, Region
from analysis.claims.sweeps import Sweeps
from analysis.dynamics.phases import find_phase_changes
from analysis.dynamics.stages import crossed_for_good, crossing_steps, stage_order
from analysis.outcomes.subsets import some_runs
from analysis.uncertainty.estimates import mean_of_runs, median_of_runs, share_of_runs
from pipeline.arrays import Floats
from pipeline.spec.criterion import Criterion
from sweeps.von_oswald_2023.evidence import PAPER, long_plateaus, median, of_tasks
from sweeps.von_oswald_2023.measures import (
    LEFT,
    at_end,
    of_runs,
    on_same_seeds,
    one_step_loss,
    part,
    recorded,
    smoothed,
    spread,
    steps_until,
    zero_loss,
)

CLAIMS = ClaimBook()
_NINE_TENTHS, _TENTH = (Criterion(LEFT.metric, at_most=level) for level in (0.9, 0.1))


@CLAIMS.claim(
    paper=PAPER,
    statement="With one head some seeds sit on a long plateau: share that leaves it at twice the median step or later",
    value="some of 10 seeds (A.11)",
    figure="plateaus",
    least_runs=30,
)
def some_seeds_sit_on_a_plateau(sweeps: Sweeps) -> Evidence:
    """The plateau is left when the excess stays at half of the zero prediction's or below."""
    history = part(sweeps["heads"].history, "model.num_heads", 1)
    is_long_R, step = long_plateaus(history)
    note = f"{int(is_long_R.sum())} of {len(history.runs)} seeds; the median leaves it at step {step:g}."
    return Evidence.of(share_of_runs(is_long_R, history.runs), len(history.runs), Region(low=0.02), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="Two heads mitigate that: share of seeds with a long plateau, one head less two",
    value="no plateaus (A.11)",
    figure="plateaus",
    least_runs=30,
)
def two_heads_mitigate_plateaus(sweeps: Sweeps) -> Evidence:
    """Long is what it is with one head; the same seeds, of which the first heads start alike."""
    one, two = (part(sweeps["heads"].history, "model.num_heads", heads) for heads in (1, 2))
    one, two = on_same_seeds(one, two)
    is_long_R, step = long_plateaus(one)
    is_long_with_two_R = steps_until(two, LEFT) >= 2 * step
    gain_R = is_long_R.astype(float) - is_long_with_two_R.astype(float)
    note = f"{int(is_long_R.sum())} and {int(is_long_with_two_R.sum())} of {len(one.runs)} seeds."
    return Evidence.of(mean_of_runs(gain_R, one.runs), len(one.runs), Region(low=0.02), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="Two heads leave the plateau earlier: ratio of steps on the same seed, two heads over one",
    value="earlier (A.11)",
    figure="plateaus",
    least_runs=30,
)
def two_heads_leave_earlier(sweeps: Sweeps) -> Evidence:
    """The median over seeds; a run that does not leave it counts with the budget."""
    one, two = (part(sweeps["heads"].history, "model.num_heads", heads) for heads in (1, 2))
    one, two = on_same_seeds(one, two)
    times = [np.minimum(steps_until(history, LEFT), history.budget) for history in (one, two)]
    return median(one, times[1] / times[0], Region(high=0.95), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Long plateaus that end do so abruptly: share of them with a phase change",
    value="a sudden drop (A.11)",
    figure="plateaus",
)
def long_plateaus_end_suddenly(sweeps: Sweeps) -> Evidence:
    """Of the seeds with a long plateau of one head that they leave, by the method for other tasks' phase changes."""
    history = part(sweeps["heads"].history, "model.num_heads", 1)
    is_long_R, _ = long_plateaus(history)
    drop_R = steps_until(history, _TENTH) - steps_until(history, _NINE_TENTHS)
    left = some_runs(history, is_long_R & np.isfinite(drop_R))
    found = find_phase_changes(recorded(left, "label_excess"), left.steps_T, chance=1.0, floor=0.0)
    note = (
        f"{len(left.runs)} of the {int(is_long_R.sum())} seeds with a long plateau end it within {history.budget} "
        f"steps. From 90% to 10% of the excess they take {_middle(drop_R[is_long_R])} steps, the other seeds "
        f"{_middle(drop_R[~is_long_R])} (medians)."
    )
    return Evidence.of(share_of_runs(found.is_abrupt_R, left.runs), len(left.runs), Region(low=0.6), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="Trained on 8192 fixed tasks, a layer is near the gradient step on new ones: excess loss",
    value="near (app.)",
    figure="fixed_tasks",
)
def many_fixed_tasks_suffice(sweeps: Sweeps) -> Evidence:
    """Median over seeds at the end."""
    history = of_tasks(sweeps["fixed_tasks"].history, 8192)
    return median(history, at_end(history, "label_excess", np.inf), Region(high=0.05), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Trained on 128 it overfits: on new tasks it is worse than predicting zero: excess loss",
    value="worse (app.)",
    figure="fixed_tasks",
)
def few_fixed_tasks_are_overfitted(sweeps: Sweeps) -> Evidence:
    """Median over seeds at the end; the zero prediction has 1."""
    history = of_tasks(sweeps["fixed_tasks"].history, 128)
    return median(history, at_end(history, "label_excess", np.inf), Region(low=1.5), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="With an MLP it groks: steps until the excess on new tasks is halved, over those for 8192 training tasks",
    value="groks (A.11)",
    figure="mlp_block",
)
def a_block_with_mlp_groks(sweeps: Sweeps) -> Evidence:
    """Halved: for good below the middle between zero prediction and gradient step.

    Of the training tasks, the loss is that of the batch of each step, and the median of five of them, 25 steps apart.
    """
    history = sweeps["mlp_block"].history
    middle_R1 = (of_runs(zero_loss, history.runs) + of_runs(one_step_loss, history.runs))[:, None] / 2
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
    return median(history, halved_R / trained_R, Region(low=1.5), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="Softmax with two heads comes near the gradient step: excess loss of the median run",
    value="near",
    figure="softmax",
    least_runs=8,
)
def two_softmax_heads_come_near(sweeps: Sweeps) -> Evidence:
    """Median over seeds at the end."""
    history = part(sweeps["softmax"].history, "model.num_heads", 2)
    excess_R = at_end(history, "label_excess", np.inf)
    note = f"Median over seeds; {int(np.sum(excess_R <= 0.1))} of {len(excess_R)} come within .1."
    return median(history, excess_R, Region(high=0.1), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="And aligns with it: cosine of the models",
    value="near 1",
    figure="softmax",
    least_runs=8,
)
def two_softmax_heads_align(sweeps: Sweeps) -> Evidence:
    """Median over seeds at the end."""
    history = part(sweeps["softmax"].history, "model.num_heads", 2)
    return median(history, at_end(history, "gd_alignment", -1.0), Region(low=0.95), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="With one softmax head it does not: its excess loss, less that of two heads on the same seed",
    value="worse",
    figure="softmax",
    least_runs=8,
)
def one_softmax_head_does_not(sweeps: Sweeps) -> Evidence:
    """Median over seeds at the end."""
    one, two = (part(sweeps["softmax"].history, "model.num_heads", heads) for heads in (1, 2))
    one, two = on_same_seeds(one, two)
    # A pair of which both are lost tells nothing.
    with np.errstate(invalid="ignore"):
        gap_R = at_end(one, "label_excess", np.inf) - at_end(two, "label_excess", np.inf)
    return median(one, gap_R, Region(low=0.1), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="On separate tokens, runs that learn end near one gradient step: their loss, relative to it",
    value="one step's (fig. 5)",
    figure="copying",
    least_runs=5,
)
def copying_layers_reach_one_step(sweeps: Sweeps) -> Evidence:
    """Of the runs that left the plateau within the budget."""
    history = sweeps["separate_tokens"].history
    left = some_runs(history, np.isfinite(steps_until(history, LEFT)))
    ratio_R = at_end(left, "label_loss", np.inf) / at_end(left, "label_reference_loss")
    note = f"Median over the {len(left.runs)} of {len(history.runs)} seeds that left the plateau."
    return median(left, ratio_R, Region(high=1.1), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="They get there by a jump: share of runs that learn whose excess loss changes abruptly",
    value="abrupt (fig. 5)",
    figure="copying",
    least_runs=5,
)
def copying_layers_jump(sweeps: Sweeps) -> Evidence:
    """By the same method as for other tasks: a sharp sigmoid against smooth curves."""
    history = sweeps["separate_tokens"].history
    left = some_runs(history, np.isfinite(steps_until(history, LEFT)))
    found = find_phase_changes(recorded(left, "label_excess"), left.steps_T, chance=1.0, floor=0.0)
    share = share_of_runs(found.is_abrupt_R, left.runs)
    return Evidence.of(share, len(left.runs), Region(low=0.6), f"Of the {len(left.runs)} runs that left the plateau.")


@CLAIMS.claim(
    paper=PAPER,
    statement="The first layer's dependence on the next token comes first: share of runs that learn",
    value="before the jump (fig. 5)",
    figure="copying",
    least_runs=5,
)
def next_token_dependence_comes_first(sweeps: Sweeps) -> Evidence:
    """Sensitivity to the next token is a quarter of its last value before the excess is a half; ties do not count."""
    history = sweeps["separate_tokens"].history
    left = some_runs(history, np.isfinite(steps_until(history, LEFT)))
    next_RT = recorded(left, "next_token_sensitivity")
    relative_RT = next_RT / at_end(left, "next_token_sensitivity")[:, None]
    copied = crossed_for_good(relative_RT, left.steps_T, Criterion(at_least=0.25, evaluations=1))
    # What is there from the first recorded step on has not come at all.
    copies_R = np.where(copied.upper_R > copied.lower_R, copied.upper_R, np.nan)
    order = stage_order(copies_R, steps_until(left, LEFT), left.runs)
    note = f"Ties {order.tied.text()}, the jump first {order.second.text()}."
    return Evidence.of(order.first, order.num_runs, Region(low=0.5), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="When they learn depends on the seed: 90th over 10th percentile of the step, at least (late: budget)",
    value="strongly (fig. 5)",
    figure="copying",
)
def copying_takes_a_time_of_its_own(sweeps: Sweeps) -> Evidence:
    """A run that does not leave it counts with the budget, so this is a lower bound."""
    history = sweeps["separate_tokens"].history
    time_R = steps_until(history, LEFT)
    note = f"{int(np.sum(np.isfinite(time_R)))} of {len(history.runs)} runs left it within {history.budget} steps."
    return Evidence.of(spread(time_R, history.runs, history.budget), len(history.runs), Region(low=1.5), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="On sine waves a trained layer does as well as a gradient step on a meta-trained MLP: ratio of losses",
    value="the same loss (fig. 4)",
    figure="sine",
    least_runs=5,
)
def sine_layers_match_the_gradient_step(sweeps: Sweeps) -> Evidence:
    """Both with an embedding of their own, on the same contexts; median over seeds."""
    stepped, trained = (part(sweeps["sine"].history, "model.attention", kind) for kind in ("gradient_step", "trained"))
    stepped, trained = on_same_seeds(stepped, trained)
    ratio_R = at_end(trained, "label_loss", np.inf) / at_end(stepped, "label_loss")
    return median(trained, ratio_R, Region(0.67, 1.5), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Both learn the waves: excess loss of the worse one",
    value="near 0 (fig. 4)",
    figure="sine",
    least_runs=5,
)
def sine_waves_are_learned(sweeps: Sweeps) -> Evidence:
    """Relative to the best guess without a context; median over seeds."""
    stepped, trained = (part(sweeps["sine"].history, "model.attention", kind) for kind in ("gradient_step", "trained"))
    stepped, trained = on_same_seeds(stepped, trained)
    worse_R = np.maximum(at_end(trained, "label_excess", np.inf), at_end(stepped, "label_excess", np.inf))
    return median(trained, worse_R, Region(high=0.2), "Median over seeds.")


def _middle(value_R: Floats) -> str:
    value_R = value_R[np.isfinite(value_R)]
    return f"{np.median(value_R):.0f}" if len(value_R) else "n/a"
