"""Von Oswald et al. (2023, arXiv 2212.07677): sweeps and measurements."""

from __future__ import annotations

from sweeps.papers import Measurement, Paper, PaperSweep
from sweeps.von_oswald_2023.measurements import one_layer, several_layers

LAYERS = ("two_layers_tied", "two_layers_untied", "five_layers_tied", "five_layers_untied")
FULL_ALONE = ("context_lengths", *LAYERS, "fixed_tasks", "mlp_block", "softmax", "separate_tokens", "sine")


def _file(name: str) -> str:
    return f"von_oswald_2023/{name}.yaml"


PAPER = Paper(
    name="von_oswald_2023",
    title="Transformers learn in-context by gradient descent",
    sweeps=(
        PaperSweep("one_layer", _file("one_layer"), fast=("seeds.together.range=[0, 16]",)),
        PaperSweep("heads", _file("heads"), fast=("seeds.together.range=[1000, 1032]",)),
        *(PaperSweep(name, _file(name), fast=None) for name in FULL_ALONE),
    ),
    measurements=(
        Measurement("one_layer", "one_layer", one_layer),
        *(Measurement(name, name, several_layers, profiles=("full",)) for name in LAYERS),
    ),
)
