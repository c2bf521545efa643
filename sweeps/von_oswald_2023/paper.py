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
        Measurement("one_layer", "one_layer", one_layer),
        *(Measurement(name, name, several_layers) for name in LAYER_SWEEPS),
    ),
    order=1,
    page_figures=("layers",),
)
