"""Figure on Huang, Cheng and Liang (2024): the ratio of times that their theory gives as K^2 log K, by size."""

from __future__ import annotations

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.figures.claims import sweeps_caption
from analysis.figures.style import Figure, Rows, data, finish
from sweeps.huang_2024.measures import feature_curves, median_feature_time_or_inf, sizes_of

_OURS, _THEIRS = "gradient flow", "K^2 log K, from the largest K"


def ratios_of_times(sweeps: Sweeps) -> dict[int, float]:
    """The time of rare features over that of the dominant one in the mean field, by number of features K.

    Sizes at which either does not converge are left out. Raises UndecidedError with fewer than two.
    """
    history = sweeps["mean_field"].history
    found: dict[int, float] = {}
    for size in sizes_of(history):
        time_RK = feature_curves(history, size, is_balanced=False).converged_RK
        ratio_R = median_feature_time_or_inf(time_RK[:, 1:]) / time_RK[:, 0]
        if len(ratio_R) and np.isfinite(ratio_R[0]):
            found[size] = float(ratio_R[0])
    if len(found) < 2:
        raise UndecidedError("rare features converged at fewer than two sizes")
    return found


def ratio_of_times(sweeps: Sweeps) -> Figure:
    """The ratio against K, beside K^2 log K: a statement on large K, which these sizes do not decide."""
    found = ratios_of_times(sweeps)
    least, most = min(found), max(found)
    growth = {size: size**2 * np.log(size) for size in found}
    fold = found[least] / growth[least] / (found[most] / growth[most])
    title = f"From K = {least} to {most} the ratio of times falls {fold:.1f}-fold relative to K^2 log K"
    rows: Rows = [{"size": size, "kind": _OURS, "ratio": ratio} for size, ratio in found.items()]
    rows += [{"size": size, "kind": _THEIRS, "ratio": found[most] * growth[size] / growth[most]} for size in found]
    log = alt.Scale(type="log", nice=False, padding=15)
    curves = (
        alt.Chart(data(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("size:Q", title="number of features K (log)", scale=log, axis=alt.Axis(values=sorted(found))),
            y=alt.Y("ratio:Q", title="time of rare features / time of the dominant one (log)", scale=log),
            color=alt.Color("kind:N", title=None, legend=alt.Legend(orient="top", labelLimit=400)),
        )
        .properties(width=420, height=280)
    )
    caption = sweeps_caption(
        sweeps, ["mean_field"], "Gradient flow in the limit of long contexts, where nothing is random: no intervals."
    )
    return Figure("ratio_of_times", title, "The ratio of times by size.", finish(curves, title, caption))
