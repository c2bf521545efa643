"""Claims of von Oswald et al. (2023) on one layer: one step of gradient descent (their section 3, fig. 2)."""

from __future__ import annotations

import numpy as np

from analysis.claims.claims import ClaimBook, Evidence, Region
from analysis.claims.sweeps import Sweeps
from analysis.uncertainty.estimates import mean_of_runs, share_of_runs
from sweeps.von_oswald_2023.evidence import PAPER, floor, median, shifts_alike, shrunk
from sweeps.von_oswald_2023.measures import (
    at_end,
    best_step_size,
    numbered,
    of_runs,
    one_step_loss,
    part,
    worst_ratio,
)

CLAIMS = ClaimBook()


@CLAIMS.claim(
    paper=PAPER,
    statement="The median trained layer ends at the loss of one gradient step of the best size: .2062 (N = d = 10)",
    value="the same loss (fig. 2)",
    figure="training",
)
def one_layer_has_the_loss_of_one_step(sweeps: Sweeps) -> Evidence:
    """The closed form plus the difference between model and explicit step on the same 10,000 contexts."""
    history = sweeps["one_layer"].history
    floor_R = of_runs(one_step_loss, history.runs)
    floor = float(floor_R[0])
    found_R = floor_R + at_end(history, "label_loss", np.inf) - at_end(history, "label_reference_loss", 0.0)
    return median(
        history, found_R, Region(0.98 * floor, 1.02 * floor), "Median over seeds; within 2% of the closed form."
    )


@CLAIMS.claim(
    paper=PAPER,
    statement="Most seeds get there within 5000 steps: share with an excess of at most .02 over the step's loss",
    value="all shown",
    figure="plateaus",
)
def most_seeds_reach_one_step(sweeps: Sweeps) -> Evidence:
    """The share at the end of training, in the sweep of the same setting that has most seeds."""
    history = part(sweeps["heads"].history, "model.num_heads", 1)
    is_there_R = at_end(history, "label_excess", np.inf) <= 0.02
    note = f"{int(is_there_R.sum())} of {len(history.runs)} runs."
    return Evidence.of(share_of_runs(is_there_R, history.runs), len(history.runs), Region(low=0.8), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="Predictions become those of the step: their mean difference at the end, relative to step 0",
    value="near 0 (fig. 2)",
    figure="training",
)
def predictions_become_those_of_the_step(sweeps: Sweeps) -> Evidence:
    """On 10,000 contexts."""
    return shrunk(sweeps["one_layer"].history, "gd_prediction_difference")


@CLAIMS.claim(
    paper=PAPER,
    statement="Model cos: cosine of d prediction / d x_query with the step's weights at the end",
    value="1 (fig. 2)",
    figure="training",
)
def models_align(sweeps: Sweeps) -> Evidence:
    """On 10,000 contexts."""
    history = sweeps["one_layer"].history
    return median(history, at_end(history, "gd_alignment", -1.0), Region(low=0.99), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Model diff: norm of their difference at the end, relative to step 0",
    value="near 0 (fig. 2)",
    figure="training",
)
def models_coincide(sweeps: Sweeps) -> Evidence:
    """On 10,000 contexts."""
    return shrunk(sweeps["one_layer"].history, "gd_model_difference")


@CLAIMS.claim(
    paper=PAPER,
    statement="Proposition 1: the constructed weights predict what the explicit step does; largest difference",
    value="0",
    figure="training",
)
def the_construction_is_the_step(sweeps: Sweeps) -> Evidence:
    """In the model's single precision, over 10,000 contexts of every run; an identity, so nothing is resampled."""
    history = sweeps["one_layer"].history
    # Weights do not matter to it: it is the same at every step.
    value_R = at_end(history, "construction_difference", np.inf)
    most, least = float(value_R.max()), float(value_R.min())
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
    return median(history, ratio_R, Region(0.97, 1.03), "Median over seeds.")


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
    return median(history, ratio_R, Region(0.98, 1.02), "Median over seeds.")


@CLAIMS.claim(
    paper=PAPER,
    statement="So it is with 25, 50 and 100 pairs (.1173, .0683, .0372): difference in loss, relative to these",
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
    return median(history, found_R, Region(high=0.05), f"Median by number of pairs: {'; '.join(by_length)}.")


@CLAIMS.claim(
    paper=PAPER,
    statement="Both err alike on larger and smaller inputs (.5 to 2 times): worst ratio of losses",
    value="the same curves (fig. 2)",
    figure="shifted_contexts",
)
def one_layer_shifts_alike_with_inputs(sweeps: Sweeps) -> Evidence:
    """Trained layer over gradient step, at the scale at which they differ most."""
    return shifts_alike(sweeps["one_layer"].history, ("inputs",), "gd_loss", 1.1)


@CLAIMS.claim(
    paper=PAPER,
    statement="And on larger and smaller teachers (.5 to 5 times): worst ratio of losses",
    value="the same curves",
    figure="shifted_contexts",
)
def one_layer_shifts_alike_with_teachers(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return shifts_alike(sweeps["one_layer"].history, ("teachers",), "gd_loss", 1.1)


@CLAIMS.claim(
    paper=PAPER,
    statement="And on exponential, normal and Laplace inputs: worst ratio of losses",
    value="the same curves (app.)",
    figure="shifted_contexts",
)
def one_layer_shifts_alike_with_families(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return shifts_alike(sweeps["one_layer"].history, ("exponential", "normal", "laplace"), "gd_loss", 1.1)


@CLAIMS.claim(
    paper=PAPER,
    statement="And with 2 to 8 of 10 targets replaced by noise: worst ratio of losses",
    value="the same curves (app.)",
    figure="shifted_contexts",
)
def one_layer_shifts_alike_with_noise(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return shifts_alike(sweeps["one_layer"].history, ("noisy",), "gd_loss", 1.1)


@CLAIMS.claim(
    paper=PAPER,
    statement="Applied up to 50 times with damping .75, the layer descends on: worst ratio of losses to the step's",
    value="the same curves (fig. 3)",
    figure="roll_out",
)
def applied_again_the_layer_descends_again(sweeps: Sweeps) -> Evidence:
    """At 1, 2, 5, 10, 20 and 50 times."""
    history = sweeps["one_layer"].history
    times = [f"{count:g}" for count in numbered(history, "rolled_trained_loss")]
    ratio_R = worst_ratio(history, "rolled_trained_loss", "rolled_gd_loss", times)
    return median(history, ratio_R, Region(high=1.1), f"Median over seeds; at {', '.join(times)} times.")


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
    return median(history, found_R, Region(high=0.06), f"Median over seeds; one step has {floor(history):.4f}.")
