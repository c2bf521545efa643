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
        PaperSweep("fork_parents", "zhao_2023/fork_parents.yaml", fast=None),
        PaperSweep("forks", "zhao_2023/forks.yaml", fast=None, forks_of="fork_parents"),
    ),
    measurements=(Measurement("circuits", "circuits", circuit_rows, profiles=("full",)),),
    order=3,
    page_figures=("attention_maps", "aligned_curves", "fates"),
    findings=(
        (
            "Small transformers reach 100% test accuracy: a share of {accuracy_reaches_100_percent} of two-layer runs, "
            "and of {pair_tokens_reach_100_percent} of runs with one layer and one head, end without an error in 1024 "
            "answers."
        ),
        (
            "With two layers, the loss falls abruptly, after a plateau, in a share of "
            "{converged_runs_change_abruptly} of the runs that converge; with heads of width 2, of "
            "{converged_runs_of_c_change_abruptly}. With one layer, of {converged_runs_of_one_layer_change_abruptly}: "
            "there the loss falls from the first steps on."
        ),
        (
            "Runs attend alike where the task forces them to, with a cosine of {runs_attend_alike_from_values} "
            "from values in layer 1, and not elsewhere: {runs_attend_differently_from_keys} from keys. The last query "
            "of the one-layer model has {runs_of_one_layer_attend_alike}."
        ),
        (
            "At step 400 the previous-token score has a rank correlation with the time to convergence of "
            "{previous_token_score_foretells_the_time}; a forecast at step 300 tells runs that converge by step "
            "1200 from later ones with an AUROC of {early_statistics_foretell_convergence}."
        ),
        (
            "The initial weights decide most: init seeds explain a share of {init_decides_on_the_time} of the "
            "variance of log time, data streams {data_stream_hardly_decides}. The step from which 95% of forks "
            "under fresh data end as their parent is {fate_is_fixed_by_half_of_the_budget}."
        ),
    ),
)
