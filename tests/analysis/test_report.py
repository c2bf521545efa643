"""The report: self-contained, escaped, and there for every sweep; the figures say what they are about."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from analysis.figures.figures import figures, specification, to_svg
from analysis.figures.style import OUTCOME_COLOURS, OUTCOME_DASHES, PREDICTOR_COLOURS, PREDICTOR_SHAPES
from analysis.page.html import ShownFigure
from analysis.report.report import render_html, write_report
from analysis.summary.analyse import analyse
from pipeline.store.history import RunEnd
from tests.analysis.synthetic import drop_runs, synthetic_history
from tests.analysis.test_live import LIVE

HOSTILE = "</script><script>alert('x')</script>\"><img src=x onerror=alert(1)> & co"
PROVENANCE = {"sweep_id": "abc123", "git_commit": "0123456789abcdef", "versions": {"numpy": HOSTILE}}
NAMES = (
    "discrimination",
    "learning_curves",
    "converged_fraction",
    "times_to_convergence",
    "attention_progress",
    "forecast_quality",
    "calibration",
)


class Page(HTMLParser):
    """Every tag with its attributes, and the text of every script and style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open:
            self.texts.append((self._open, self.tags[-1][1], data))


def drawn_by_name(analysis):
    return {figure.name: figure for figure in figures(analysis)}


@pytest.fixture(scope="module")
def analysis():
    history = synthetic_history(3, 12, name=HOSTILE)
    runs = tuple(
        replace(run, hyperparameters=dict(run.hyperparameters) | {"model.kind": f"<b>{run.setting_id}</b>"})
        for run in history.runs
    )
    return analyse(replace(history, runs=runs, varied=("optimiser.lr", "model.kind")), provenance=PROVENANCE)


@pytest.fixture(scope="module")
def folder(analysis, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(analysis, folder / "made")
    return folder / "made"


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_every_figure_is_there_as_png_and_svg(folder):
    for name in NAMES:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"{name}.svg").read_text(encoding="utf-8")


def test_a_report_is_private_and_that_of_a_shared_folder_is_shared(analysis, folder, tmp_path):
    results = tmp_path / "shared"
    results.mkdir()
    results.chmod(0o770)
    shared = write_report(analysis, results / "report").parent
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    for made, mode, expected in ((folder, 0o700, 0o600), (shared, 0o770, 0o660)):
        assert {each.stat().st_mode & 0o777 for each in made.iterdir()} == {expected}
        assert made.stat().st_mode & 0o777 == mode


def test_a_hostile_name_stays_text(page, folder):
    kinds = [tag for tag, _ in page.tags]
    assert [attrs.get("id") for tag, attrs in page.tags if tag == "script" and not attrs.get("type")] == [None]
    assert kinds.count("img") == len(NAMES)
    assert "b" not in kinds
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert html.escape(HOSTILE, quote=False).split("&#")[0][:30] in (folder / "report.html").read_text(encoding="utf-8")


def test_nothing_remote_is_loaded(page):
    for _, attrs in page.tags:
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            assert attrs.get(key, "data:").startswith(("data:", "#"))
    assert not any(tag in ("link", "iframe", "object", "embed", "base") for tag, _ in page.tags)
    for kind, _, text in page.texts:
        assert kind != "style" or not re.search(r"url\(|@import", text)


def test_the_policy_admits_these_scripts_and_no_load(page):
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    script_rule = next(rule for rule in policy.split(";") if rule.strip().startswith("script-src"))
    assert "unsafe-inline" not in script_rule
    for kind, attrs, text in page.texts:
        if kind == "script" and not attrs.get("type", "").startswith("application/"):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in script_rule


def test_every_figure_states_sweep_runs_and_commit(analysis):
    for figure in figures(analysis):
        subtitle = " ".join(figure.chart.to_dict()["title"]["subtitle"])
        assert "36 runs" in subtitle
        assert "0123456789ab" in subtitle
        assert "alert" in subtitle
    by_name = {figure.name: " ".join(figure.chart.to_dict()["title"]["subtitle"]) for figure in figures(analysis)}
    for name in ("forecast_quality", "calibration"):
        assert "0.05 (100), 0.1 (200), 0.25 (500), 0.5 (1000)" in by_name[name]
        assert "variation from training them is not included" in by_name[name]


def test_outcomes_differ_by_dash_and_predictors_by_shape_and_neither_by_colour_alone(analysis):
    drawn = {figure.name: specification(figure) for figure in figures(analysis)}
    for name in ("learning_curves", "converged_fraction", "attention_progress"):
        assert '"strokeDash": {"field": "outcome"' in drawn[name]
    assert '"shape": {"field": "predictor"' in drawn["forecast_quality"]
    assert not set(OUTCOME_COLOURS.values()) & set(PREDICTOR_COLOURS)
    for table in (OUTCOME_DASHES.values(), PREDICTOR_SHAPES):
        assert len({str(value) for value in table}) == len(table)


def test_panels_state_how_many_runs_of_each_outcome_they_show(analysis):
    setting = analysis.settings[0]
    panel = f"n=12: {setting.num_converged} converged"
    for name in ("learning_curves", "converged_fraction"):
        assert panel in next(specification(figure) for figure in figures(analysis) if figure.name == name)
    progress = next(figure for figure in figures(analysis) if figure.name == "attention_progress")
    assert f"{analysis.outcomes.count('converged')} converged" in " ".join(
        progress.chart.to_dict()["title"]["subtitle"]
    )


def test_an_unfinished_sweep_has_no_forecast_figures_and_they_say_why():
    history = synthetic_history(2, 12, diverge_share=0.0)
    ends = tuple(RunEnd("running", 1900) for _ in history.ends)
    values = {name: np.where(history.steps_T > 1900, np.nan, array) for name, array in history.values.items()}
    analysis = analyse(replace(history, ends=ends, values=values), bootstrap=5)
    drawn = {figure.name: figure for figure in figures(analysis)}
    for name in ("discrimination", "forecast_quality", "calibration"):
        assert drawn[name].chart is None
        assert "none was watched to the budget, so what becomes of slow ones is not known" in drawn[name].text


def test_the_page_holds_every_figure_as_a_picture_with_a_text_in_its_place(analysis, page):
    texts = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    assert sorted(texts) == sorted(f"{figure.title}. {figure.text}" for figure in figures(analysis))
    images = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(images) == len(NAMES)
    assert all(b"<svg" in base64.b64decode(src.split(",")[1]) for src in images)


def test_figures_without_data_say_why(tmp_path):
    history = synthetic_history(1, 4, metrics=False)
    one = drop_runs(history, np.arange(4) == 0)
    excess = np.where(np.isnan(one.values["label_excess"]), np.nan, 1.0)
    analysis = analyse(replace(one, values={"label_excess": excess}))
    reasons = {figure.name: figure.text for figure in figures(analysis) if figure.chart is None}
    assert set(reasons) == {
        "discrimination",
        "times_to_convergence",
        "attention_progress",
        "forecast_quality",
        "calibration",
    }
    text = write_report(analysis, tmp_path).read_text(encoding="utf-8")
    for reason in reasons.values():
        assert html.escape(reason) in text


def test_hundreds_of_runs_are_thinned_out_and_the_figure_says_so():
    history = synthetic_history(14, 90)
    figure = drawn_by_name(analyse(history, windows=(0.1,), bootstrap=2))["learning_curves"]
    document = figure.chart.to_dict()
    subtitle = " ".join(document["title"]["subtitle"])
    assert "360 of 1260 runs drawn" in subtitle
    assert "12 of 14 settings shown" in subtitle
    assert len(specification(figure)) < 4e6


def test_a_regression_task_shows_its_alignment():
    history = synthetic_history(2, 6)
    values = {m: a for m, a in history.values.items() if ".l" not in m}
    values["gd_alignment"] = history.values["induction_score.l0h0"].copy()
    figure = drawn_by_name(analyse(replace(history, values=values), windows=(0.1,), bootstrap=2))["attention_progress"]
    assert figure.title.startswith("The alignment with gradient descent ends at ")
    assert "alignment with gradient descent" in to_svg(figure)


CEILING = tuple(
    {"window": share, "step": int(2000 * share), "auroc": auroc, "low": auroc - 0.02, "high": high, "parents": 64}
    | {"children": 20}
    for share, auroc, high in ((0, 0.95, None), (0.1, 0.97, 0.99))
)


def rows_of(figure):
    """The rows that are drawn."""
    sources = json.loads(specification(figure))["datasets"].values()
    return [row for rows in sources for row in rows if "low" in row]


def test_the_first_figure_sets_the_forecast_between_losses_and_what_is_possible(analysis):
    figure = figures(replace(analysis, ceiling=CEILING))[0]
    rows = rows_of(figure)
    for window in analysis.evaluation.windows:
        found = {row["line"]: row for row in rows if row["share"] == window.fraction}
        for line, name in (("forecast (ridge_time)", "ridge_time"), ("losses alone", "last_loss")):
            expected = window.scores[name].auroc_within
            assert found[line]["value"] == pytest.approx(expected.value, rel=1e-3)
            assert found[line]["low"] == pytest.approx(expected.low, rel=1e-3)
    best = {row["share"]: row for row in rows if row["line"] == "best possible (forks)"}
    assert {share: row["value"] for share, row in best.items()} == {0: 0.95, 0.1: 0.97}
    assert best[0]["high"] is None
    assert "64 x 20 forks at 0%, 64 x 20 forks at 10%" in " ".join(figure.chart.to_dict()["title"]["subtitle"])
    without = figures(analysis)[0]
    assert "best possible (forks)" not in specification(without)
    assert "not measured" in " ".join(without.chart.to_dict()["title"]["subtitle"])


def test_a_sweep_in_training_shows_the_runs_that_are_least_certain_and_counts_the_rest(analysis):
    empty = ShownFigure("empty", "nothing", "no data", "")
    page = render_html(replace(analysis, forecasts=LIVE), [empty])
    known = [run for run in LIVE.runs if not run.problem]
    shown = [run for run in known if f"<td>{run.run_id}</td>" in page]
    others = [run for run in known if run not in shown]
    assert len(shown) == 20
    assert max(abs(run.converged - 0.5) for run in shown) <= min(abs(run.converged - 0.5) for run in others)
    assert f"{len(others)} more runs have a forecast nearer to 0 or 1" in page
    early = len(LIVE.runs) - len(known)
    assert f"of {len(known)} runs in training converge, from windows 0.25-0.5; {early} more have no forecast" in page
    assert "<h2>Runs in training" not in render_html(analysis, [empty])


def test_no_figure_shows_what_javascript_makes_of_nothing(tmp_path):
    """The first window is that of step 0, whose share Python writes as 0.0 and JavaScript as 0."""
    analysis = analyse(synthetic_history(), provenance={}, windows=(0.0, 0.25), bootstrap=20)
    folder = write_report(analysis, tmp_path).parent
    texts = {path.name: path.read_text() for path in folder.glob("*.svg")}
    assert ">0%<" in texts["discrimination.svg"]
    assert not [name for name, text in texts.items() if re.search(r">(undefined|NaN|null)\b", text)]
