"""Claims on what trained models of setting A compute: circuits, what runs can exchange, order of the heads, sizes.

All are questions of our own: the report states that patterns of attention are invariant across models, and no more on
circuits or sizes is known to us. Regions were set after other seeds were examined: on circuits 3000 to 3063, on the
order of the heads 1000 to 1255, on sizes 13900 to 13907.
"""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from sweeps.zhao_2023.attention_maps.by_query import KEYS, VALUES
from sweeps.zhao_2023.circuits.evidence import (
    ATTENTION_MAPS,
    LABEL_FREQUENCY,
    STITCHED,
    TRANSPLANTED,
    accuracy_with_parts_of_others,
    mean_of_circuits,
    rise_between_widths,
    share_between,
    share_first_to_level,
)
from sweeps.zhao_2023.measures import SETTING_A

_FEWEST = 30
_HEADS, _WEIGHTS, _EXCHANGED = "heads_are_needed", "circuits_are_those_of_induction", "runs_exchange_maps_alone"

CIRCUITS = (
    Claim(
        name="first_layer_qk_prefers_the_position_before",
        statement=(
            f"The QK circuit of layer 1 prefers, at values, the position before ({SETTING_A}): share of value positions"
        ),
        value="",
        region=Region(low=0.95),
        figure="circuits",
        measure=partial(mean_of_circuits, metric="qk_previous"),
        least_runs=_FEWEST,
        stated_by="us",
        family=_WEIGHTS,
    ),
    Claim(
        name="second_layer_qk_matches_keys",
        statement=(
            f"The QK circuit of layer 2 prefers, for a queried key, what layer 1 moves of the same key ({SETTING_A}): "
            "share of keys"
        ),
        value="",
        region=Region(low=0.8),
        figure="circuits",
        measure=partial(mean_of_circuits, metric="qk_matching"),
        least_runs=_FEWEST,
        stated_by="us",
        family=_WEIGHTS,
    ),
    Claim(
        name="second_layer_ov_copies_values",
        statement=f"The OV circuit of layer 2 raises a value's own class most ({SETTING_A}): share of values",
        value="",
        region=Region(low=0.9),
        figure="circuits",
        measure=partial(mean_of_circuits, metric="ov_copying"),
        least_runs=_FEWEST,
        stated_by="us",
        family=_WEIGHTS,
    ),
    Claim(
        name="first_head_is_needed_at_values",
        statement=(
            "Without the head of layer 1 at values (mean ablation), a converged run is no better than the predictor "
            f"of label frequencies ({SETTING_A}): accuracy"
        ),
        value="",
        region=Region(high=LABEL_FREQUENCY),
        figure="circuits",
        measure=partial(mean_of_circuits, metric=f"ablated_accuracy/{VALUES}"),
        least_runs=_FEWEST,
        stated_by="us",
        family=_HEADS,
    ),
    Claim(
        name="first_head_is_not_needed_at_keys",
        statement=(
            f"The head of layer 1 is needed at values alone: without it at keys (mean ablation, {SETTING_A}): accuracy"
        ),
        value="",
        region=Region(low=0.95),
        figure="circuits",
        measure=partial(mean_of_circuits, metric=f"ablated_accuracy/{KEYS}"),
        least_runs=_FEWEST,
        stated_by="us",
    ),
    Claim(
        name="second_head_is_needed",
        statement=(
            "Without the head of layer 2 (mean ablation), a converged run is no better than the predictor of label "
            f"frequencies ({SETTING_A}): accuracy"
        ),
        value="",
        region=Region(high=LABEL_FREQUENCY),
        figure="circuits",
        measure=partial(mean_of_circuits, metric="ablated_accuracy/layer2"),
        least_runs=_FEWEST,
        stated_by="us",
        family=_HEADS,
    ),
    Claim(
        name="runs_work_under_maps_of_others",
        statement=(
            "Converged runs work under the attention maps of another converged run on the same sequences "
            f"({SETTING_A}): accuracy"
        ),
        value="",
        region=Region(low=0.95),
        figure="circuits",
        measure=partial(accuracy_with_parts_of_others, kind=ATTENTION_MAPS),
        least_runs=_FEWEST,
        stated_by="us",
        family=_EXCHANGED,
    ),
    Claim(
        name="runs_fail_with_first_layers_of_others",
        statement=(
            "Converged runs do not work with the weights of layer 1 of another converged run in place of their own "
            f"({SETTING_A}): accuracy"
        ),
        value="",
        region=Region(high=LABEL_FREQUENCY),
        figure="circuits",
        measure=partial(accuracy_with_parts_of_others, kind=TRANSPLANTED),
        least_runs=_FEWEST,
        stated_by="us",
        family=_EXCHANGED,
    ),
    Claim(
        name="runs_fail_with_stitched_layers_of_others",
        statement=(
            "Layer 1 of another converged run does not serve layer 2 through the affine map that fits best by least "
            f"squares ({SETTING_A}): accuracy"
        ),
        value="",
        region=Region(high=0.5),
        figure="circuits",
        measure=partial(accuracy_with_parts_of_others, kind=STITCHED),
        least_runs=_FEWEST,
        stated_by="us",
        family=_EXCHANGED,
    ),
    Claim(
        name="previous_token_head_is_half_formed_first",
        statement=(
            f"The previous-token score comes to .5 before the induction score does ({SETTING_A}, seeds of 12000 and "
            "more): share of runs"
        ),
        value="",
        region=Region(low=0.8),
        figure="head_order_by_level",
        measure=partial(share_first_to_level, level=0.5),
        least_runs=_FEWEST,
        stated_by="us",
        is_share=True,
        family="previous_token_head_forms_first",
    ),
    Claim(
        name="previous_token_head_is_not_completed_first",
        statement=(
            f"The previous-token score comes to .9 after the induction score does ({SETTING_A}): share of runs in "
            "which it comes to it first"
        ),
        value="",
        region=Region(high=0.5),
        figure="head_order_by_level",
        measure=partial(share_first_to_level, level=0.9),
        least_runs=_FEWEST,
        stated_by="us",
        is_share=True,
    ),
    Claim(
        name="convergence_emerges_with_width",
        statement=(
            "Convergence by step 2700 emerges within a factor of 2 of the model's width (8 and 16, heads of width 4): "
            "share of the wider that converge, less that of the narrower"
        ),
        value="",
        region=Region(low=0.5),
        figure="size",
        measure=partial(rise_between_widths, narrow=8, wide=16),
        least_runs=_FEWEST,
        stated_by="us",
    ),
    Claim(
        name="runs_at_the_edge_succeed_or_fail",
        statement=(
            "Where some seeds converge and some do not (widths 8, 10 and 12), a run has learned all or nothing by step "
            "2700: share that ends with an excess loss between .1 and .8"
        ),
        value="",
        region=Region(high=0.25),
        figure="size",
        measure=partial(share_between, widths=(8, 10, 12), low=0.1, high=0.8),
        least_runs=_FEWEST,
        stated_by="us",
        is_share=True,
    ),
)
