"""Claims of von Oswald et al. (2023) on one layer: one step of gradient descent (their section 3, fig. 2)."""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from pipeline.tasks.linear_regression import LinearRegression
from sweeps.von_oswald_2023.evidence import one_layer as measured
from sweeps.von_oswald_2023.evidence.contexts import final, shifts_alike, shrunk

_ONE_STEP_LOSS = LinearRegression(dim=10, num_pairs=10, input_range=0.5).floor_loss()
_alike = partial(shifts_alike, sweep="one_layer", theirs="gd_loss")

ONE_LAYER = (
    Claim(
        name="one_layer_has_the_loss_of_one_step",
        statement=(
            "A trained layer of linear self-attention ends at the loss of one gradient step of the best size, .2062 "
            "for 10 pairs in 10 dimensions: median loss"
        ),
        value="the same loss (fig. 2)",
        region=Region(0.98 * _ONE_STEP_LOSS, 1.02 * _ONE_STEP_LOSS),
        figure="training",
        measure=measured.final_loss,
        paper_figure=_ONE_STEP_LOSS,
        margin=0.01 * _ONE_STEP_LOSS,
        family="one_layer_is_one_step",
    ),
    Claim(
        name="one_layer_has_the_loss_of_one_step_in_the_text",
        statement=(
            "With the inputs and the clipping of the paper's text, U(-1, 1) and 10, a trained layer of linear "
            "self-attention ends at the loss of one gradient step: ratio of losses on the same contexts"
        ),
        value="the same loss (sec. 3)",
        region=Region(0.98, 1.02),
        figure="training",
        measure=measured.ratio_with_the_inputs_of_the_text,
        paper_figure=1.0,
        margin=0.01,
        family="one_layer_is_one_step",
        least_runs=6,
    ),
    Claim(
        name="most_seeds_reach_one_step",
        statement=(
            "Most seeds of a linear-attention layer reach one gradient step within 5000 training steps: share with "
            "an excess loss of at most .02, where 0 is the gradient step and 1 predicting zero"
        ),
        value="all shown",
        region=Region(low=0.8),
        figure="plateaus",
        measure=measured.share_at_one_step,
        is_share=True,
        paper_figure=1.0,
        margin=0.02,
    ),
    Claim(
        name="predictions_become_those_of_the_step",
        statement=(
            "A linear-attention layer comes to predict what one gradient step predicts: mean absolute difference of "
            "the predictions at the end, relative to step 0"
        ),
        value="near 0 (fig. 2)",
        region=Region(high=0.1),
        figure="training",
        measure=partial(shrunk, sweep="one_layer", metric="gd_prediction_difference"),
        paper_figure=0.0,
        margin=0.02,
        family="one_layer_is_one_step",
    ),
    Claim(
        name="models_align",
        statement=(
            "A trained linear-attention layer depends on the query as one gradient step does: cosine of the "
            "gradients of both predictions by the query's input"
        ),
        value="1 (fig. 2)",
        region=Region(low=0.99),
        figure="training",
        measure=partial(final, sweep="one_layer", metric="gd_alignment", lost=-1.0),
        paper_figure=1.0,
        margin=0.01,
        family="one_layer_is_one_step",
    ),
    Claim(
        name="models_coincide",
        statement=(
            "A linear-attention layer comes to depend on the query exactly as one gradient step does: norm of the "
            "difference of the gradients of both predictions by the query's input at the end, relative to step 0"
        ),
        value="near 0 (fig. 2)",
        region=Region(high=0.1),
        figure="training",
        measure=partial(shrunk, sweep="one_layer", metric="gd_model_difference"),
        paper_figure=0.0,
        margin=0.02,
        family="one_layer_is_one_step",
    ),
    Claim(
        name="the_construction_is_the_step",
        statement=(
            "The weights that the paper constructs (Proposition 1) make a linear-attention layer predict what one "
            "gradient step predicts: largest absolute difference"
        ),
        value="0",
        region=Region(high=1e-6),
        figure="training",
        measure=measured.construction_difference,
        is_check=True,
    ),
    Claim(
        name="line_search_finds_the_best_step_size",
        statement="A line search finds the step size that is best in closed form, 6.061: ratio of the two",
        value="line search (sec. 3)",
        region=Region(0.99, 1.01),
        figure="training",
        measure=measured.line_search_step_size,
        is_check=True,
    ),
    Claim(
        name="trained_weights_have_the_best_step_size",
        statement=(
            "The trained weights of a linear-attention layer carry out a gradient step of the size that is best in "
            "closed form: ratio of the two sizes"
        ),
        value="",
        region=Region(0.97, 1.03),
        figure="training",
        measure=measured.trained_step_size,
        stated_by="us",
        family="one_layer_is_one_step",
    ),
    Claim(
        name="interpolated_weights_keep_the_loss",
        statement=(
            "Weights half-way between trained and constructed ones lose nothing: loss relative to one gradient step's"
        ),
        value="the same loss (fig. 2)",
        region=Region(0.98, 1.02),
        figure="training",
        measure=measured.interpolated_loss,
        paper_figure=1.0,
        margin=0.02,
        family="one_layer_is_one_step",
    ),
    Claim(
        name="longer_contexts_have_the_loss_of_one_step",
        statement=(
            "With contexts of 25, 50 and 100 pairs a trained linear-attention layer ends at the loss of one gradient "
            "step (.1173, .0683, .0372): difference of the losses, relative to the step's"
        ),
        value="the same loss",
        region=Region(high=0.05),
        figure="context_lengths",
        measure=measured.loss_by_context_length,
        paper_figure=0.0,
        margin=0.02,
        family="one_layer_is_one_step",
    ),
    Claim(
        name="one_layer_shifts_alike_with_inputs",
        statement=(
            "A trained linear-attention layer and one gradient step err alike on inputs .5 to 2 times as large as in "
            "training: worst ratio of losses"
        ),
        value="the same curves (fig. 2)",
        region=Region(high=1.1),
        figure="shifted_contexts",
        measure=partial(_alike, kinds=("inputs",)),
        paper_figure=1.0,
        margin=0.02,
        family="one_layer_shifts_alike",
    ),
    Claim(
        name="one_layer_shifts_alike_with_teachers",
        statement=(
            "A trained linear-attention layer and one gradient step err alike on target functions .5 to 5 times as "
            "large as in training: worst ratio of losses"
        ),
        value="the same curves",
        region=Region(high=1.1),
        figure="shifted_contexts",
        measure=partial(_alike, kinds=("teachers",)),
        paper_figure=1.0,
        margin=0.02,
        family="one_layer_shifts_alike",
    ),
    Claim(
        name="one_layer_shifts_alike_with_families",
        statement=(
            "A trained linear-attention layer and one gradient step err alike on exponential, normal and Laplace "
            "inputs: worst ratio of losses"
        ),
        value="the same curves (app.)",
        region=Region(high=1.1),
        figure="shifted_contexts",
        measure=partial(_alike, kinds=("exponential", "normal", "laplace")),
        paper_figure=1.0,
        margin=0.02,
        family="one_layer_shifts_alike",
    ),
    Claim(
        name="one_layer_shifts_alike_with_noise",
        statement=(
            "A trained linear-attention layer and one gradient step err alike where 2 to 8 of 10 targets are "
            "replaced by noise: worst ratio of losses"
        ),
        value="the same curves (app.)",
        region=Region(high=1.1),
        figure="shifted_contexts",
        measure=partial(_alike, kinds=("noisy",)),
        paper_figure=1.0,
        margin=0.02,
        family="one_layer_shifts_alike",
    ),
    Claim(
        name="one_layer_shifts_alike_with_lengths",
        statement=(
            "A trained linear-attention layer and the weights constructed for its 10 pairs err alike on contexts of 5, "
            "20 and 40 pairs: worst ratio of losses"
        ),
        value="",
        region=Region(high=1.1),
        figure="shifted_contexts",
        measure=partial(_alike, kinds=("pairs",)),
        stated_by="us",
        family="one_layer_shifts_alike",
    ),
    Claim(
        name="applied_again_the_layer_descends_again",
        statement=(
            "A trained linear-attention layer that is applied up to 50 times, with damping .75, descends as repeated "
            "gradient steps do: worst ratio of losses"
        ),
        value="the same curves (fig. 3)",
        region=Region(high=1.1),
        figure="roll_out",
        measure=measured.applied_again,
        paper_figure=1.0,
        margin=0.02,
        family="rolled_out",
    ),
    Claim(
        name="rolling_out_lowers_the_loss",
        statement=(
            "A trained linear-attention layer that is applied 50 times, with damping .75, has a loss far below the "
            ".2062 of one gradient step: loss after 50 times"
        ),
        value="falls on (fig. 3)",
        region=Region(high=0.06),
        figure="roll_out",
        measure=measured.loss_after_50_times,
        family="rolled_out",
    ),
)
