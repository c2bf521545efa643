"""Huang, Cheng and Liang (2024, arXiv 2310.05249), as `seedbed reproduce` runs it."""

from __future__ import annotations

from sweeps.papers import Paper, PaperSweep

_FEWER_SEEDS = "seeds={together: {range: [0, 36]}}"
_FEWER_SIZES = "vary=[{task.num_features: [10, 20, 40], task.num_pairs: [200, 400, 800], model.width: [10, 20, 40]}]"
_BALANCED = ("name=huang_2024_scaling_sampled_balanced", "task.dominant_probability=null")

PAPER = Paper(
    name="huang_2024",
    title="Huang, Cheng and Liang 2024: In-context convergence of transformers (arXiv 2310.05249)",
    sweeps=(
        PaperSweep("balanced", "huang_2024/balanced.yaml"),
        PaperSweep("imbalanced", "huang_2024/imbalanced.yaml"),
        # A step of the fast profile is as long as one of the sampled sweeps: with 80 features it ends after the swap.
        PaperSweep("mean_field", "huang_2024/scaling.yaml", fast=("optimiser.lr=4.0", "budget=2600", "grid.chunk=5")),
        PaperSweep(
            "sampled",
            "huang_2024/scaling_sampled.yaml",
            fast=(_FEWER_SEEDS, _FEWER_SIZES, "budget=2200"),
            full=(_FEWER_SEEDS,),
        ),
        # Balanced features have converged long before rare ones would have.
        PaperSweep(
            "sampled_balanced",
            "huang_2024/scaling_sampled.yaml",
            fast=(*_BALANCED, _FEWER_SEEDS, _FEWER_SIZES, "budget=1000"),
            full=(*_BALANCED, _FEWER_SIZES, "budget=1000"),
        ),
        PaperSweep(
            "sampled_dominant", "huang_2024/dominant_sampled.yaml", fast=("seeds={together: {range: [0, 16]}}",)
        ),
    ),
    order=2,
    page_figures=("feature_errors", "attention_concentration", "times_by_size", "balanced_phases", "ratio_of_times"),
    findings=(
        (
            "A dominant feature comes first: balanced features take {dominant_is_first_under_adam} times as long "
            "under Adam, and {dominant_is_first_under_gradient_descent} times as long under gradient descent with "
            "40 features."
        ),
        (
            "Rare features come after balanced ones in a share of {rare_are_last_under_adam} of seeds under Adam, "
            "and of {rare_are_last_under_gradient_descent} under gradient descent."
        ),
        (
            "The dominant feature's time hardly grows with the number of features, to the power "
            "{dominant_time_does_not_grow}; the first phase of rare features grows to the power "
            "{swap_time_grows_as_the_square}."
        ),
        (
            "The four phases of rare features are those of gradient descent: all four, in order, in a share of "
            "{rare_features_have_four_phases} of features there, and of "
            "{rare_features_have_four_phases_under_adam} under Adam."
        ),
        (
            "In the experiment with 300 prompts, a share of {balanced_errors_vanish} of balanced features and of "
            "{rare_errors_vanish} of rare ones come to an error of at most .01. Queries end with "
            "{attention_concentrates_for_the_dominant_feature} of their attention on their own feature if it is the "
            "dominant one, and with {attention_concentrates_for_rare_features} if it is rare."
        ),
    ),
)
