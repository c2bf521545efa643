"""The sweeps on Zhao (2023): the fast profile leaves out narrow heads, sizes, circuits and forks."""

from __future__ import annotations

from sweeps.papers import Measurement, Paper, PaperSweep
from sweeps.zhao_2023.circuits.measurements import circuit_rows

PAPER = Paper(
    name="zhao_2023",
    title=(
        "Zhao 2023: Investigating Training Dynamics of Transformer Models on Algorithmically Generated In-Context "
        "Learning Datasets (UCB/EECS-2023-96)"
    ),
    sweeps=(
        PaperSweep("setting_a", "zhao_2023/setting_a.yaml"),
        PaperSweep("setting_a_again", "zhao_2023/setting_a_again.yaml"),
        PaperSweep(
            "full_width",
            "zhao_2023/full_width.yaml",
            fast=("budget=1000", "seeds={together: {range: [1000, 1048]}}"),
        ),
        PaperSweep("pair_tokens", "zhao_2023/pair_tokens.yaml"),
        PaperSweep("setting_b", "zhao_2023/setting_b.yaml"),
        PaperSweep("setting_c", "zhao_2023/setting_c.yaml", fast=None),
        PaperSweep("crossed", "zhao_2023/crossed.yaml"),
        PaperSweep("head_widths", "zhao_2023/head_widths.yaml", fast=None),
        PaperSweep("circuits", "zhao_2023/circuits.yaml", fast=None),
        PaperSweep("model_widths", "zhao_2023/model_widths.yaml", fast=None),
        PaperSweep("models", "zhao_2023/models.yaml", fast=None),
        PaperSweep("depths", "zhao_2023/depths.yaml", fast=None),
        PaperSweep("fork_parents", "zhao_2023/fork_parents.yaml", fast=None),
        PaperSweep("forks", "zhao_2023/forks.yaml", fast=None, forks_of="fork_parents"),
        PaperSweep("failing_parents", "zhao_2023/failing_parents.yaml", fast=None),
        PaperSweep("failing_forks", "zhao_2023/failing_forks.yaml", fast=None, forks_of="failing_parents"),
    ),
    measurements=(Measurement("circuits", "circuits", circuit_rows, profiles=("full",)),),
    order=3,
    page_figures=(
        "attention_maps",
        "aligned_curves",
        "fates",
        "attention_across_models",
        "attention_across_depths",
        "fates_of_failing_runs",
        "circuits",
        "head_order_by_level",
        "size",
    ),
    findings=(
        (
            "Small transformers reach 100% test accuracy: a share of {accuracy_reaches_100_percent} of two-layer runs, "
            "and of {pair_tokens_reach_100_percent} of runs with one layer and one head, end without an error in 1024 "
            "answers."
        ),
        (
            "With two layers, the loss falls abruptly, after a plateau, in a share of "
            "{converged_runs_change_abruptly} of the runs that converge; with heads as wide as the model, of "
            "{converged_runs_of_wide_heads_change_abruptly}; with heads of width 2, of "
            "{converged_runs_of_c_change_abruptly}. With one layer, of {converged_runs_of_one_layer_change_abruptly}: "
            "there the loss falls from the first steps on."
        ),
        (
            "Runs attend alike where the task forces them to, with a cosine of {runs_attend_alike_from_values} "
            "from values in layer 1, of different models {different_models_attend_alike_from_values}, and not "
            "elsewhere: {runs_attend_differently_from_keys} from keys. The last query of the one-layer model has "
            "{runs_of_one_layer_attend_alike}."
        ),
        (
            "At step 400 the previous-token score has a rank correlation with the time to convergence of "
            "{previous_token_score_foretells_the_time}; a forecast at step 300 tells runs that converge by step "
            "1200 from later ones with an AUROC of {early_statistics_foretell_convergence}."
        ),
        (
            "The initial weights decide most: init seeds explain a share of {init_decides_on_the_time} of the "
            "variance of log time, without the slowest of them {init_decides_without_its_slowest_seed}, data streams "
            "{data_stream_hardly_decides}. The step from which 95% of forks "
            "under fresh data end as their parent is {fate_is_fixed_by_half_of_the_budget} in setting A."
        ),
    ),
    further_findings=(
        (
            "Runs share maps, not weights: under the attention maps of another run they have an accuracy of "
            "{runs_work_under_maps_of_others}, with another run's weights of layer 1 one of "
            "{runs_fail_with_first_layers_of_others}, and with its layer 1 through a fitted affine map one of "
            "{runs_fail_with_stitched_layers_of_others}."
        ),
        (
            "The head of layer 1 is needed at values, where an accuracy of {first_head_is_needed_at_values} is left "
            "without it, and not at keys, where that is {first_head_is_not_needed_at_keys}. By the weights, layer 1 "
            "prefers the position before at a share of {first_layer_qk_prefers_the_position_before} of values, layer 2 "
            "matches {second_layer_qk_matches_keys} of keys and copies {second_layer_ov_copies_values} of values."
        ),
        (
            "Which head is first depends on the level: the previous-token head comes to .5 first in a share of "
            "{previous_token_head_is_half_formed_first} of runs, and to .9 first in "
            "{previous_token_head_is_not_completed_first}."
        ),
        (
            "Convergence emerges with size, run by run: from width 8 to 16 the share of seeds that converge by step "
            "2700 rises by {convergence_emerges_with_width}, and of the runs of widths 8 to 12 a share of "
            "{runs_at_the_edge_succeed_or_fail} ends between having learned nothing and all."
        ),
        (
            "With two, three or four layers, runs of different depth attend alike from values in the layer that looks "
            "back most, with a cosine of {models_of_other_depth_attend_alike_where_they_look_back}, and less so in "
            "layer 1, with {models_of_other_depth_attend_alike_in_the_first_layer}."
        ),
    ),
)
