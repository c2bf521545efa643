"""Claims on whether all runs attend alike, of one model and of different ones, where the task forces them to or not."""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from sweeps.zhao_2023.attention_maps.across_models import similarity_across_models
from sweeps.zhao_2023.attention_maps.by_query import KEYS, VALUES
from sweeps.zhao_2023.attention_maps.depths import first_of_layers, layer_that_looks_back, similarity_across_depths
from sweeps.zhao_2023.attention_maps.single_runs import share_of_unlike_runs
from sweeps.zhao_2023.measures import SETTING_A

_MODELS = "widths 16 to 32, heads of width 2 to 16, three learning rates"

ACROSS_MODELS = (
    Claim(
        name="different_models_attend_alike_from_values",
        statement=(
            f"Converged runs of different models attend alike where the task forces it (layer 1 from values; {_MODELS}"
            "): mean cosine of the attention maps of two runs"
        ),
        value="invariant patterns",
        region=Region(low=0.9),
        figure="attention_across_models",
        measure=partial(similarity_across_models, queries=VALUES),
    ),
    Claim(
        name="different_models_attend_differently_from_keys",
        statement=(
            "Converged runs of different models attend differently where the task leaves it open (layer 1 from keys; "
            f"{_MODELS}): mean cosine of the attention maps of two runs"
        ),
        value="the contrary of invariant patterns",
        region=Region(high=0.5),
        figure="attention_across_models",
        measure=partial(similarity_across_models, queries=KEYS),
        stated_by="us",
        family="runs_attend_differently",
    ),
    Claim(
        name="models_of_other_depth_attend_alike_in_the_first_layer",
        statement=(
            "Converged runs of models of two, three and four layers attend alike in layer 1 (from values, setting A "
            "but for the depth): mean cosine of the attention maps of two runs of different depth"
        ),
        value="invariant patterns",
        region=Region(low=0.9),
        figure="attention_across_depths",
        measure=partial(similarity_across_depths, choose=first_of_layers),
        family="different_models_attend_alike_from_values",
    ),
    Claim(
        name="models_of_other_depth_attend_alike_where_they_look_back",
        statement=(
            "Converged runs of models of two, three and four layers attend alike in the layer in which values look "
            "back most (setting A but for the depth): mean cosine of the attention maps of two runs of different depth"
        ),
        value="",
        region=Region(low=0.9),
        figure="attention_across_depths",
        measure=partial(similarity_across_depths, choose=layer_that_looks_back),
        stated_by="us",
    ),
    Claim(
        name="hardly_any_run_attends_unlike_the_others",
        statement=(
            f"Hardly any converged run attends unlike the others where the task forces a pattern (layer 1 from values, "
            f"{SETTING_A}): share of runs whose map has a mean cosine of at most .6 with those of the others"
        ),
        value="asked after three such runs were seen",
        region=Region(high=0.05),
        figure="attention_of_single_runs",
        measure=partial(share_of_unlike_runs, sweep="setting_a"),
        stated_by="us",
        is_share=True,
    ),
)
