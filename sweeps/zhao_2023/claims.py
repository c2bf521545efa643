"""Claims of Zhao (2023, UCB/EECS-2023-96) on small transformers that learn in context.

The report's abstract states four phenomena: 100% test accuracy, phase change behaviour, attention patterns that are
invariant across models of one attention head, and early determination of the convergence probability. Its task, sizes,
seeds and criterion are not known to us, so none of its figures is compared: the phenomena are tested on in-context
dictionary lookup, at settings of our own. Regions, budgets and statistics were fixed before these runs were examined,
from a smaller set of runs under other seeds; the claim on heads of width 2 was added after 256 other seeds of theirs,
and their sweep has fresh seeds because 768 earlier ones left the share of false positives undecided.
"""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, ClaimBook, Region
from sweeps.zhao_2023 import evidence
from sweeps.zhao_2023.attention_maps.by_query import KEYS, QUERY, VALUES, similarity_of_runs
from sweeps.zhao_2023.figures.across_models import attention_across_depths, attention_across_models
from sweeps.zhao_2023.figures.by_query import aligned_curves, attention_by_query, attention_of_single_runs
from sweeps.zhao_2023.figures.circuits import circuits, head_order_by_level
from sweeps.zhao_2023.figures.early import early_statistics, fates, forecasts, head_widths, init_and_data
from sweeps.zhao_2023.figures.fate_raster import fate_raster, fates_of_failing_runs
from sweeps.zhao_2023.figures.learning import attention, head_order, learning_curves, phase_change
from sweeps.zhao_2023.figures.maps import attention_maps
from sweeps.zhao_2023.figures.sizes import size
from sweeps.zhao_2023.figures.task import dictionary_lookup_task
from sweeps.zhao_2023.measures import SETTING_A
from sweeps.zhao_2023.rows.circuits import CIRCUITS
from sweeps.zhao_2023.rows.early import EARLY_DETERMINATION
from sweeps.zhao_2023.rows.models import ACROSS_MODELS

TASK_PICTURE = dictionary_lookup_task
FIGURES = (
    learning_curves,
    phase_change,
    head_order,
    attention,
    attention_maps,
    attention_by_query,
    attention_of_single_runs,
    attention_across_models,
    attention_across_depths,
    aligned_curves,
    early_statistics,
    forecasts,
    head_widths,
    init_and_data,
    fates,
    fate_raster,
    fates_of_failing_runs,
    circuits,
    head_order_by_level,
    size,
)
_ALIKE = "cosine of attention maps of pairs of runs, less that of"

CLAIMS = ClaimBook(
    "Zhao 2023",
    (
        Claim(
            name="accuracy_reaches_100_percent",
            statement=(
                f"Small transformers reach 100% test accuracy ({SETTING_A}): share without an error in 1024 answers"
            ),
            value="100%",
            region=Region(low=0.5),
            figure="learning_curves",
            measure=partial(evidence.share_without_error, sweep="setting_a"),
            is_share=True,
        ),
        Claim(
            name="wide_heads_reach_100_percent",
            statement=(
                "All transformers with a head as wide as the model reach 100% test accuracy (two learning rates): "
                "share without an error in 1024 answers"
            ),
            value="100%",
            region=Region(low=0.9),
            figure="learning_curves",
            measure=partial(evidence.share_without_error, sweep="full_width"),
            family="accuracy_reaches_100_percent",
        ),
        Claim(
            name="wide_heads_converge",
            statement=(
                "All transformers with a head as wide as the model reach 99% test accuracy (two learning rates): "
                "share of runs"
            ),
            value="",
            region=Region(low=0.9),
            figure="learning_curves",
            measure=partial(evidence.share_converged, sweep="full_width"),
            stated_by="us",
            family="accuracy_reaches_100_percent",
        ),
        Claim(
            name="pair_tokens_reach_100_percent",
            statement=(
                "One layer of one head reaches 100% test accuracy where a token holds a key and its value: share "
                "without an error in 1024 answers"
            ),
            value="100%",
            region=Region(low=0.5),
            figure="learning_curves",
            measure=partial(evidence.share_without_error, sweep="pair_tokens"),
            is_share=True,
            family="accuracy_reaches_100_percent",
        ),
        Claim(
            name="converged_runs_change_abruptly",
            statement=f"Learning is a phase change ({SETTING_A}): share of converged runs whose loss falls abruptly",
            value="clear indications",
            region=Region(low=0.8),
            figure="phase_change",
            measure=partial(evidence.share_of_abrupt_runs, sweep="setting_a"),
            is_share=True,
            family="learning_is_a_phase_change",
        ),
        Claim(
            name="converged_runs_of_b_change_abruptly",
            statement=(
                "Learning is a phase change in a larger task (setting B, 16 keys): share of converged runs whose "
                "loss falls abruptly"
            ),
            value="clear indications",
            region=Region(low=0.8),
            figure="phase_change",
            measure=partial(evidence.share_of_abrupt_runs, sweep="setting_b"),
            is_share=True,
            family="learning_is_a_phase_change",
        ),
        Claim(
            name="converged_runs_of_c_change_abruptly",
            statement=(
                "Learning is a phase change where heads are narrow (setting C, 8 keys and heads of width 2): share "
                "of converged runs whose loss falls abruptly"
            ),
            value="clear indications",
            region=Region(low=0.8),
            figure="phase_change",
            measure=partial(evidence.share_of_abrupt_runs, sweep="setting_c"),
            is_share=True,
            family="learning_is_a_phase_change",
        ),
        Claim(
            name="converged_runs_of_wide_heads_change_abruptly",
            statement=(
                "Learning is a phase change where a head is as wide as the model (two learning rates): share of "
                "converged runs whose loss falls abruptly"
            ),
            value="clear indications",
            region=Region(low=0.8),
            figure="phase_change",
            measure=partial(evidence.share_of_abrupt_runs, sweep="full_width"),
            family="learning_is_a_phase_change",
        ),
        Claim(
            name="converged_runs_of_one_layer_change_abruptly",
            statement=(
                "Learning is a phase change in one layer of one head (a token holds a key and its value): share of "
                "converged runs whose loss falls abruptly"
            ),
            value="clear indications",
            region=Region(low=0.8),
            figure="aligned_curves",
            measure=partial(evidence.share_of_abrupt_runs, sweep="pair_tokens"),
            is_share=True,
            family="learning_is_a_phase_change",
        ),
        Claim(
            name="unconverged_runs_do_not_change_abruptly",
            statement=(
                "Runs that do not converge have no phase change (settings A, B and C): share in which our test finds "
                "one"
            ),
            value="",
            region=Region(high=0.05),
            figure="phase_change",
            measure=evidence.share_of_abrupt_unconverged_runs,
            stated_by="us",
            is_share=True,
        ),
        Claim(
            name="smooth_curves_do_not_change_abruptly",
            statement=(
                f"Smooth curves fitted to runs that converge have no phase change ({SETTING_A}): share in which our "
                "test finds one"
            ),
            value="",
            region=Region(high=0.05),
            figure="phase_change",
            measure=evidence.share_of_abrupt_smooth_curves,
            stated_by="us",
            is_check=True,
            is_share=True,
        ),
        Claim(
            name="previous_token_head_forms_first",
            statement=(
                "The previous-token head forms before the induction head: share of runs whose previous-token score "
                "is .5 before their induction score is"
            ),
            value="",
            region=Region(low=0.8),
            figure="head_order",
            measure=evidence.share_with_previous_token_first,
            stated_by="us",
            is_share=True,
        ),
        Claim(
            name="maps_agree_beyond_permuted_positions",
            statement=(
                "Converged runs attend alike, more so than with positions renamed (a control, 0 by construction): "
                f"{_ALIKE} the control"
            ),
            value="invariant patterns",
            region=Region(low=0.1),
            figure="attention",
            measure=evidence.alike_beyond_permuted,
            is_check=True,
        ),
        Claim(
            name="maps_agree_beyond_unconverged_runs",
            statement=f"Converged runs attend alike, more so than unconverged ones: {_ALIKE} unconverged ones",
            value="invariant patterns",
            region=Region(low=0.1),
            figure="attention",
            measure=evidence.alike_beyond_unconverged,
            is_check=True,
        ),
        Claim(
            name="maps_agree_beyond_init",
            statement=(
                "Converged runs attend alike, more so than before training (a control, near 0 by construction): "
                f"{_ALIKE} the control"
            ),
            value="invariant patterns",
            region=Region(low=0.1),
            figure="attention",
            measure=evidence.alike_beyond_init,
            is_check=True,
        ),
        Claim(
            name="maps_agree_beyond_matched_loss",
            statement=(
                f"Converged runs attend alike, more so than at one common loss before they converged: {_ALIKE} the "
                "same runs there"
            ),
            value="invariant patterns",
            region=Region(low=0.1),
            figure="attention",
            measure=evidence.alike_beyond_matched_loss,
            is_check=True,
        ),
        Claim(
            name="runs_attend_alike_from_values",
            statement=(
                f"Converged runs attend alike where the task forces it (layer 1 from values, {SETTING_A}): mean cosine "
                "of the attention maps of two runs"
            ),
            value="invariant patterns",
            region=Region(low=0.9),
            figure="attention_by_query",
            measure=partial(similarity_of_runs, sweep="setting_a_again", queries=VALUES),
        ),
        Claim(
            name="runs_of_one_layer_attend_alike",
            statement=(
                "Converged runs of one layer and one head attend alike where the task forces it (from the query, a "
                "token holds a key and its value): mean cosine of the attention maps of two runs"
            ),
            value="invariant patterns",
            region=Region(low=0.9),
            figure="attention_by_query",
            measure=partial(similarity_of_runs, sweep="pair_tokens", queries=QUERY),
        ),
        Claim(
            name="runs_attend_differently_from_keys",
            statement=(
                f"Converged runs attend differently where the task leaves it open (layer 1 from keys, {SETTING_A}): "
                "mean cosine of the attention maps of two runs"
            ),
            value="the contrary of invariant patterns",
            region=Region(high=0.5),
            figure="attention_by_query",
            measure=partial(similarity_of_runs, sweep="setting_a_again", queries=KEYS),
            stated_by="us",
            family="runs_attend_differently",
        ),
        Claim(
            name="runs_attend_differently_from_the_query",
            statement=(
                f"Converged runs attend differently where the task leaves it open (layer 1 from the query, {SETTING_A}"
                "): mean cosine of the attention maps of two runs"
            ),
            value="the contrary of invariant patterns",
            region=Region(high=0.5),
            figure="attention_by_query",
            measure=partial(similarity_of_runs, sweep="setting_a_again", queries=QUERY),
            stated_by="us",
            family="runs_attend_differently",
        ),
        *ACROSS_MODELS,
        *EARLY_DETERMINATION,
        *CIRCUITS,
    ),
)
