"""Claims of von Oswald et al. (2023, arXiv 2212.07677): trained self-attention does gradient descent in its context.

Text and public code of the paper differ, and its figures follow the code, so our sweeps do: inputs from U(-.5, .5),
half the squared error, gradients clipped to a norm of .001 up to two layers, Adam's beta2 .98. Batches, seeds and
budgets that are ours are named in the sweep files. Where a model and an algorithm are compared, both see the same
contexts. Regions were fixed from the paper's statements and from runs under other seeds than those that are judged.
"""

from __future__ import annotations

from analysis.claims.claims import ClaimBook
from sweeps.von_oswald_2023.figures.layers import (
    context_lengths,
    layers,
    roll_out,
    shifted_contexts,
    shifted_contexts_of_layers,
    training,
)
from sweeps.von_oswald_2023.figures.task import linear_regression_task
from sweeps.von_oswald_2023.figures.variants import copying, fixed_tasks, mlp_block, plateaus, sine, softmax
from sweeps.von_oswald_2023.rows.layers import SEVERAL_LAYERS
from sweeps.von_oswald_2023.rows.one_layer import ONE_LAYER
from sweeps.von_oswald_2023.rows.variants import VARIANTS

CLAIMS = ClaimBook("von Oswald et al. 2023", (*ONE_LAYER, *SEVERAL_LAYERS, *VARIANTS))
TASK_PICTURE = linear_regression_task
FIGURES = (
    training,
    context_lengths,
    shifted_contexts,
    roll_out,
    layers,
    shifted_contexts_of_layers,
    plateaus,
    fixed_tasks,
    mlp_block,
    softmax,
    copying,
    sine,
)
