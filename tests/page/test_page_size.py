"""A report has at most 5 MB: each part keeps to its share at the largest it is given, and says what it left out."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from analysis.outcomes.outcomes import decide_outcomes
from analysis.page import size
from analysis.page.attention import shown_maps
from analysis.page.data import PageSource, page_data
from analysis.page.html import ShownFigure, StaticPart, page_html
from analysis.page.sampled import MOST_METRICS, MOST_STEPS, PagePart
from analysis.report.fitting import facts_that_fit, figures_that_fit, settings_that_fit, windows_that_fit
from analysis.report.report import render_html
from analysis.summary.analyse import Analysis
from analysis.summary.settings import SettingSummary
from analysis.uncertainty.intervals import Estimate
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History, RunEnd, RunInfo

RNG = np.random.default_rng(0)
LONG = "<a value of a hyperparameter & its name>" * 3


def history_of(num_runs, num_steps, num_metrics):
    """Noise: every run of a setting of its own, whose values are long."""
    runs = tuple(
        RunInfo(f"{r:016x}", f"s{r}", 2**62 + r, 2**62 - r, {"model.name": f"{r} {LONG}"}, f"{r:016x}", 100)
        for r in range(num_runs)
    )
    steps_T = np.arange(1, num_steps + 1) * 50
    values = {"label_excess": RNG.uniform(0, 2, (num_runs, num_steps))}
    values |= {f"metric_{m}": RNG.normal(size=(num_runs, num_steps)) for m in range(num_metrics - 1)}
    ends = tuple(RunEnd("budget", int(steps_T[-1])) for _ in runs)
    return History("large", int(steps_T[-1]), runs, ends, steps_T, values, ("model.name",))


def analysis_of(history):
    estimate = Estimate(0.5, 0.25, 0.75)
    settings = tuple(
        SettingSummary(f"s{n}", f"{n} {LONG}", 9, 3, 2, 2, 2, estimate, False, False, 10.0, "Wilson", 5.0)
        for n in range(3_000)
    )
    provenance = {"sources": {f"{n} {LONG}": {"folder": LONG, "sweep_id": "x"} for n in range(2_000)}}
    outcomes = decide_outcomes(history, Criterion("label_excess", at_most=0.01, evaluations=2))
    return Analysis(history, outcomes, settings, {}, None, "no seeds", provenance)


class Maps:
    """Maps of every run at 50 steps, as large as a page may hold of one step or so."""

    def __init__(self, length):
        self.shape = (1, 4, length, length)

    def snapshots(self):
        return self

    def of(self, run_id, kind):
        return dict.fromkeys(range(50))

    def read(self, run_id, step, kind):
        return {name: RNG.uniform(size=self.shape) for name in ("layer0", "layer1")}


def svg_of(num_points):
    """A path of so many points that is drawn quickly, and is small as PNG."""
    points = "L".join(f"{x:.1f},0.{n:06d}" for n, x in enumerate(np.linspace(0, 300, num_points)))
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="30"><path d="M{points}"/></svg>'


@pytest.mark.parametrize(
    ("runs", "steps", "metrics"), [(1_500, 60, 16), (3_000, 130, 1), (1_400, 140, 2), (4, 900, 80)]
)
def test_a_report_of_the_largest_parts_has_at_most_5_MB(runs, steps, metrics):
    analysis = analysis_of(history_of(runs, steps, metrics))
    held = PagePart.of(analysis.history, "label_excess").rows
    places, maps, _ = shown_maps([Maps(60)], [analysis.history.runs[r].run_id for r in held])
    figures = [ShownFigure(f"figure_{n}", "A title", "A text. " * 20, svg_of(25_000)) for n in range(4)]
    source = PageSource("folder", tuple(places), maps)
    assert len(render_html(analysis, figures, source).encode()) <= size.MOST_BYTES
    data = page_data(analysis, source)
    of_runs = sum(size.AS_TEXT * len(blob) for name, blob in data.blobs.items() if name != "attention")
    assert of_runs + len(page_html(replace(data, blobs={}), StaticPart()).encode()) - 170_000 <= size.RUNS_SHARE
    assert size.AS_TEXT * len(maps) <= size.MAPS_SHARE
    shown = figures_that_fit(figures)
    assert sum(len(figure.data_uri) for figure in shown) <= size.FIGURES_SHARE
    assert any(figure.png for figure in shown)


def test_what_is_left_out_is_said():
    history = history_of(4, 900, 80)
    data = page_data(analysis_of(history))
    assert f"Of 80 metrics the page holds {MOST_METRICS}." in data.state["left_out"]
    assert f"at most {MOST_STEPS} steps" in data.state["left_out"]
    # All runs are there, and only metrics and steps are not.
    assert not data.state["is_sample"]
    settings, said = settings_that_fit(analysis_of(history).settings)
    assert 100 < len(settings) < 1000
    assert said.startswith(f"The table has {len(settings)} of 3,000 settings")
    assert settings_that_fit(settings[:5]) == (settings[:5], "")
    facts, said = facts_that_fit({f"{n}": LONG for n in range(5_000)})
    assert 10 < len(facts) < 1_000
    assert said.startswith(f"The table has {len(facts)} of 5,000 facts")
    assert facts_that_fit({"a": "b"}) == ({"a": "b"}, "")
    windows, said = windows_that_fit([{"rows": "x" * 10_000}] * 40)
    assert len(windows) == 3
    assert said.startswith("There are tables of 3 of 40 windows")
    text = render_html(analysis_of(history), [], PageSource("folder", (0,), b"", "Maps are thinned."))
    assert "Maps are thinned.</p>" in text
    assert re.search(r"<p class=.note.>The table has [0-9]+ of [0-9,]+ facts", text)


def test_maps_that_are_larger_than_their_share_are_thinned_by_step_and_then_left_out():
    places, blob, said = shown_maps([Maps(150)], ["a", "b"])
    assert places == [0]
    assert "maps of 1 of the 2 runs here that kept some, at 3 of 50 steps, evenly spaced" in said
    assert size.AS_TEXT * len(blob) <= size.MAPS_SHARE
    assert shown_maps([Maps(400)], ["a", "b"]) is None


def test_a_figure_that_is_too_large_even_as_png_is_named_instead():
    figure = ShownFigure("learning_curves", "A title", "A text.", svg_of(5_000))
    (shown,) = figures_that_fit([figure], most_bytes=500)
    assert not shown.svg
    assert shown.text == "It is too large for this page, and stands in learning_curves.svg. A text."
    assert figures_that_fit([figure]) == [figure]
