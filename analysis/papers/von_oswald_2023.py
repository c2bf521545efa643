"""Claims of von Oswald et al. (2023, arXiv 2212.07677): trained self-attention does gradient descent in its context.

Text and public code of the paper differ, and its figures follow the code, so our sweeps do: inputs from U(-.5, .5), half
the squared error, gradients clipped to a norm of .001 up to two layers, Adam's beta2 .98. Batches, seeds and budgets
that are ours are named in the sweep files. Where a model and an algorithm are compared, both see the same contexts.
Regions were fixed from the paper's statements and from runs under other seeds than those that are judged.
"""

from __future__ import annotations

import numpy as np

from analysis.averages import mean_of_runs, share_of_runs
from analysis.claim_sweeps import Sweeps
from analysis.claims import ClaimBook, Evidence, Region
from analysis.papers.von_oswald_2023_figures import (
    context_lengths,
    copying,
    fixed_tasks,
    layers,
    mlp_block,
    plateaus,
    roll_out,
    shifted_contexts,
    shifted_contexts_of_layers,
    sine,
    softmax,
    training,
)
from analysis.papers.von_oswald_2023_measures import (
    at_end,
    best_step_size,
    of_runs,
    one_step_loss,
    recorded,
    shifts_of,
    worst_ratio,
)

CLAIMS = ClaimBook()
FIGURES = (
    training,
    context_lengths,
    shifted_contexts,
    roll_out,
    layers,
    shifted_contexts_of_layers,
    plateaus,
    fixed_tasks,
    mlp_block,
    softmax,
    copying,
    sine,
)
PAPER = "von Oswald et al. 2023"


@CLAIMS.claim(
    paper=PAPER,
    statement="A trained layer ends at the loss of one gradient step of the best size: closed form .2062 (N = d = 10)",
    value="the same loss (fig. 2)",
    figure="training",
)
def one_layer_has_the_loss_of_one_step(sweeps: Sweeps) -> Evidence:
    """The closed form plus the difference between model and explicit step on the same 10,000 contexts."""
    history = sweeps["one_layer"].history
    floor_R = of_runs(one_step_loss, history.runs)
    floor = float(floor_R[0])
    found_R = floor_R + at_end(history, "label_loss", np.inf) - at_end(history, "label_reference_loss", 0.0)
    return _median(
        history, found_R, Region(0.98 * floor, 1.02 * floor), "Median over seeds; within 2% of the closed form."
    )


@CLAIMS.claim(
    paper=PAPER,
    statement="Most seeds get there within 5000 steps: share with an excess of at most .02 over the step's loss",
    value="all shown",
    figure="training",
)
def most_seeds_reach_one_step(sweeps: Sweeps) -> Evidence:
    """The share at the end of training."""
    history = sweeps["one_layer"].history
    is_there_R = at_end(history, "label_excess", np.inf) <= 0.02
    note = f"{int(is_there_R.sum())} of {len(history.runs)} runs."
    return Evidence.of(share_of_runs(is_there_R.astype(float), history.runs), len(history.runs), Region(low=0.8), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="Predictions become those of the step: their mean difference at the end, relative to step 0",
    value="near 0 (fig. 2)",
    figure="training",
)
def predictions_become_those_of_the_step(sweeps: Sweeps) -> Evidence:
    """On 10,000 contexts."""
    return _shrunk(sweeps["one_layer"].history, "gd_prediction_difference")


@CLAIMS.claim(
    paper=PAPER,
    statement="Model cos: cosine of d prediction / d x_query with the step's weights at the end",
    value="1 (fig. 2)",
    figure="training",
)
def models_align(sweeps: Sweeps) -> Evidence:
    """On 10,000 contexts."""
    history = sweeps["one_layer"].history
    return _median(history, at_end(history, "gd_alignment", -1.0), Region(low=0.99), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Model diff: norm of their difference at the end, relative to step 0",
    value="near 0 (fig. 2)",
    figure="training",
)
def models_coincide(sweeps: Sweeps) -> Evidence:
    """On 10,000 contexts."""
    return _shrunk(sweeps["one_layer"].history, "gd_model_difference")


@CLAIMS.claim(
    paper=PAPER,
    statement="Proposition 1: the constructed weights predict what the explicit step does; largest difference",
    value="0",
    figure="training",
)
def the_construction_is_the_step(sweeps: Sweeps) -> Evidence:
    """In the model's single precision, over 10,000 contexts of every run; an identity, so nothing is resampled."""
    history = sweeps["one_layer"].history
    values_RT = recorded(history, "construction_difference")
    most, least = float(np.nanmax(values_RT)), float(np.nanmin(values_RT))
    note = "Largest absolute difference in float32 over all runs' contexts; the interval is the range over runs."
    return Evidence(most, least, most, len(history.runs), Region(high=1e-6), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="A line search for the step size finds the closed form, relative to eta* = 6.061",
    value="line search (sec. 3)",
    figure="training",
)
def line_search_finds_the_best_step_size(sweeps: Sweeps) -> Evidence:
    """On each run's own 10,000 contexts."""
    history = sweeps["one_layer"].history
    ratio_R = at_end(history, "line_search_step_size") / of_runs(best_step_size, history.runs)
    found = mean_of_runs(ratio_R, history.runs)
    return Evidence.of(found, len(history.runs), Region(0.99, 1.01), "Mean over runs.")


@CLAIMS.claim(
    paper=PAPER,
    statement="The trained weights have that step size: their eta relative to eta*",
    value="not stated",
    figure="training",
)
def trained_weights_have_the_best_step_size(sweeps: Sweeps) -> Evidence:
    """-N beta times the last entry of W_PV, beta the mean diagonal entry of W_KQ."""
    history = sweeps["one_layer"].history
    ratio_R = at_end(history, "trained_step_size", np.inf) / of_runs(best_step_size, history.runs)
    return _median(history, ratio_R, Region(0.97, 1.03), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Weights half-way between trained and constructed ones lose nothing: loss relative to the step's",
    value="the same loss (fig. 2)",
    figure="training",
)
def interpolated_weights_keep_the_loss(sweeps: Sweeps) -> Evidence:
    """After rescaling the trained ones, on the same contexts."""
    history = sweeps["one_layer"].history
    ratio_R = at_end(history, "interpolated_loss", np.inf) / at_end(history, "gd_loss")
    return _median(history, ratio_R, Region(0.98, 1.02), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="So it is with 25, 50 and 100 pairs: difference in loss, relative to the closed forms .1173, .0683, .0372",
    value="the same loss",
    figure="context_lengths",
)
def longer_contexts_have_the_loss_of_one_step(sweeps: Sweeps) -> Evidence:
    """The absolute difference on the same 10,000 contexts, median over all runs."""
    history = sweeps["context_lengths"].history
    difference_R = at_end(history, "label_loss", np.inf) - at_end(history, "label_reference_loss", 0.0)
    found_R = np.abs(difference_R) / of_runs(one_step_loss, history.runs)
    by_length = []
    for num_pairs in sorted({run.hyperparameters["task.num_pairs"] for run in history.runs}):
        mine_R = [run.hyperparameters["task.num_pairs"] == num_pairs for run in history.runs]
        by_length.append(f"{num_pairs}: {np.median(found_R[mine_R]):.4f} of {sum(mine_R)} runs")
    return _median(history, found_R, Region(high=0.05), f"Median by number of pairs: {'; '.join(by_length)}.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Both err alike on larger and smaller inputs (.5 to 2 times): worst ratio of losses",
    value="the same curves (fig. 2)",
    figure="shifted_contexts",
)
def one_layer_shifts_alike_with_inputs(sweeps: Sweeps) -> Evidence:
    """Trained layer over gradient step, at the scale at which they differ most."""
    return _shifts_alike(sweeps["one_layer"].history, ("inputs",), "gd_loss", 1.1)


@CLAIMS.claim(
    paper=PAPER,
    statement="And on larger and smaller teachers (.5 to 5 times): worst ratio of losses",
    value="the same curves",
    figure="shifted_contexts",
)
def one_layer_shifts_alike_with_teachers(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return _shifts_alike(sweeps["one_layer"].history, ("teachers",), "gd_loss", 1.1)


@CLAIMS.claim(
    paper=PAPER,
    statement="And on exponential, normal and Laplace inputs: worst ratio of losses",
    value="the same curves (app.)",
    figure="shifted_contexts",
)
def one_layer_shifts_alike_with_families(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return _shifts_alike(sweeps["one_layer"].history, ("exponential", "normal", "laplace"), "gd_loss", 1.1)


@CLAIMS.claim(
    paper=PAPER,
    statement="And with 2 to 8 of 10 targets replaced by noise: worst ratio of losses",
    value="the same curves (app.)",
    figure="shifted_contexts",
)
def one_layer_shifts_alike_with_noise(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return _shifts_alike(sweeps["one_layer"].history, ("noisy",), "gd_loss", 1.1)


@CLAIMS.claim(
    paper=PAPER,
    statement="Applied up to 50 times with damping .75, the layer descends on: worst ratio of losses to the step's",
    value="the same curves (fig. 3)",
    figure="roll_out",
)
def applied_again_the_layer_descends_again(sweeps: Sweeps) -> Evidence:
    """At 1, 2, 5, 10, 20 and 50 times."""
    history = sweeps["one_layer"].history
    times = [f"{count:g}" for count in shifts_of(history, "", "rolled_trained_loss")]
    ratio_R = worst_ratio(history, "rolled_trained_loss", "rolled_gd_loss", times)
    return _median(history, ratio_R, Region(high=1.1), f"Median over seeds; at {', '.join(times)} times.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Damped so, 50 applications lower the loss far below one step's: loss after 50",
    value="falls on (fig. 3)",
    figure="roll_out",
)
def rolling_out_lowers_the_loss(sweeps: Sweeps) -> Evidence:
    """The explicit step, damped alike, has .043."""
    history = sweeps["one_layer"].history
    found_R = at_end(history, "rolled_trained_loss/50", np.inf)
    return _median(history, found_R, Region(high=0.06), f"Median over seeds; one step has {_floor(history):.4f}.")


def _layers(name: str, count: str, is_tied: bool) -> None:
    """The claims on one sweep of several layers, under names of their own."""
    what = f"{count} layers, weights {'tied' if is_tied else 'not tied'}"

    def beats(sweeps: Sweeps) -> Evidence:
        """The trained model's loss over that of the best equal steps, on the same contexts."""
        return _loss_ratio(sweeps[name].history, "gd_loss", Region(high=0.95))

    def matches(sweeps: Sweeps) -> Evidence:
        """The trained model's loss over that of the best GD++."""
        return _loss_ratio(sweeps[name].history, "plus_loss", Region(0.9, 1.1))

    def aligns(sweeps: Sweeps) -> Evidence:
        """The mean cosine of the gradients of predictions by the query's x."""
        history = sweeps[name].history
        return _median(history, at_end(history, "plus_cosine", -1.0), Region(low=0.98), "Median over seeds.")

    def aligns_more(sweeps: Sweeps) -> Evidence:
        """The cosine with GD++ less that with gradient descent."""
        history = sweeps[name].history
        gain_R = at_end(history, "plus_cosine", -1.0) - at_end(history, "steps_cosine", 1.0)
        return _median(history, gain_R, Region(low=0.01), "Median over seeds.")

    stated = (
        ("beat_gradient_descent", beats, f"{what}, beat as many steps of gradient descent: ratio of losses", "below"),
        ("match_gd_plus_plus", matches, f"{what}, reach the loss of GD++: ratio of losses", "the same loss (fig. 3)"),
        ("align_with_gd_plus_plus", aligns, f"{what}: cosine with GD++", "near 1 (fig. 3)"),
        ("align_more_with_gd_plus_plus", aligns_more, f"{what}, are more like GD++ than like GD: cosines", "above"),
    )
    for suffix, measure, statement, value in stated:
        measure.__name__ = f"{name}_{suffix}"
        CLAIMS.claim(paper=PAPER, statement=statement, value=value, figure="layers", least_runs=5)(measure)


_layers("two_layers_tied", "Two", is_tied=True)
_layers("two_layers_untied", "Two", is_tied=False)
_layers("five_layers_tied", "Five", is_tied=True)
_layers("five_layers_untied", "Five", is_tied=False)


@CLAIMS.claim(
    paper=PAPER,
    statement="The curvature gamma of the best GD++ of two equal steps",
    value=".179",
    figure="layers",
    least_runs=5,
)
def the_best_curvature_is_that_of_the_paper(sweeps: Sweeps) -> Evidence:
    """Fitted to 10,000 contexts, once for all runs; the interval is what the trained weights have."""
    history = sweeps["two_layers_tied"].history
    trained = median_of_runs(at_end(history, "trained_curvature"), history.runs)
    fitted = float(at_end(history, "plus_curvature")[0])
    note = f"Fitted to GD++ itself: {fitted:.4f}. Estimate and interval: of the trained weights, median over seeds."
    return Evidence.of(trained, len(history.runs), Region(0.16, 0.2), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="Two tied layers err like GD++ on inputs .5 to 2 times as large: worst ratio of losses",
    value="the same curves (fig. 3)",
    figure="shifted_contexts_of_layers",
    least_runs=5,
)
def two_layers_shift_alike_with_inputs(sweeps: Sweeps) -> Evidence:
    """Trained over GD++, at the scale at which they differ most."""
    return _shifts_alike(sweeps["two_layers_tied"].history, ("inputs",), "plus_loss", 1.25)


@CLAIMS.claim(
    paper=PAPER,
    statement="And on teachers .5 to 5 times as large: worst ratio of losses",
    value="the same curves (fig. 3)",
    figure="shifted_contexts_of_layers",
    least_runs=5,
)
def two_layers_shift_alike_with_teachers(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return _shifts_alike(sweeps["two_layers_tied"].history, ("teachers",), "plus_loss", 1.25)


@CLAIMS.claim(
    paper=PAPER,
    statement="And with 2 to 8 of 10 targets replaced by noise: worst ratio of losses",
    value="the same curves (app.)",
    figure="shifted_contexts_of_layers",
    least_runs=5,
)
def two_layers_shift_alike_with_noise(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return _shifts_alike(sweeps["two_layers_tied"].history, ("noisy",), "plus_loss", 1.25)


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
    is_long_R, step = _long_plateaus(history)
    note = f"{int(is_long_R.sum())} of {len(history.runs)} seeds; the median leaves it at step {step:g}."
    return Evidence.of(share_of_runs(is_long_R.astype(float), history.runs), len(history.runs), Region(low=0.02), note)


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
    is_long_R, step = _long_plateaus(one)
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
    return _median(one, times[1] / times[0], Region(high=0.95), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="A long plateau ends in a sudden drop: steps from 90% to 10% of the excess, relative to those before",
    value="a sudden drop (A.11)",
    figure="plateaus",
)
def long_plateaus_end_suddenly(sweeps: Sweeps) -> Evidence:
    """Of the seeds with a long plateau of one head that they leave."""
    history = part(sweeps["heads"].history, "model.num_heads", 1)
    is_long_R, _ = _long_plateaus(history)
    began_R, ended_R = (steps_until(history, Criterion(LEFT.metric, at_most=level)) for level in (0.9, 0.1))
    use_R = is_long_R & np.isfinite(ended_R)
    runs = [run for run, use in zip(history.runs, use_R, strict=True) if use]
    found = median_of_runs((ended_R[use_R] - began_R[use_R]) / began_R[use_R], runs)
    note = f"Median over the {len(runs)} seeds with a long plateau that end it within the budget."
    return Evidence.of(found, len(runs), Region(high=0.5), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="Trained on 8192 fixed tasks, a layer is near the gradient step on new ones: excess loss",
    value="near (app.)",
    figure="fixed_tasks",
)
def many_fixed_tasks_suffice(sweeps: Sweeps) -> Evidence:
    """Median over seeds at the end."""
    history = _of_tasks(sweeps["fixed_tasks"].history, 8192)
    return _median(history, at_end(history, "label_excess", np.inf), Region(high=0.05), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Trained on 128 it overfits: on new tasks it is worse than predicting zero: excess loss",
    value="worse (app.)",
    figure="fixed_tasks",
)
def few_fixed_tasks_are_overfitted(sweeps: Sweeps) -> Evidence:
    """Median over seeds at the end; the zero prediction has 1."""
    history = _of_tasks(sweeps["fixed_tasks"].history, 128)
    return _median(history, at_end(history, "label_excess", np.inf), Region(low=1.0), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Softmax with two heads comes near the gradient step: excess loss",
    value="near",
    figure="softmax",
    least_runs=8,
)
def two_softmax_heads_come_near(sweeps: Sweeps) -> Evidence:
    """Median over seeds at the end."""
    history = part(sweeps["softmax"].history, "model.num_heads", 2)
    return _median(history, at_end(history, "label_excess", np.inf), Region(high=0.1), "Median over seeds.")


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
    return _median(history, at_end(history, "gd_alignment", -1.0), Region(low=0.95), "Median over seeds.")


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
    gap_R = at_end(one, "label_excess", np.inf) - at_end(two, "label_excess", np.inf)
    return _median(one, gap_R, Region(low=0.1), "Median over seeds.")


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
    return _median(left, ratio_R, Region(high=1.1), note)


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
    share = share_of_runs(found.is_abrupt_R.astype(float), left.runs)
    return Evidence.of(share, len(left.runs), Region(low=0.6), f"Of the {len(left.runs)} runs that left the plateau.")


@CLAIMS.claim(
    paper=PAPER,
    statement="The first layer's dependence on the next token comes first: share of runs that learn",
    value="before the jump (fig. 5)",
    figure="copying",
    least_runs=5,
)
def next_token_dependence_comes_first(sweeps: Sweeps) -> Evidence:
    """Sensitivity to the next token reaches half of its last value before the excess reaches a half; ties do not count."""
    history = sweeps["separate_tokens"].history
    left = some_runs(history, np.isfinite(steps_until(history, LEFT)))
    next_RT = recorded(left, "next_token_sensitivity")
    relative_RT = next_RT / at_end(left, "next_token_sensitivity")[:, None]
    copies_R = crossed_for_good(relative_RT, left.steps_T, Criterion(at_least=0.25, evaluations=1)).upper_R
    order = stage_order(copies_R, steps_until(left, LEFT), left.runs)
    note = f"Ties {order.tied.text()}, the jump first {order.second.text()}."
    return Evidence.of(order.first, order.num_runs, Region(low=0.5), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="When they learn depends on the seed: 90th over 10th percentile of the step at which they leave the plateau",
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
    statement="On sine waves a trained layer is as good as a gradient step on a meta-trained embedding: ratio of losses",
    value="the same loss (fig. 4)",
    figure="sine",
    least_runs=5,
)
def sine_layers_match_the_gradient_step(sweeps: Sweeps) -> Evidence:
    """Both with an embedding of their own, on the same contexts; median over seeds."""
    stepped, trained = (part(sweeps["sine"].history, "model.attention", kind) for kind in ("gradient_step", "trained"))
    stepped, trained = on_same_seeds(stepped, trained)
    ratio_R = at_end(trained, "label_loss", np.inf) / at_end(stepped, "label_loss")
    return _median(trained, ratio_R, Region(0.67, 1.5), "Median over seeds.")


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
    return _median(trained, worse_R, Region(high=0.2), "Median over seeds.")


def _median(history: History, value_R: Floats, holds_if: Region, note: str) -> Evidence:
    return Evidence.of(median_of_runs(value_R, history.runs), len(history.runs), holds_if, note)


def _shrunk(history: History, metric: str) -> Evidence:
    ratio_R = at_end(history, metric, np.inf) / at_start(history, metric)
    return _median(history, ratio_R, Region(high=0.1), "Median over seeds.")


def _shifts_alike(history: History, kinds: tuple[str, ...], theirs: str, most: float) -> Evidence:
    shifts = [shift for kind in kinds for shift in shifts_of(history, kind).values()]
    ratio_R = worst_ratio(history, "trained_loss", theirs, shifts)
    worst = max(shifts, key=lambda shift: float(np.median(worst_ratio(history, "trained_loss", theirs, [shift]))))
    return _median(history, ratio_R, Region(high=most), f"Median over seeds; they differ most at {worst}.")


def _loss_ratio(history: History, theirs: str, holds_if: Region) -> Evidence:
    ratio_R = at_end(history, "trained_loss", np.inf) / at_end(history, theirs)
    losses = {name: float(np.nanmedian(at_end(history, name))) for name in ("trained_loss", theirs)}
    note = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    return _median(history, ratio_R, holds_if, f"Medians over seeds: {note}.")


def _floor(history: History) -> float:
    return one_step_loss(history.runs[0])


def _of_tasks(history: History, num_tasks: int) -> History:
    batch_size = history.runs[0].hyperparameters["batch_size"]
    return part(history, "task.num_batches", num_tasks // batch_size)


def _long_plateaus(history: History) -> tuple[Bools, float]:
    """(R,) who leaves the plateau at twice the median step or later, if at all; and the median step."""
    left_R = steps_until(history, LEFT)
    step = float(np.median(left_R))
    return left_R >= 2 * step, step
