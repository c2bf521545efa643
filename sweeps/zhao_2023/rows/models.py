"""Claims on whether runs of different models attend alike, where the task forces them to and where it does not."""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from sweeps.zhao_2023.across_models import similarity_across_models
from sweeps.zhao_2023.by_query import KEYS, VALUES

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
)
