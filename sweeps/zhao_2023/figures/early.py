"""Figures on Zhao (2023): early statistics, forecasts, head widths, seed variance, forks."""

from __future__ import annotations

from functools import partial
from typing import Any

import altair as alt
import numpy as np

from analysis.claims.sweeps import Sweeps
from analysis.dynamics.early_signs import proportion_by_statistic, time_correlation
from analysis.dynamics.fork_fates import fates_by_step, fixed_step
from analysis.dynamics.seed_variance import seed_variance
from analysis.figures.claims import finding, sweeps_caption
from analysis.figures.forecasts import forecast_quality
from analysis.figures.marks import points_with_intervals, raster, reference, stairs
from analysis.figures.style import PREDICTOR_COLOURS, Figure, Rows, data, finish, number
from analysis.outcomes.incidence import incidence
from analysis.outcomes.outcomes import CONVERGED, UNCONVERGED
from analysis.outcomes.subsets import evaluated_every, some_runs, within
from analysis.summary.analyse import analyse
from pipeline.arrays import Floats
from sweeps.zhao_2023 import evidence
from sweeps.zhao_2023.figures.learning import interval_row, intervals
from sweeps.zhao_2023.measures import (
    CRITERION,
    EARLY_STEP,
    EVALUATED_EVERY,
    INDUCTION,
    LARGE_BUDGET,
    MIXED_BUDGET,
    PREVIOUS_TOKEN,
    fates_of,
    head_width_R,
    head_widths_of,
    outcomes_of,
    value_at,
)

BIN_STEPS = (0, 100, 200, 400, 600)
CORRELATION_STEPS = (0, 50, 100, 150, 200, 300, 400, 500, 600)
EARLY_STATISTICS = {PREVIOUS_TOKEN: "previous-token score", INDUCTION: "induction score", "probe_loss": "loss"}


def early_statistics(sweeps: Sweeps) -> Figure:
    """Share converged by early previous-token score, and association of early statistics with time to convergence."""
    title = finding(
        sweeps,
        partial(evidence.score_and_time, step=EARLY_STEP),
        f"At step {EARLY_STEP}, the previous-token score has a rank correlation of {{}} with the time",
        "what the early previous-token score tells of the time",
    )
    sweep = sweeps["setting_a"]
    history, by_mixed = sweep.history, outcomes_of(sweep.history, MIXED_BUDGET)
    outcomes = outcomes_of(history)
    bins = [
        interval_row(found.proportion, step=step, statistic=number(found.value), runs=found.num_runs)
        for step in BIN_STEPS
        for found in proportion_by_statistic(value_at(history, PREVIOUS_TOKEN, step), by_mixed, step)
    ]
    rows: Rows = []
    for metric, name in EARLY_STATISTICS.items():
        for step in CORRELATION_STEPS:
            found = time_correlation(value_at(history, metric, step), outcomes, history.runs, step)
            rows.append(interval_row(found.rho, step=step, statistic=name))
    left = _lines(
        bins, "statistic:Q", "previous-token score", f"share converged by step {MIXED_BUDGET}", "step", [0, 1]
    )
    right = _lines(rows, "step:Q", "step of the statistic", "rank correlation with the time", "statistic", [-1, 1])
    chart = alt.hconcat(left, alt.layer(reference(0), right), spacing=40).resolve_scale(
        color="independent", shape="independent"
    )
    parts = (
        "Only runs that had not converged at the step. Left: five bins of equally many runs, Wilson intervals. Right: "
        f"Spearman's, times up to {history.budget} steps, 95% over runs."
    )
    text = "Share converged by an early score; rank correlation of three statistics with the time, by step."
    return Figure("early_statistics", title, text, finish(chart, title, sweeps_caption(sweeps, ["setting_a"], parts)))


def forecasts(sweeps: Sweeps) -> Figure:
    """Quality of forecasts of convergence by the mixed budget, with the baselines."""
    sweep = sweeps["setting_a"]
    cut = evaluated_every(within(sweep.history, MIXED_BUDGET), EVALUATED_EVERY)
    found = forecast_quality(analyse(cut, CRITERION, sweep.provenance))
    return Figure("forecasts", found.title, found.text, found.chart)


def head_widths(sweeps: Sweeps) -> Figure:
    """The share that converged over steps, and at three budgets, for each width of the head."""
    title = finding(
        sweeps,
        evidence.width_and_time,
        "The width of the head has a rank correlation of {} with the time to convergence",
        "how the time to convergence depends on the width of the head",
    )
    sweep = sweeps["head_widths"]
    history, outcomes = sweep.history, outcomes_of(sweep.history)
    curves: Rows = []
    shares: Rows = []
    for width in head_widths_of(history):
        found = incidence(outcomes, history.runs, head_width_R(history) == width)
        for t in [*range(1, len(found.steps_T)), -1]:
            step = history.budget if t == -1 else int(found.steps_T[t])
            row = {"step": step, "width": f"{width:g}", "value": number(found.converged_T[t])}
            curves.append(row | {"low": number(found.low_T[t]), "high": number(found.high_T[t])})
        for budget in (MIXED_BUDGET, LARGE_BUDGET, history.budget):
            at = incidence(outcomes_of(history, budget), history.runs, head_width_R(history) == width)
            estimate = _last(at)
            shares.append(estimate | {"width": f"head width {width:g}", "budget": f"{budget}"})
    names = list(dict.fromkeys(row["width"] for row in curves))
    colour = alt.Color(
        "width:N",
        sort=names,
        title="head width",
        legend=alt.Legend(symbolOpacity=1),
        scale=alt.Scale(domain=names, range=list(PREDICTOR_COLOURS[: len(names)])),
    )
    x = alt.X("step:Q", title="step (log)", scale=alt.Scale(type="log", domainMin=EVALUATED_EVERY))
    base = alt.Chart(data(curves)).encode(x=x, color=colour)
    steps = stairs(base, "share converged", scale=alt.Scale(domain=[0, 1]))
    order = list(dict.fromkeys(row["width"] for row in shares))
    panel = intervals(shares, "width", "share converged by a budget", order, "budget")
    chart = alt.hconcat(
        steps.properties(width=360, height=280), panel.properties(width=260, height=260), spacing=40
    ).resolve_scale(color="independent")
    parts = "Aalen-Johansen. Bands and bars: 95%, over runs of one width."
    text = "Share of runs that converged by each step, one curve per head width, and at three budgets."
    return Figure("head_widths", title, text, finish(chart, title, sweeps_caption(sweeps, ["head_widths"], parts)))


def _last(found: Any) -> dict[str, float | None]:
    return {
        "value": number(found.converged_T[-1]), "low": number(found.low_T[-1]), "high": number(found.high_T[-1])
    }  # fmt: skip


def init_and_data(sweeps: Sweeps) -> Figure:
    """The time to convergence of every init seed under every data stream, and what explains its variance."""
    sweep = sweeps["crossed"]
    history, outcomes = sweep.history, outcomes_of(sweep.history)
    time_R = np.where(outcomes.kind_R == CONVERGED, outcomes.upper_R, history.budget)
    inits = np.array([run.init_seed for run in history.runs])
    order = sorted(set(inits.tolist()), key=lambda seed: float(np.log(time_R[inits == seed]).mean()))
    cells = [
        {"init": run.init_seed, "data": run.data_seed, "time": float(time), "outcome": str(kind)}
        for run, time, kind in zip(history.runs, time_R, outcomes.kind_R, strict=True)
    ]
    hidden = alt.Axis(labels=False, ticks=False)
    grid = raster(
        cells,
        alt.X("init:O", sort=order, title="init seed, by mean log time", axis=hidden),
        alt.Y("data:O", title="data seed"),
        alt.Color("time:Q", title="step", scale=alt.Scale(scheme="viridis", reverse=True)),
    ).properties(width=460, height=220)
    found = seed_variance(outcomes, history.runs, history.budget)
    shares = {"init": found.init, "data": found.data, "interaction": found.interaction}
    title = f"Of the variance of log time, init seeds explain {found.init.concise()}, data seeds {found.data.concise()}"
    rows = [interval_row(estimate, source=name) for name, estimate in shares.items()]
    panel = intervals(rows, "source", "share of the variance of log time", list(shares)).properties(
        width=240, height=110
    )
    parts = (
        f"Step by which a run had converged; {found.num_restricted} runs did not and count with the budget. Bars: 95%, "
        "init and data seeds resampled."
    )
    chart = finish(alt.hconcat(grid, panel, spacing=40), title, sweeps_caption(sweeps, ["crossed"], parts))
    return Figure("init_and_data", title, "Time to convergence by init and data seed; shares of its variance.", chart)


def fates(sweeps: Sweeps) -> Figure:
    """How often forks with fresh data end as their parent did, and how much of the time is fixed, by fork step."""
    title = finding(
        sweeps,
        evidence.step_of_fixed_fate,
        "From step {} on, 95% of the forks end as their parent",
        "from which step on the outcome is fixed",
        digits=0,
    )
    found = fates_of(sweeps, MIXED_BUDGET)
    groups = {"all": found} | {kind: fates_of(sweeps, MIXED_BUDGET, kind) for kind in (CONVERGED, UNCONVERGED)}
    rows = [
        interval_row(at.agreement, step=at.step, parents=f"{name} ({len({run.parent for run in of_group.forks})})")
        for name, of_group in groups.items()
        for at in fates_by_step(of_group)
    ]
    rows += [
        {"step": at.step, "value": number(at.by_chance), "parents": "an unrelated run", "low": None, "high": None}
        for at in fates_by_step(found)
    ]
    y_title = "share of forks that end as their parent"
    left = _lines(rows, "step:Q", "fork step", y_title, "parents", [0.3, 1])
    share_title = "share of the variance of log time"
    right = _lines(_fixed_variance(sweeps), "step:Q", "fork step", share_title, "fixed", [0.7, 1])
    fixed = fixed_step(found, MIXED_BUDGET)
    chart = alt.hconcat(left, right, spacing=40).resolve_scale(color="independent", shape="independent")
    parts = (
        f"Only parents that had not converged at the fork step; outcomes by step {MIXED_BUDGET}. 95% of their forks "
        f"share the outcome from step {fixed.text(0)} on (fork steps alone; at {MIXED_BUDGET} all do). Right: what the "
        f"state at the fork fixes of the time, up to {sweeps['forks'].history.budget} steps. Bars: 95%, init and data "
        "seeds resampled."
    )
    text = "Share of forks that end as their parent, and share of the variance of log time that is fixed, by fork step."
    return Figure("fates", title, text, finish(chart, title, sweeps_caption(sweeps, ["forks", "fork_parents"], parts)))


def _fixed_variance(sweeps: Sweeps) -> Rows:
    """The share of the variance of log time between the forks of different parents at risk, by fork step."""
    forks, parents = sweeps["forks"].history, sweeps["fork_parents"].history
    time = dict(zip((run.run_id for run in parents.runs), outcomes_of(parents).upper_R.tolist(), strict=True))
    step_R = np.array([run.fork_step for run in forks.runs], dtype=np.float64)
    time_R: Floats = np.array([time[str(run.parent)] for run in forks.runs], dtype=np.float64)
    rows: Rows = []
    for step in np.unique(step_R).tolist():
        some = some_runs(forks, (step_R == step) & (time_R > step))
        if len({run.init_seed for run in some.runs}) > 2:
            found = seed_variance(outcomes_of(some), some.runs, some.budget, bootstrap=500)
            rows.append(interval_row(found.init, step=step, fixed="by the state at the fork"))
    return rows


def _lines(rows: Rows, x: str, x_title: str, y_title: str, colour: str, domain: list[float]) -> Any:
    """Lines through points with 95% bars, one for each value of `colour`."""
    names = list(dict.fromkeys(row[colour] for row in rows))
    scale = alt.Scale(domain=names, range=list(PREDICTOR_COLOURS[: len(names)]))
    base = alt.Chart(data(rows)).encode(
        x=alt.X(x, title=x_title), color=alt.Color(f"{colour}:N", sort=names, scale=scale)
    )
    points = points_with_intervals(
        base, y_title, scale=alt.Scale(domain=domain), mark={"size": 40}, stroke=1.5, is_joined=True
    )
    return points.properties(width=330, height=260)
