"""Figures on Zhao (2023): for every parent and step, the share of its forks under fresh data that converge."""

from __future__ import annotations

from functools import partial
from typing import Any

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.figures.claims import finding, sweeps_caption
from analysis.figures.marks import raster
from analysis.figures.style import Figure, Rows, finish, number
from analysis.outcomes.outcomes import CONVERGED
from pipeline.arrays import Floats, Ints
from pipeline.store.history import History
from sweeps.zhao_2023.evidence import share_of_forks_that_end_alike
from sweeps.zhao_2023.failing import NARROW_HEADS, SMALL_MODEL, WIDE_ENOUGH
from sweeps.zhao_2023.measures import MIXED_BUDGET, outcomes_of

# Forks that all but agree: at most this share of them ends otherwise.
_SELDOM = 0.1


def fate_raster(sweeps: Sweeps) -> Figure:
    """The share of forks of setting A that converge by the mixed budget, by parent and fork step."""
    forks, parents = sweeps["forks"].history, sweeps["fork_parents"].history
    share_PS, steps_S = fork_shares(forks, parents, MIXED_BUDGET)
    at_risk_S = np.isfinite(share_PS).sum(axis=0)
    agree_S = ((share_PS <= _SELDOM) | (share_PS >= 1 - _SELDOM)).sum(axis=0)
    shown = [0, int(np.flatnonzero(at_risk_S)[-1])]
    at = [f"{agree_S[s]} of {at_risk_S[s]} parents at step {steps_S[s]}" for s in shown]
    title = f"Forks under fresh data all but agree for {at[0]}, and for {at[1]}"
    num_forks = len(forks.runs) / share_PS.size
    parts = (
        f"Share of {num_forks:.0f} forks with fresh data that converge by step {MIXED_BUDGET}, for each parent and "
        f"fork step; empty where the parent had converged. All but agree: at most {_SELDOM:.0%} of the forks end "
        "otherwise."
    )
    chart = _panel(share_PS, steps_S, 44, 5.5)
    caption = sweeps_caption(sweeps, ["fork_parents", "forks"], parts)
    return Figure("fate_raster", title, "Share of forks that converge.", finish(chart, title, caption))


def fates_of_failing_runs(sweeps: Sweeps) -> Figure:
    """The same where runs fail by the whole budget: heads of width 2 and models of width 10, beside setting A."""
    forks, parents = sweeps["failing_forks"].history, sweeps["failing_parents"].history
    last = max(run.fork_step or 0 for run in forks.runs)
    title = finding(
        sweeps,
        partial(share_of_forks_that_end_alike, setting=SMALL_MODEL),
        f"In models of width 10 a share of {{}} of the forks from step {last} end as their parent",
        "how many forks of models of width 10 end as their parent",
    )
    panels, num_forks = [], 0.0
    for setting, budget in ((WIDE_ENOUGH, MIXED_BUDGET), (NARROW_HEADS, forks.budget), (SMALL_MODEL, forks.budget)):
        own = setting.runs_of(forks)
        share_PS, steps_S = fork_shares(own, setting.runs_of(parents), budget)
        is_early_S = steps_S < budget
        num_forks = len(own.runs) / share_PS.size
        text = [setting.name, f"converged by step {budget}"]
        panels.append(_panel(share_PS[:, is_early_S], steps_S[is_early_S], 46, 14).properties(title=text))
    chart = alt.hconcat(*panels, spacing=24).resolve_scale(color="shared")
    parts = (
        f"Share of {num_forks:.0f} forks with fresh data that converge, for each parent (row) and fork step; empty "
        "where the parent had converged. Parents in the order in which they converge, those that do not last.",
    )
    caption = sweeps_caption(sweeps, ["failing_parents", "failing_forks"], *parts)
    return Figure("fates_of_failing_runs", title, "Share of forks that converge.", finish(chart, title, caption))


def fork_shares(forks: History, parents: History, budget: int) -> tuple[Floats, Ints]:
    """(P, S) share of the forks of each parent and step that converge by `budget`, and the (S,) steps.

    NaN where the parent had converged by the step. Parents are in the order of their own times to convergence, those
    that do not last. Raises UndecidedError where a parent has no fork at a step.
    """
    upper_P = outcomes_of(parents).upper_R
    order = np.argsort(np.where(np.isnan(upper_P), np.inf, upper_P), kind="stable")
    is_early_N = outcomes_of(forks, budget).is_kind_R(CONVERGED)
    early_forks: dict[tuple[str, int], list[bool]] = {}
    for run, is_early in zip(forks.runs, is_early_N.tolist(), strict=True):
        early_forks.setdefault((str(run.parent), int(run.fork_step or 0)), []).append(is_early)
    steps = sorted({step for _, step in early_forks})
    pairs = [[(parents.runs[p].run_id, step) for step in steps] for p in order]
    if missing := [pair for row in pairs for pair in row if pair not in early_forks]:
        raise UndecidedError(f"{len(missing)} parents and steps have no fork")
    share_PS = np.array([[np.mean(early_forks[pair]) for pair in row] for row in pairs])
    is_at_risk_PS = ~(upper_P[order][:, None] <= np.array(steps))
    return np.where(is_at_risk_PS, share_PS, np.nan), np.array(steps)


def _panel(share_PS: Floats, steps_S: Ints, width: float, height: float) -> Any:
    """Shares as colours, parents from top to bottom; `width` and `height` of a cell in pixels."""
    rows: Rows = [
        {"parent": p + 1, "step": int(step), "share": number(share_PS[p, s])}
        for s, step in enumerate(steps_S)
        for p in range(len(share_PS))
    ]
    hidden = alt.Axis(labels=False, ticks=False)
    return raster(
        rows,
        alt.X("step:O", title="fork step", axis=alt.Axis(labelAngle=0)),
        alt.Y("parent:O", title="parent, the first to converge on top", axis=hidden),
        alt.Color("share:Q", title="share", scale=alt.Scale(scheme="redyellowblue", domain=[0, 1])),
    ).properties(width=width * len(steps_S), height=height * len(share_PS))
