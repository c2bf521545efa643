"""The two times of the grokking example, when training pairs are fitted and when held-out ones are right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import altair as alt
import numpy as np

from analysis.figures.style import Figure, Rows, captioned, data, finish
from analysis.forecasting.evaluation import PRIMARY, WindowEvaluation, evaluate
from analysis.forecasting.scoring.score_table import FEWEST_PAIRS
from analysis.outcomes.outcomes import CONVERGED, Outcomes, decide_outcomes
from analysis.outcomes.settings import setting_labels
from pipeline.arrays import Bools
from pipeline.spec.sweep import SweepSpec
from pipeline.store.history import History

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "grokking.svg"
MARKERS = ("<!-- grokking: begin -->", "<!-- grokking: end -->")
# What a forecast must beat: it knows the setting of a run alone.
RATE = "setting_rate"
# Measured with the compiled engine on a processor with AVX-512, beside other work.
COST = "24,000 steps, of four runs, took one core 92 s"
REACHED = {True: "reached both", False: "not the second within the budget"}
HEADER = [
    f"| window | at risk, of them right by the budget | AUROC, {PRIMARY} | {RATE} | Brier skill of {PRIMARY} "
    "| AUROC in a setting | pairs there |",
    "|---|---|---|---|---|---|---|",
]


@dataclass(frozen=True)
class Times:
    """A finished sweep and its outcomes by both thresholds."""

    history: History
    fitted: Outcomes
    right: Outcomes

    @property
    def both_R(self) -> Bools:
        """(R,) which runs passed both thresholds."""
        return self.fitted.is_kind_R(CONVERGED) & self.right.is_kind_R(CONVERGED)

    @property
    def titles(self) -> tuple[str, str]:
        """Both thresholds, as titles of axes."""
        told = (str(found.criterion).partition(" at ")[0] for found in (self.fitted, self.right))
        first, second = (f"first step with {threshold}" for threshold in told)
        return first, second

    @classmethod
    def of(cls, history: History, spec: SweepSpec) -> Times:
        """By the criterion `fitted` of the sweep file, and by its own."""
        outcomes = decide_outcomes(history, spec.criteria["fitted"].criterion), decide_outcomes(history, spec.criterion)
        assert not any(found.count("censored") for found in outcomes), "grokking is not complete"
        return cls(history, *outcomes)


def picture(times: Times, told_provenance: str) -> Figure:
    """A point for each run at its two times, coloured by setting; on the upper edge those not right by the budget.

    `told_provenance` says where the runs come from.
    """
    labels, budget = setting_labels(times.history), times.history.budget
    points: Rows = [
        {
            "run": run.run_id,
            "setting": labels[run.setting_id],
            "first": float(times.fitted.upper_R[r]),
            "second": float(times.right.upper_R[r]),
            "outcome": REACHED[times.right.kind_R[r] == CONVERGED],
        }
        for r, run in enumerate(times.history.runs)
        if times.fitted.kind_R[r] == CONVERGED
    ]
    first, second = times.titles
    latest = max(float(point["first"]) for point in points) * 1.1
    wide, high = (alt.Scale(domain=[0, most], nice=False) for most in (latest, budget))
    base = alt.Chart(data(points), width=420, height=320)
    runs = base.mark_point(size=55, filled=True, opacity=0.75).encode(
        x=alt.X("first:Q", title=first, scale=wide, axis=alt.Axis(tickCount=6)),
        y=alt.Y("second:Q", title=second, scale=high),
        color=alt.Color("setting:N", title=None, sort=list(labels.values())),
        shape=alt.Shape("outcome:N", title=None, sort=list(REACHED.values())),
        detail="run:N",
    )
    equal = alt.Chart(data([{"first": 0, "second": 0}, {"first": latest, "second": latest}]))
    diagonal = equal.mark_line(color="#999999", strokeDash=[4, 4], strokeWidth=1).encode(x="first:Q", y="second:Q")
    title = finding(times)
    seen = (
        "A point is a run, coloured by setting; dashed: both times are equal; on the upper edge: not within the budget."
    )
    caption = captioned((seen,), (told_provenance,), columns=90)
    return Figure(
        "grokking", title, "Two times of every run, one against the other.", finish(diagonal + runs, title, caption)
    )


def finding(times: Times) -> str:
    """How many runs pass both thresholds, and how much later they pass the second."""
    both_R = times.both_R
    gap = np.median(times.right.upper_R[both_R] - times.fitted.upper_R[both_R])
    num_runs = len(times.history.runs)
    return f"{both_R.sum()} of {num_runs} runs pass both thresholds, the second {gap:,.0f} steps later (median)"


def lines(times: Times) -> Iterator[str]:
    """The picture, what it shows, and how well the second time is forecast from early training."""
    num_runs, budget = len(times.history.runs), times.history.budget
    both = times.both_R
    gap = np.quantile(times.right.upper_R[both] - times.fitted.upper_R[both], [0, 0.5, 1])
    yield f"![The two times of every run]({PICTURE.name})"
    yield ""
    yield f"Each point is one of {num_runs} runs; the dashed line is where both times are equal."
    yield f"{times.fitted.count(CONVERGED)} runs fitted their training pairs within {budget:,} steps, and"
    yield f"{times.right.count(CONVERGED)} got held-out pairs right; of the {both.sum()} that did both, the second came"
    yield f"{gap[1]:,.0f} steps after the first in the median ({gap[0]:,.0f} to {gap[2]:,.0f})."
    yield ""
    found = evaluate(times.history, times.right)
    assert found.reference == RATE
    yield f"Forecasts of the second time from early training ({found.held_out}):"
    yield ""
    yield from HEADER
    yield from (_row(window) for window in found.windows)
    yield ""
    yield f"In brackets: 95% over {found.bootstrap:,} resamples of {found.unit}. {RATE} knows the setting of a run"
    yield "alone; skill is the share of its Brier score that is saved. AUROC in a setting has no interval under"
    yield f"{FEWEST_PAIRS} pairs."
    if not any(window.scores[PRIMARY].brier_skill.low > 0 for window in found.windows):
        yield "At no window is the forecast shown to be better than the share of the setting. Seeds of most settings"
        yield "agree, and few pairs of seeds are left to learn from and to score; more `seeds` are needed to tell which"
        yield f"runs are late. A run takes {budget:,} steps; {COST}."


def _row(window: WindowEvaluation) -> str:
    scores, rate = window.scores[PRIMARY], window.scores[RATE]
    figures = [scores.auroc_pooled, rate.auroc_pooled, scores.brier_skill, scores.auroc_within]
    share = f"{100 * window.fraction:.3g}% (step {window.last_step:,})" if window.fraction else "initialisation"
    cells = [
        f"{window.num_at_risk}, {window.num_converged}",
        *(one.text() for one in figures),
        str(window.pairs_within),
    ]
    return f"| {' | '.join([share, *cells])} |"
