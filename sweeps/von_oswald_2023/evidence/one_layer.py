"""Measures of single claims of von Oswald et al. (2023) on one layer; all are taken on 10,000 contexts of every run."""

from __future__ import annotations

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps
from analysis.uncertainty.estimates import mean_of_runs, proportion_of_runs
from analysis.uncertainty.intervals import Estimate
from sweeps.von_oswald_2023.evidence.contexts import median
from sweeps.von_oswald_2023.measures import (
    at_end,
    closed_form_R,
    numbered,
    one_step_loss,
    population_step_size,
    runs_with,
    worst_ratio,
)


def final_loss(sweeps: Sweeps) -> Evidence:
    """Final loss: the closed form plus the difference between model and explicit step on the same contexts."""
    history = sweeps["one_layer"].history
    difference_R = at_end(history, "label_loss", np.inf) - at_end(history, "label_reference_loss", 0.0)
    found_R = closed_form_R(one_step_loss, history.runs) + difference_R
    return median(history, found_R, "Median over seeds; within 2% of the closed form.")


def ratio_with_the_inputs_of_the_text(sweeps: Sweeps) -> Evidence:
    """Final loss over that of the explicit step on the same contexts, median over seeds, with both in the note."""
    history = sweeps["text_inputs"].history
    ours_R, step_R = at_end(history, "label_loss", np.inf), at_end(history, "label_reference_loss")
    note = (
        f"Medians over seeds: layer {np.median(ours_R):.4f}, step {np.median(step_R):.4f}; the step's expected loss is "
        f"{one_step_loss(history.runs[0]):.4f}."
    )
    return median(history, ours_R / step_R, note)


def share_at_one_step(sweeps: Sweeps) -> Evidence:
    """Share of seeds near one gradient step at the end, in the sweep of the same setting with most seeds."""
    history = runs_with(sweeps["heads"].history, "model.num_heads", 1)
    is_there_R = at_end(history, "label_excess", np.inf) <= 0.02
    note = f"{int(is_there_R.sum())} of {len(history.runs)} runs."
    return Evidence.of(proportion_of_runs(is_there_R, history.runs), history.runs, note)


def construction_difference(sweeps: Sweeps) -> Evidence:
    """Largest difference of construction and gradient step, in float32; an identity, so nothing is resampled."""
    history = sweeps["one_layer"].history
    # Trained weights do not enter: it is the same at every step.
    value_R = at_end(history, "construction_difference", np.inf)
    most, least = float(value_R.max()), float(value_R.min())
    note = "Largest absolute difference in float32 over all runs' contexts; the interval is the range over runs."
    return Evidence.of(Estimate(most, least, most), history.runs, note)


def line_search_step_size(sweeps: Sweeps) -> Evidence:
    """Ratio of the step size found on each run's own contexts to the closed form."""
    history = sweeps["one_layer"].history
    ratio_R = at_end(history, "line_search_step_size") / closed_form_R(population_step_size, history.runs)
    return Evidence.of(mean_of_runs(ratio_R, history.runs), history.runs, "Mean over runs.")


def trained_step_size(sweeps: Sweeps) -> Evidence:
    """Ratio of the trained step size to the closed form.

    It is -N beta times the last entry of W_PV, beta the mean diagonal entry of W_KQ.
    """
    history = sweeps["one_layer"].history
    return median(
        history, at_end(history, "trained_step_size", np.inf) / closed_form_R(population_step_size, history.runs)
    )


def interpolated_loss(sweeps: Sweeps) -> Evidence:
    """Ratio of losses, interpolated rescaled weights over one gradient step, on the same contexts."""
    history = sweeps["one_layer"].history
    return median(history, at_end(history, "interpolated_loss", np.inf) / at_end(history, "gd_loss"))


def loss_by_context_length(sweeps: Sweeps) -> Evidence:
    """Absolute difference of the losses on the same contexts over the closed form, median over all runs."""
    history = sweeps["context_lengths"].history
    difference_R = at_end(history, "label_loss", np.inf) - at_end(history, "label_reference_loss", 0.0)
    found_R = np.abs(difference_R) / closed_form_R(one_step_loss, history.runs)
    by_length = []
    for num_pairs in sorted({run.hyperparameters["task.num_pairs"] for run in history.runs}):
        mine_R = [run.hyperparameters["task.num_pairs"] == num_pairs for run in history.runs]
        by_length.append(f"{num_pairs}: {np.median(found_R[mine_R]):.4f} of {sum(mine_R)} runs")
    return median(history, found_R, f"Median by number of pairs: {'; '.join(by_length)}.")


def applied_again(sweeps: Sweeps) -> Evidence:
    """Ratio of losses, layer over gradient step with equal damping, at the number of applications where it is worst."""
    history = sweeps["one_layer"].history
    times = [f"{count:g}" for count in numbered(history, "rolled_trained_loss")]
    ratio_R = worst_ratio(history, "rolled_trained_loss", "rolled_gd_loss", times)
    return median(history, ratio_R, f"Median over seeds; at {', '.join(times)} times.")


def loss_after_50_times(sweeps: Sweeps) -> Evidence:
    """Loss after 50 damped applications of the layer; the explicit step, equally damped, has .043."""
    history = sweeps["one_layer"].history
    note = f"Median over seeds; one step has {one_step_loss(history.runs[0]):.4f}."
    return median(history, at_end(history, "rolled_trained_loss/50", np.inf), note)
