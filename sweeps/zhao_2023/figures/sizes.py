"""Figure on Zhao (2023): convergence, accuracy and loss against the width of the model."""

from __future__ import annotations

import altair as alt

from analysis.claims.sweeps import Sweeps
from analysis.figures.claims import sweeps_caption
from analysis.figures.marks import points_with_intervals
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish
from analysis.outcomes.outcomes import CONVERGED
from analysis.uncertainty.estimates import mean_of_runs, proportion_of_runs
from sweeps.zhao_2023.circuits.evidence import SIZES, last_excess_R, of_width, width_R
from sweeps.zhao_2023.figures.learning import interval_row
from sweeps.zhao_2023.measures import last_accuracies, outcomes_of

_CONVERGED, _ACCURACY, _EXCESS = "share converged", "mean accuracy", "mean excess loss"


def size(sweeps: Sweeps) -> Figure:
    """The share of runs that converge by the budget, and their mean accuracy and excess loss at its end, by width."""
    history = sweeps[SIZES].history
    rows: Rows = []
    share_of = {}
    for width in sorted(set(width_R(history).tolist())):
        runs = of_width(history, width)
        share_of[int(width)] = share = proportion_of_runs(outcomes_of(runs).is_kind_R(CONVERGED), runs.runs)
        rows.append(interval_row(share, width=width, what=_CONVERGED))
        rows.append(interval_row(mean_of_runs(last_accuracies(runs)[:, -1], runs.runs), width=width, what=_ACCURACY))
        rows.append(interval_row(mean_of_runs(last_excess_R(runs), runs.runs), width=width, what=_EXCESS))
    least, most = min(share_of), max(share_of)
    title = (
        f"From width {least} to {most} the share that converges rises from {share_of[least].concise()} to "
        f"{share_of[most].concise()}"
    )
    names = [_CONVERGED, _ACCURACY, _EXCESS]
    x = alt.X(
        "width:Q",
        title="width of the model (log)",
        scale=alt.Scale(type="log", nice=False, padding=15),
        axis=alt.Axis(values=sorted(share_of)),
    )
    colour = alt.Color(
        "what:N", title=None, sort=names, scale=alt.Scale(domain=names, range=list(PREDICTOR_COLOURS[:3]))
    )
    base = alt.Chart(data(rows)).encode(x=x, color=colour)
    chart = points_with_intervals(base, "share, accuracy, excess loss", is_joined=True)
    parts = (
        f"Setting A with heads of width 4, the same seeds at each width; by step {history.budget}. Excess loss: 0 is "
        "no loss, 1 that of predicting label frequencies. Bars: 95% intervals over runs."
    )
    caption = sweeps_caption(sweeps, [SIZES], parts)
    finished = finish(chart.properties(width=460, height=280), title, caption)
    return Figure("size", title, "Convergence, accuracy and loss by width.", finished)
