"""Claims of von Oswald et al. (2023) on several layers: they do GD++ (their section 4, fig. 3 and appendix A.10)."""

from __future__ import annotations

from analysis.claims.claims import ClaimBook, Evidence, Region
from analysis.claims.sweeps import Sweeps
from analysis.uncertainty.estimates import median_of_runs
from sweeps.von_oswald_2023.evidence import PAPER, loss_ratio, median, shifts_alike
from sweeps.von_oswald_2023.measures import at_end

CLAIMS = ClaimBook()


def _layers(name: str, count: str, is_tied: bool) -> None:
    """The claims on one sweep of several layers, under names of their own."""
    what = f"{count} layers, weights {'tied' if is_tied else 'not tied'}"

    def beats(sweeps: Sweeps) -> Evidence:
        """The trained model's loss over that of the best equal steps, on the same contexts."""
        return loss_ratio(sweeps[name].history, "gd_loss", Region(high=0.95))

    def matches(sweeps: Sweeps) -> Evidence:
        """The trained model's loss over that of the best GD++."""
        return loss_ratio(sweeps[name].history, "plus_loss", Region(0.9, 1.1))

    def aligns(sweeps: Sweeps) -> Evidence:
        """The mean cosine of the gradients of predictions by the query's x."""
        history = sweeps[name].history
        return median(history, at_end(history, "plus_cosine", -1.0), Region(low=0.98), "Median over seeds.")

    def aligns_more(sweeps: Sweeps) -> Evidence:
        """The cosine with GD++ less that with gradient descent."""
        history = sweeps[name].history
        gain_R = at_end(history, "plus_cosine", -1.0) - at_end(history, "steps_cosine", 1.0)
        return median(history, gain_R, Region(low=0.01), "Median over seeds.")

    stated = (
        (
            "beat_gradient_descent",
            beats,
            f"{what}, beat as many equal steps of gradient descent: ratio of losses",
            "below",
        ),
        (
            "match_gd_plus_plus",
            matches,
            f"{what}, end within 10% of the loss of GD++: ratio of losses",
            "the same loss (fig. 3)",
        ),
        ("align_with_gd_plus_plus", aligns, f"{what}: cosine with GD++", "near 1 (fig. 3)"),
        (
            "align_more_with_gd_plus_plus",
            aligns_more,
            f"{what}, are more like GD++ than like GD: difference of cosines",
            "above",
        ),
    )
    for suffix, measure, statement, value in stated:
        measure.__name__ = f"{name}_{suffix}"
        CLAIMS.claim(paper=PAPER, statement=statement, value=value, figure="layers", least_runs=5)(measure)


_layers("two_layers_tied", "Two", is_tied=True)
_layers("two_layers_untied", "Two", is_tied=False)
_layers("five_layers_tied", "Five", is_tied=True)
_layers("five_layers_untied", "Five", is_tied=False)


@CLAIMS.claim(
    paper=PAPER,
    statement="Two tied layers have the curvature gamma of the best GD++",
    value=".179",
    figure="layers",
    least_runs=5,
)
def tied_layers_have_the_curvature_of_gd_plus_plus(sweeps: Sweeps) -> Evidence:
    """What the trained weights have, beside the curvature fitted to GD++ itself."""
    history = sweeps["two_layers_tied"].history
    trained = median_of_runs(at_end(history, "trained_curvature"), history.runs)
    fitted = float(at_end(history, "plus_curvature")[0])
    note = f"Fitted to GD++ itself: {fitted:.4f}. Estimate and interval: of the trained weights, median over seeds."
    return Evidence.of(trained, len(history.runs), Region(0.16, 0.2), note)


@CLAIMS.claim(
    paper=PAPER,
    statement="Two tied layers err like GD++ on inputs .5 to 2 times as large: worst ratio of losses",
    value="the same curves (fig. 3)",
    figure="shifted_contexts_of_layers",
    least_runs=5,
)
def two_layers_shift_alike_with_inputs(sweeps: Sweeps) -> Evidence:
    """Trained over GD++, at the scale at which they differ most."""
    return shifts_alike(sweeps["two_layers_tied"].history, ("inputs",), "plus_loss", 1.25)


@CLAIMS.claim(
    paper=PAPER,
    statement="And on teachers .5 to 5 times as large: worst ratio of losses",
    value="the same curves (fig. 3)",
    figure="shifted_contexts_of_layers",
    least_runs=5,
)
def two_layers_shift_alike_with_teachers(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return shifts_alike(sweeps["two_layers_tied"].history, ("teachers",), "plus_loss", 1.25)


@CLAIMS.claim(
    paper=PAPER,
    statement="And with 2 to 8 of 10 targets replaced by noise: worst ratio of losses",
    value="the same curves (app.)",
    figure="shifted_contexts_of_layers",
    least_runs=5,
)
def two_layers_shift_alike_with_noise(sweeps: Sweeps) -> Evidence:
    """Likewise."""
    return shifts_alike(sweeps["two_layers_tied"].history, ("noisy",), "plus_loss", 1.25)
