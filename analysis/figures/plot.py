"""Quick plots of a history, for notebooks: Altair charts of any metric over steps, grouped by what varies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from analysis.figures.marks import band
from analysis.figures.style import FONT, Rows, data, number
from analysis.outcomes.outcomes import DEFAULT_CRITERION, decide_outcomes
from analysis.outcomes.settings import setting_labels
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History

OUTCOME, SETTING = "outcome", "setting"


def curves(
    history: History, metric: str = "label_loss", by: str = SETTING, criterion: Criterion = DEFAULT_CRITERION
) -> alt.LayerChart:
    """Median over runs of a metric at each step, with bands of the middle half and of the middle 90%, by group.

    `by` is `setting`, `outcome` (judged by `criterion`), or the path of a hyperparameter, as `optimiser.lr` or its last
    part. Each value is of the runs that recorded the metric at that step. Raises ValueError, naming what there is, for
    a metric or group that the history does not have.

    >>> from pipeline.store.history import RunEnd, RunInfo
    >>> runs = tuple(RunInfo(f"r{seed}", "s", seed, seed, {"optimiser.lr": 0.1}) for seed in range(3))
    >>> loss_RT = np.array([[3.0, 1.0], [3.0, 2.0], [3.0, 6.0]])
    >>> history = History("a", 10, runs, (RunEnd("budget", 10),) * 3, np.array([0, 10]), {"label_loss": loss_RT})
    >>> [row["median"] for row in curves(history, by="lr").data.values]
    [3.0, 2.0]
    """
    if metric not in history.values:
        known = ", ".join(sorted(history.values)) or "none"
        raise ValueError(f"history {history.name!r} has no metric {metric!r} (recorded: {known})")
    groups = _groups(history, by, criterion)
    rows = _rows(history, metric, groups)
    base = alt.Chart().encode(x=alt.X("step:Q", title="step"), color=alt.Color("group:N", title=by))
    middle = base.mark_area(opacity=0.25).encode(y=alt.Y("lower:Q", title=metric), y2="upper:Q")
    tooltip = ["group:N", "step:Q", "median:Q", "runs:Q"]
    line = band(base, metric, value="median", stroke=2, tooltip=tooltip)
    title = f"{metric} of {len(history.runs)} runs: median, middle half, middle 90%"
    chart: Any = alt.layer(middle, line, data=data(rows)).properties(title=title, width=480, height=280)
    shown: alt.LayerChart = chart.configure(font=FONT)
    return shown


def _groups(history: History, by: str, criterion: Criterion) -> list[str]:
    """The group of each run, in words."""
    if by == SETTING:
        labels = setting_labels(history)
        return [labels[run.setting_id] for run in history.runs]
    if by == OUTCOME:
        return [str(kind) for kind in decide_outcomes(history, criterion).kind_R]
    paths = dict.fromkeys(path for run in history.runs for path in run.hyperparameters)
    found = [path for path in paths if by in (path, path.rpartition(".")[2])]
    if len(found) != 1:
        known = ", ".join(found or (OUTCOME, SETTING, *paths))
        raise ValueError(f"cannot group by {by!r} (choose one of: {known})")
    return [str(run.hyperparameters.get(found[0])) for run in history.runs]


def _rows(history: History, metric: str, groups: Sequence[str]) -> Rows:
    values_RT, group_R = history.values[metric], np.array(groups)
    rows: Rows = []
    for group in dict.fromkeys(groups):
        own_RT = values_RT[group_R == group]
        for t, step in enumerate(history.steps_T):
            values_r = own_RT[~np.isnan(own_RT[:, t]), t]
            if len(values_r) == 0:
                continue
            low, lower, median, upper, high = (number(q) for q in np.quantile(values_r, (0.05, 0.25, 0.5, 0.75, 0.95)))
            row = {"low": low, "lower": lower, "median": median, "upper": upper, "high": high}
            rows.append({"group": group, "step": int(step), "runs": len(values_r), **row})
    return rows
