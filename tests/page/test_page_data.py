"""What the page is made of: columns and their precision, sentences, one script, everything escaped."""

from __future__ import annotations

import gzip
import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.forecasting.evaluation import PRIMARY
from analysis.page.attention import shown_maps
from analysis.page.columns import metric_blob, quantised
from analysis.page.data import page_data
from analysis.page.findings import findings, ordered, outcome_findings
from analysis.page.html import StaticPart, content_policy, page_html
from analysis.page.sampled import PagePart
from analysis.page.script import page_script, page_style, sha256_source
from analysis.predictors.base import PREDICTORS
from analysis.summary.analyse import analyse
from benchmarks.page import measure
from pipeline.store.history import RunEnd
from tests.analysis.synthetic import synthetic_history

FOLDER = Path(__file__).resolve().parents[2] / "analysis" / "page"
MODULES = sorted((FOLDER / "js").glob("*.js"))
RNG = np.random.default_rng(0)
VALUES = {
    "even": RNG.uniform(2, 3, (20, 30)),
    "decades": 10 ** RNG.uniform(-6, 4, (20, 30)),
    "signed decades": RNG.choice([-1, 1], (20, 30)) * 10 ** RNG.uniform(-4, 8, (20, 30)),
    "zeros and ones": RNG.integers(0, 2, (20, 30)).astype(float),
    "constant": np.full((20, 30), 7.0),
}


@pytest.fixture(scope="module")
def analysis():
    predictors = {name: PREDICTORS[name]() for name in ("last_loss", "ridge_time")}
    return analyse(synthetic_history(3, 12), windows=(0.1, 0.25), predictors=predictors, bootstrap=5)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("bits", [8, 16])
def test_shown_values_are_as_near_as_the_page_says(name, bits):
    values = VALUES[name].copy()
    values[3, 4:9] = [np.nan, np.inf, -np.inf, np.nan, np.nan]
    coded = quantised(values, bits)
    found, is_finite = coded.values(), np.isfinite(values)
    np.testing.assert_array_equal(np.isfinite(found), is_finite)
    error = np.abs(found - values)[is_finite]
    size = 1.0 if coded.scale == "linear" else np.maximum(np.abs(values[is_finite]), coded.unit)
    if coded.scale == "asinh":
        size = np.hypot(values[is_finite], coded.unit)
    assert (error <= coded.half_step * size * (1 + 1e-6) + 1e-12).all()
    assert coded.half_step < {8: 0.15, 16: 6e-4}[bits]


def test_scales_follow_the_values():
    assert {name: quantised(values, 8).scale for name, values in VALUES.items()} == {
        "even": "linear",
        "decades": "log",
        "signed decades": "asinh",
        "zeros and ones": "linear",
        "constant": "linear",
    }


def test_the_metric_that_outcomes_are_judged_by_is_exact_and_steps_without_it_are_left_out():
    values = RNG.normal(size=(4, 3))
    values[:, 1] = np.nan
    text = gzip.decompress(metric_blob("label_excess", np.array([0, 10, 20]), values, None))
    (length,) = struct.unpack("<I", text[:4])
    header = json.loads(text[4 : 4 + length])
    start = -(-(4 + length) // 8) * 8
    planes = np.frombuffer(text[start : start + 4 * 8], np.uint8).reshape(4, 8)
    np.testing.assert_array_equal(planes.T.copy().view(np.float32).reshape(4, 2), values[:, [0, 2]].astype(np.float32))
    assert header["steps"] == [0, 20]
    assert header["scale"] == "exact"


def test_of_many_values_only_the_judged_metric_is_kept_exactly(monkeypatch):
    history = synthetic_history(2, 6)
    predictors = {"base_rate": PREDICTORS["base_rate"]()}
    analysis = analyse(history, windows=(0.25,), predictors=predictors, bootstrap=2)
    small = page_data(analysis).blobs
    monkeypatch.setattr("analysis.page.data.MANY_VALUES", 10)
    large = page_data(analysis).blobs
    place = page_data(analysis).state["metrics"].index("label_excess")
    assert large[f"metric_{place}"] == small[f"metric_{place}"]
    others = [name for name in small if name not in ("runs", f"metric_{place}")]
    assert sum(len(large[name]) for name in others) < 0.7 * sum(len(small[name]) for name in others)


def test_findings_are_the_numbers_of_the_analysis(analysis):
    first, second, third = findings(analysis)
    windows = tuple(replace(window, extra_compute=0.05) for window in analysis.evaluation.windows)
    costly = findings(replace(analysis, evaluation=replace(analysis.evaluation, windows=windows)))
    assert costly[2] == third.replace(").", ", with look-aheads that cost 5.0% of a run's training more).")
    outcomes = analysis.outcomes
    assert first.startswith(f"{outcomes.count('converged')} of 36 runs converged")
    assert f"{outcomes.count('diverged')} diverged" in first
    shares = [setting.num_converged / setting.num_runs for setting in analysis.settings]
    assert f"from {min(shares):.0%}" in second
    assert f"to {max(shares):.0%}" in second
    window = analysis.evaluation.windows[1]
    assert third.startswith("At a quarter of training a forecast orders ")
    assert ordered(window.scores["ridge_time"].auroc_within.value) in third
    assert f"n = {window.num_scored}" in third


def test_runs_in_training_are_neither_censored_nor_judged_by_shares():
    history = synthetic_history(2, 4, diverge_share=0.0)
    ends = tuple(RunEnd("running", 100) for _ in history.ends)
    values = {name: np.where(history.steps_T > 100, np.nan, array) for name, array in history.values.items()}
    analysis = analyse(replace(history, ends=ends, values=values), bootstrap=2)
    assert outcome_findings(analysis.history, analysis.outcomes) == ["0 of 8 runs converged (8 not ended)."]


def test_a_number_of_pairs_is_told_as_it_is():
    told = {0.5: "about 50 of 100", 0.624: "about 62 of 100", 0.86: "about 86 of 100", 0.996: "more than 99 of 100"}
    for auroc, words in told.items():
        assert ordered(auroc) == f"{words} pairs"
    assert ordered(1.0) == "all pairs"


def test_the_page_runs_its_own_script_alone_and_needs_no_eval(analysis):
    text = page_html(page_data(analysis), StaticPart())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1].replace("&#39;", "'")
    assert policy == content_policy(is_live=False)
    assert "unsafe" not in policy
    assert "connect-src 'none'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert f"script-src {sha256_source(script)}" in policy
    assert f"style-src {sha256_source(style)}" in policy
    assert not re.search(r"\beval\(|new Function|innerHTML|document\.write|https?://", page_script() + page_style())


def test_the_script_holds_every_module_once_and_imports_nothing():
    script = page_script()
    for module in MODULES:
        assert script.count(f"const module_{module.stem} = ") == 1
        assert len(module.read_text(encoding="utf-8").splitlines()) < 300, module.name
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)


def test_what_the_first_curves_need_comes_before_the_script_and_the_rest_after_it(analysis):
    data = page_data(analysis)
    text = page_html(data, StaticPart())
    script = text.index("<script>(() =>")
    judged = data.state["metrics"].index("label_excess")
    before = {name for name in data.blobs if text.index(f'id="blob-{name}"') < script}
    assert before == {"runs", f"metric_{judged}"}
    assert all(text.count(f'id="blob-{name}"') == 1 for name in data.blobs)


class Maps:
    """Snapshots of two runs, one layer of two heads, of which only the first run's maps were kept."""

    first_BHLL = RNG.uniform(size=(3, 2, 4, 4))

    def of(self, run_id, kind):
        return {0: None, 50: None} if (run_id, kind) == ("a", "attention") else {}

    def read(self, run_id, step, kind):
        return {"layer0": self.first_BHLL * (1 if step == 0 else 0.5)}


class Stored:
    def snapshots(self):
        return Maps()


def test_attention_maps_are_those_of_the_first_item_of_the_runs_that_kept_some():
    runs, blob, said = shown_maps([Stored()], ["b", "a"])
    assert (runs, said) == ([1], "")
    text = gzip.decompress(blob)
    (length,) = struct.unpack("<I", text[:4])
    header = json.loads(text[4 : 4 + length])
    entries = [json.loads(entry) for entry in header["texts"]["entries"]]
    assert [(entry["run"], entry["step"], entry["heads"], entry["length"]) for entry in entries] == [
        (1, 0, 2, 4),
        (1, 50, 2, 4),
    ]
    start = -(-(4 + length) // 8) * 8
    codes = np.frombuffer(text[start : start + 64], np.uint8)
    np.testing.assert_allclose(codes[:32].reshape(2, 4, 4) / 255, Maps.first_BHLL[0], atol=0.002)
    np.testing.assert_allclose(codes[32:].reshape(2, 4, 4) / 255, Maps.first_BHLL[0] / 2, atol=0.002)
    assert shown_maps([Stored()], ["b"]) is None


def test_a_page_holds_no_more_maps_than_it_has_room_for(monkeypatch):
    monkeypatch.setattr(Maps, "of", lambda self, run_id, kind: {0: None})
    monkeypatch.setattr("analysis.page.attention._MOST_BYTES", 3 * 132)
    runs, _, said = shown_maps([Stored()], [str(number) for number in range(100)])
    assert runs == [0, 50, 99]
    assert "of 3 of the 100 runs" in said


def test_the_page_of_a_budget_leads_to_those_of_the_others(analysis):
    pages = [("All budgets", "../report/report.html"), ("Budget 30", None), ("Budget 60", "../60/report.html?a&b")]
    text = page_html(page_data(analysis), StaticPart(), pages=pages)
    assert '<a href="../report/report.html">All budgets</a>' in text
    assert '<span aria-current="page">Budget 30</span>' in text
    assert '<a href="../60/report.html?a&amp;b">Budget 60</a>' in text


def test_the_document_shows_the_page_as_it_was_measured():
    text = measure.PAGE.read_text(encoding="utf-8")
    assert measure.with_figures(text, measure.kept()) == text
    figures = measure.kept()["figures"]
    assert figures["bytes"] <= 15e6
    assert figures["server_share"] <= 0.02


def test_a_page_of_more_runs_than_fit_holds_an_even_sample_and_says_so(monkeypatch):
    history = synthetic_history(3, 40)
    analysis = analyse(history, windows=(0.25,), predictors={PRIMARY: PREDICTORS[PRIMARY]()}, bootstrap=2)
    whole = page_data(analysis)
    assert (whole.state["left_out"], whole.state["is_sample"]) == ("", False)
    assert 'id="left-out"' not in page_html(whole, StaticPart())
    most = 45_000
    monkeypatch.setattr("analysis.page.sampled.RUNS_SHARE", most)
    monkeypatch.setattr("analysis.page.data.MANY_VALUES", 0)
    rows = PagePart.of(history, "label_excess").rows
    data = page_data(analysis)
    assert 6 < len(rows) < 60
    settings = np.array([run.setting_id for run in history.runs])[rows]
    assert np.ptp(np.unique(settings, return_counts=True)[1]) <= 1
    assert f"this page hold {len(rows)} of the 120 runs, evenly spaced within each setting" in data.state["left_out"]
    assert (data.state["num_runs"], data.state["is_sample"]) == (len(rows), True)
    assert data.state["findings"] == whole.state["findings"]
    assert [history.runs[r].run_id for r in rows] == read_header(data.blobs["runs"])["texts"]["run_id"]
    assert sum(4 * len(blob) / 3 for name, blob in data.blobs.items()) < most
    assert 'id="left-out"' in page_html(data, StaticPart())


def read_header(blob):
    content = gzip.decompress(blob)
    (length,) = struct.unpack("<I", content[:4])
    return json.loads(content[4 : 4 + length])
