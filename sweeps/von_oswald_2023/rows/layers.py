"""Claims of von Oswald et al. (2023) on several layers: they do GD++ (their section 4, fig. 3 and appendix A.10)."""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Evidence, Region
from analysis.claims.sweeps import Sweeps
from analysis.uncertainty.estimates import median_of_runs
from sweeps.von_oswald_2023.evidence.contexts import final, loss_ratio, median, shifts_alike
from sweeps.von_oswald_2023.measures import at_end

_GD_PLUS_PLUS = "GD++ (gradient descent that also transforms its inputs)"


def gain_in_cosine(sweeps: Sweeps, *, sweep: str) -> Evidence:
    """The cosine with GD++ less that with gradient descent."""
    history = sweeps[sweep].history
    return median(history, at_end(history, "plus_cosine", -1.0) - at_end(history, "steps_cosine", 1.0))


def curvature(sweeps: Sweeps) -> Evidence:
    """Curvature gamma of the trained weights, with the curvature fitted to GD++ itself in the note."""
    history = sweeps["two_layers_tied"].history
    trained = median_of_runs(at_end(history, "trained_curvature"), history.runs)
    fitted = float(at_end(history, "plus_curvature")[0])
    note = f"Fitted to GD++ itself: {fitted:.4f}. Estimate and interval: of the trained weights, median over seeds."
    return Evidence.of(trained, history.runs, note)


def _of_layers(sweep: str, layers: str) -> tuple[Claim, ...]:
    """The rows on one sweep of several layers, which has 10 seeds."""
    row = partial(Claim, figure="layers", least_runs=5, family=f"{sweep}_do_gd_plus_plus")
    return (
        row(
            name=f"{sweep}_beat_gradient_descent",
            statement=f"{layers} beat as many equal steps of gradient descent: ratio of losses",
            value="below",
            region=Region(high=0.95),
            measure=partial(loss_ratio, sweep=sweep, theirs="gd_loss"),
            is_check=True,
        ),
        row(
            name=f"{sweep}_match_gd_plus_plus",
            statement=(
                f"{layers} end within 10% of the loss of the best {_GD_PLUS_PLUS} of as many steps: ratio of losses"
            ),
            value="the same loss (fig. 3)",
            region=Region(0.9, 1.1),
            measure=partial(loss_ratio, sweep=sweep, theirs="plus_loss"),
            paper_figure=1.0,
            margin=0.02,
        ),
        row(
            name=f"{sweep}_align_with_gd_plus_plus",
            statement=(
                f"{layers} depend on the query as the best {_GD_PLUS_PLUS} of as many steps does: cosine of the "
                "gradients of both predictions by the query's input"
            ),
            value="near 1 (fig. 3)",
            region=Region(low=0.98),
            measure=partial(final, sweep=sweep, metric="plus_cosine", lost=-1.0),
        ),
        row(
            name=f"{sweep}_align_more_with_gd_plus_plus",
            statement=(
                f"{layers} depend on the query more as {_GD_PLUS_PLUS} does than as plain gradient descent does: "
                "difference of the two cosines of gradients by the query's input"
            ),
            value="above",
            region=Region(low=0.01),
            measure=partial(gain_in_cosine, sweep=sweep),
        ),
    )


_alike = partial(shifts_alike, sweep="two_layers_tied", theirs="plus_loss")

SEVERAL_LAYERS = (
    *_of_layers("two_layers_tied", "Two linear-attention layers with tied weights"),
    *_of_layers("two_layers_untied", "Two linear-attention layers with untied weights"),
    *_of_layers("five_layers_tied", "Five linear-attention layers with tied weights"),
    *_of_layers("five_layers_untied", "Five linear-attention layers with untied weights"),
    Claim(
        name="tied_layers_have_the_curvature_of_gd_plus_plus",
        statement=(
            f"Two linear-attention layers with tied weights transform inputs as the best {_GD_PLUS_PLUS} does: "
            "curvature gamma of the trained weights"
        ),
        value=".179",
        region=Region(0.16, 0.2),
        figure="layers",
        measure=curvature,
        least_runs=5,
        paper_figure=0.179,
        margin=0.0036,
        family="two_layers_tied_do_gd_plus_plus",
    ),
    Claim(
        name="two_layers_shift_alike_with_inputs",
        statement=(
            f"Two linear-attention layers with tied weights err like the best {_GD_PLUS_PLUS} on inputs .5 to 2 times "
            "as large as in training: worst ratio of losses"
        ),
        value="the same curves (fig. 3)",
        region=Region(high=1.25),
        figure="shifted_contexts_of_layers",
        measure=partial(_alike, kinds=("inputs",)),
        least_runs=5,
        paper_figure=1.0,
        margin=0.02,
        family="two_layers_shift_alike",
    ),
    Claim(
        name="two_layers_shift_alike_with_teachers",
        statement=(
            f"Two linear-attention layers with tied weights err like the best {_GD_PLUS_PLUS} on target functions .5 "
            "to 5 times as large as in training: worst ratio of losses"
        ),
        value="the same curves (fig. 3)",
        region=Region(high=1.25),
        figure="shifted_contexts_of_layers",
        measure=partial(_alike, kinds=("teachers",)),
        least_runs=5,
        paper_figure=1.0,
        margin=0.02,
        family="two_layers_shift_alike",
    ),
    Claim(
        name="two_layers_shift_alike_with_noise",
        statement=(
            f"Two linear-attention layers with tied weights err like the best {_GD_PLUS_PLUS} where 2 to 8 of 10 "
            "targets are replaced by noise: worst ratio of losses"
        ),
        value="the same curves (app.)",
        region=Region(high=1.25),
        figure="shifted_contexts_of_layers",
        measure=partial(_alike, kinds=("noisy",)),
        least_runs=5,
        paper_figure=1.0,
        margin=0.02,
        family="two_layers_shift_alike",
    ),
)
