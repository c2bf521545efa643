"""The page in a real browser: what it shows is what the analysis says, however one gets there."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from analysis.outcomes.incidence import incidence
from tests.page.shown import HOSTILE, METRIC, chosen, given, outcome_of, place


def rows_shown(page):
    return page.value(
        "[...document.querySelectorAll('.space .row')].map((row) => [...row.children].map((x) => x.textContent.trim()))"
    )


def test_the_columns_in_the_browser_are_those_of_the_analysis(analysis, address, tab):
    page = tab()
    page.open(address)
    history, outcomes = analysis.history, analysis.outcomes
    seeds = page.value("Array.from(seedbed.sweep.columns.init_seed, String)")
    assert seeds == [str(run.init_seed) for run in history.runs]
    columns = page.value(
        "Object.fromEntries(Object.entries(seedbed.sweep.columns).map(([k, v]) => [k, Array.from(v, Number)]))"
    )
    assert page.value("seedbed.sweep.texts.run_id") == [run.run_id for run in history.runs]
    assert columns["upper"] == outcomes.upper_R.tolist()
    for number, window in enumerate(analysis.evaluation.windows):
        codes_R = np.array(columns[f"held_out_{number}"])
        np.testing.assert_allclose(codes_R[window.scored_R] / 1e4, window.probability_N["ridge_time"], atol=6e-5)
        assert set(codes_R[~window.scored_R]) <= {65535}
    for metric in (METRIC, "train_loss", "induction_score.l0h1"):
        read = page.value(f"seedbed.sweep.metric('{metric}').then((m) => [m.steps, [...m.values].map(String)])")
        kept_T = ~np.all(np.isnan(history.values[metric]), axis=0)
        assert read[0] == history.steps_T[kept_T].tolist()
        found_RT = np.array(read[1], float).reshape(len(history.runs), -1)
        tolerance = 1e-6 if metric == METRIC else 1e-3
        np.testing.assert_allclose(found_RT, history.values[metric][:, kept_T], rtol=tolerance, atol=tolerance)


def test_the_first_screen_says_in_words_what_the_analysis_found(analysis, address, tab):
    page = tab()
    page.open(address)
    words = page.text("#findings")
    assert f"{analysis.outcomes.count('converged')} of 72 runs converged" in words
    assert f"{analysis.evaluation.windows[1].scores['ridge_time'].auroc_within.value:.2f}".lstrip("0") in words
    assert "At a quarter of training" in words
    assert page.value("document.querySelector('#runs-title').getBoundingClientRect().top") < 2 * 900


def test_hovering_names_a_run_and_a_click_opens_it(analysis, address, tab):
    page = tab()
    page.open(address)
    history = analysis.history
    last = history.steps_T.tolist().index(1000)
    run = int(np.nanargmin(history.values[METRIC][:, last]))
    at = place(page, 1000, float(history.values[METRIC][run, last]))
    page.hover(*at)
    assert history.runs[run].run_id in page.text("#tip")
    page.mouse("mousePressed", *at)
    page.mouse("mouseReleased", *at)
    page.drawn()
    panel = page.text("#run")
    assert f"Run {history.runs[run].run_id}" in panel
    assert outcome_of(analysis)[history.runs[run].run_id] in panel
    after, by = int(analysis.outcomes.lower_R[run]), int(analysis.outcomes.upper_R[run])
    first = after if after < by else 0
    folder = "--results 'results/it'\"'\"'s here'"
    assert f"seedbed replay {history.runs[run].run_id} --from {first} --to {by} --every 5 {folder}" in panel
    assert "optimiser.lr" in panel
    page.wait("document.querySelectorAll('.small-plots canvas').length >= 10")
    page.key("Escape")
    assert page.value("document.querySelector('#run').hidden")


def test_the_table_sorts_walks_by_keys_and_is_exported(analysis, address, tab):
    page = tab()
    page.open(address)
    headers = page.value("[...document.querySelectorAll('.head button')].map((one) => one.textContent)")
    assert headers == ["run", "lr", "kind", "seed", "outcome", "by step", "P(converged)"]
    page.value("document.querySelector('[data-key=by_step] button').click()")
    page.drawn()
    upper = dict(zip((run.run_id for run in analysis.history.runs), analysis.outcomes.upper_R.tolist(), strict=True))
    assert [upper[run] for run in chosen(page)] == sorted(upper.values())
    page.value("document.querySelector('[data-key=by_step] button').click()")
    page.drawn()
    assert [upper[run] for run in chosen(page)] == sorted(upper.values(), reverse=True)
    assert page.value("document.querySelector('[data-key=by_step]').getAttribute('aria-sort')") == "descending"
    assert len(rows_shown(page)) < 40
    page.value("document.querySelector('#runs').focus()")
    page.key("End")
    assert rows_shown(page)[-1][0] == chosen(page)[-1]
    page.key("ArrowUp")
    page.key("Enter")
    assert f"Run {chosen(page)[-2]}" in page.text("#run h2")
    page.key("Escape")
    assert page.value("document.activeElement.id") == "runs"
    rows = list(csv.DictReader(io.StringIO(page.value("seedbed.table.csv()"))))
    assert [row["run"] for row in rows] == chosen(page)
    assert {row["run"]: row["outcome"] for row in rows} == outcome_of(analysis)
    assert all(row["model.kind"].startswith("'=<b>") for row in rows)


def test_hostile_names_stay_text(address, tab):
    page = tab()
    page.open(address)
    assert page.value("document.title").startswith(HOSTILE)
    assert page.text("h1") == HOSTILE
    assert page.value("document.querySelectorAll('img, b').length") == 1
    assert page.value("document.querySelector('img').alt").startswith(HOSTILE)
    page.value("seedbed.open(0)")
    page.drawn()
    assert page.value("document.querySelectorAll('img, b').length") == 1


def test_without_scripts_figures_and_tables_are_there(analysis, address, tab):
    page = tab(has_scripts=False)
    page.load(address)
    tree = page.send("DOMSnapshot.captureSnapshot", computedStyles=["display"])
    strings = tree["strings"]
    texts = " ".join(strings[i] for i in tree["documents"][0]["layout"]["text"] if i >= 0)
    assert f"{analysis.outcomes.count('converged')} of 72 runs converged" in texts
    for setting in analysis.settings:
        assert setting.converged_text() in texts
    assert "Learning curves" not in texts
    assert "Without scripts" in texts


@pytest.mark.parametrize("width", [400, 800, 1400])
@pytest.mark.parametrize("is_dark", [False, True])
def test_it_fits_the_screen_in_both_schemes(width, is_dark, address, tab, tmp_path):
    page = tab(width, is_dark=is_dark)
    page.open(address)
    page.drawn()
    assert page.value("document.documentElement.scrollWidth") <= width
    bright = page.value("getComputedStyle(document.body).backgroundColor")
    assert (bright == "rgb(255, 255, 255)") is not is_dark
    assert len(page.screenshot(tmp_path / "page.png")) > 10_000
    # Of the curves' canvas, a part is drawn in colour.
    coloured = page.value(
        """(() => { const c = seedbed.curves.base, p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let n = 0;
        for (let i = 0; i < p.length; i += 4) if (p[i + 3] && Math.abs(p[i] - p[i + 2]) > 60) n += 1;
        return n; })()"""
    )
    assert coloured > 300
    page.value("document.querySelector('#theme').click()")
    page.value(given("#drawing", "setting", "change"))
    page.drawn()
    assert page.value("getComputedStyle(document.body).backgroundColor") != bright
    assert page.value("document.querySelectorAll('#bands-legend tbody tr').length") == 3
    assert page.value("document.documentElement.scrollWidth") <= width


def test_everything_that_can_be_used_has_a_name_and_takes_the_keyboard(address, tab):
    page = tab()
    page.open(address)
    tree = page.send("Accessibility.getFullAXTree")["nodes"]
    usable = ("button", "textbox", "searchbox", "combobox", "checkbox", "grid", "spinbutton", "image", "link")
    nodes = [node for node in tree if not node["ignored"] and node.get("role", {}).get("value") in usable]
    assert len(nodes) > 20
    assert not [node for node in nodes if not node.get("name", {}).get("value")]
    page.key("Tab")
    assert page.text(":focus") == "Skip to the table of runs"
    reached = []
    for _ in range(12):
        page.send("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
        reached.append(page.value("document.activeElement.id || document.activeElement.textContent"))
    assert reached.index("search") < reached.index("metric") < reached.index("forecast-window")


def test_the_policy_stops_a_script_that_is_not_the_pages(address, tab):
    page = tab()
    page.open(address)
    page.value("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 1'}))")
    assert page.value("window.hit") is None
    assert any("Content Security Policy" in error for error in page.errors())
    page.forget()


def test_estimates_in_the_browser_are_those_of_the_analysis(analysis, address, tab):
    page = tab()
    page.open(address)
    all_runs = incidence(analysis.outcomes, analysis.history.runs, bootstrap=0)
    shown = page.text("#incidence-note")
    assert f"{100 * all_runs.converged_T[-1]:.0f}% converged by the budget" in shown


def test_a_log_axis_of_a_narrow_range_has_round_numbers(address, tab):
    page = tab()
    page.open(address)
    told = page.value(
        """(() => {
        const c = seedbed.curves, drawing = CanvasRenderingContext2D.prototype, real = drawing.fillText, told = [];
        drawing.fillText = function (text, ...where) { told.push(text); real.call(this, text, ...where); };
        c.isLog = true;
        c.layout();
        [c.y.low, c.y.high] = [Math.log10(0.83), Math.log10(1.02)];
        c.clipped(c.base, true);
        drawing.fillText = real;
        return told; })()"""
    )
    assert told[:4] == ["0.85", "0.9", "0.95", "1"]
