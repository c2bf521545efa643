"""Von Oswald et al. (2023, arXiv 2212.07677): sweeps and measurements."""

from __future__ import annotations

from sweeps.papers import Measurement, Paper, PaperSweep
from sweeps.von_oswald_2023.measurements import one_layer, several_layers

LAYER_SWEEPS = ("two_layers_tied", "two_layers_untied", "five_layers_tied", "five_layers_untied")
IN_BOTH = ("context_lengths", "two_layers_tied", "fixed_tasks", "mlp_block", "softmax")
FULL_ALONE = (*(name for name in LAYER_SWEEPS if name not in IN_BOTH), "separate_tokens", "sine")


def _file(name: str) -> str:
    return f"von_oswald_2023/{name}.yaml"


PAPER = Paper(
    name="von_oswald_2023",
    title="Transformers learn in-context by gradient descent",
    sweeps=(
        PaperSweep("one_layer", _file("one_layer"), fast=("seeds.together.range=[0, 16]",)),
        PaperSweep("text_inputs", _file("text_inputs")),
        PaperSweep("heads", _file("heads"), fast=("seeds.together.range=[1000, 1032]",)),
        *(PaperSweep(name, _file(name)) for name in IN_BOTH),
        *(PaperSweep(name, _file(name), fast=None) for name in FULL_ALONE),
    ),
    measurements=(
        Measurement("one_layer", "one_layer", one_layer, version=2),
        *(Measurement(name, name, several_layers) for name in LAYER_SWEEPS),
    ),
    order=1,
    page_figures=("training", "shifted_contexts", "layers"),
    findings=(
        (
            "One layer of linear self-attention ends at a loss of {one_layer_has_the_loss_of_one_step}, where one "
            "gradient step of the best size has .2062; with the inputs and the clipping of the paper's text the "
            "ratio of both is {one_layer_has_the_loss_of_one_step_in_the_text}."
        ),
        (
            "It computes nearly the same function: the gradients of both predictions by the query have a cosine of "
            "{models_align}, and its weights carry out a step of {trained_weights_have_the_best_step_size} times "
            "the best size."
        ),
        (
            "Not every seed gets there at once: a share of {some_seeds_sit_on_a_plateau} sits on a plateau with "
            "one head, and two heads lower that share by {two_heads_mitigate_plateaus}."
        ),
        (
            "Two tied layers have {two_layers_tied_match_gd_plus_plus} times the loss of two steps of GD++, and "
            "their gamma is {tied_layers_have_the_curvature_of_gd_plus_plus}. Five tied layers have "
            "{five_layers_tied_match_gd_plus_plus} times the loss of five steps, and five untied ones "
            "{five_layers_untied_match_gd_plus_plus} times."
        ),
        (
            "An MLP on 8192 fixed tasks does not grok here: the excess on new tasks is halved at "
            "{a_block_with_mlp_groks} times the step at which that on training tasks is. Sine waves are "
            "undecided: {sine_layers_match_the_gradient_step} times the loss of a gradient step."
        ),
    ),
)
