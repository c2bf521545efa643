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
        PaperSweep("sampled", "huang_2024/scaling_sampled.yaml", fast=(_FEWER_SEEDS, _FEWER_SIZES, "budget=2200")),
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
    page_figures=("feature_errors",),
)
