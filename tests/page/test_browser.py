"""The page in a real browser: what it shows is what the analysis says, however one gets there."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from analysis.outcomes.incidence import incidence
from analysis.page.data import PageSource
from analysis.page.html import ShownFigure
from analysis.predictors.base import PREDICTORS
from analysis.report.report import render_html
from analysis.summary.analyse import analyse
from tests.analysis.synthetic import synthetic_history

HOSTILE = "</script><script>alert('x')</script>\"><img src=x onerror=alert(1)> & =co"
METRIC = "label_excess"


@pytest.fixture(scope="module")
def analysis():
    history = synthetic_history(3, 24, name=HOSTILE)
    runs = tuple(
        replace(run, hyperparameters={**run.hyperparameters, "model.kind": f"=<b>{run.setting_id}</b>\"'"})
        for run in history.runs
    )
    history = replace(history, runs=runs, varied=("optimiser.lr", "model.kind"))
    predictors = {name: PREDICTORS[name]() for name in ("last_loss", "ridge_time")}
    return analyse(history, windows=(0.1, 0.25), predictors=predictors, bootstrap=5, provenance={"sweep_id": HOSTILE})


@pytest.fixture(scope="module")
def address(analysis, tmp_path_factory):
    """The page of a report in a file, with one static figure."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60"><rect width="90" height="60"/></svg>'
    drawn = [ShownFigure("discrimination", HOSTILE, "a black box", svg)]
    path.write_text(render_html(analysis, drawn, PageSource("results/it's here")), encoding="utf-8")
    return path.as_uri()


def outcome_of(analysis):
    return dict(zip((run.run_id for run in analysis.history.runs), analysis.outcomes.kind_R.tolist(), strict=True))


def chosen(page):
    """Ids of the chosen runs, in the order of the table."""
    return page.value("seedbed.table.order.map((run) => seedbed.sweep.texts.run_id[run])")


def place(page, step, value):
    """Where a step and a value of the chosen metric stand on the screen."""
    return page.value(
        f"""(() => {{ const c = seedbed.curves, box = c.over.getBoundingClientRect();
        const y = c.y.pixel(c.isLog ? Math.log10({value}) : {value});
        return [box.left + c.x.pixel(c.placed({step})), box.top + y]; }})()"""
    )


def given(selector, value, event):
    """The expression that puts a value into a field and tells it."""
    return (
        f"Object.assign(document.querySelector('{selector}'), {{value: '{value}'}}).dispatchEvent(new Event('{event}'))"
    )


def rows_shown(page):
    return page.value(
        "[...document.querySelectorAll('.space .row')].map((row) => [...row.children].map((x) => x.textContent.trim()))"
    )


def test_the_columns_in_the_browser_are_those_of_the_analysis(analysis, address, tab):
    page = tab()
    page.open(address)
    history, outcomes = analysis.history, analysis.outcomes
    columns = page.value("Object.fromEntries(Object.entries(seedbed.sweep.columns).map(([k, v]) => [k, [...v]]))")
    assert page.value("seedbed.sweep.texts.run_id") == [run.run_id for run in history.runs]
    assert columns["init_seed"] == [run.init_seed for run in history.runs]
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


def test_a_box_on_the_curves_chooses_the_runs_that_pass_there_and_esc_chooses_all(analysis, address, tab):
    page = tab()
    page.open(address)
    start, end = place(page, 1790, 2e-3), place(page, 1960, 0.02)
    page.drag(start, end)
    values_RT = analysis.history.values[METRIC]
    in_T = (analysis.history.steps_T > 1790) & (analysis.history.steps_T < 1960)
    inside_R = ((values_RT > 2.2e-3) & (values_RT < 0.018))[:, in_T].any(axis=1)
    some = {run.run_id for run, is_inside in zip(analysis.history.runs, inside_R, strict=True) if is_inside}
    low = {r.run_id for r, row in zip(analysis.history.runs, values_RT, strict=True) if (row < 0.3).any()}
    assert some
    assert some <= set(chosen(page)) <= low
    assert len(low) < 72
    assert page.text("#count") == f"{len(chosen(page))} of 72 runs"
    page.key("Escape")
    assert len(chosen(page)) == 72


def passes(steps_T, row_T, box):
    """Whether the line through the recorded values has a point in the box (left, right, low, high)."""
    left, right, low, high = box
    at, y = steps_T[np.isfinite(row_T)], row_T[np.isfinite(row_T)]
    ends = np.clip([left, right], at[0], at[-1])
    inside = at[(at >= left) & (at <= right)]
    cuts = np.union1d(inside, ends[(ends >= left) & (ends <= right)])
    values = np.interp(cuts, at, y)
    return len(cuts) > 0 and values.max() >= low and values.min() <= high


def test_a_box_of_any_size_chooses_the_curves_with_a_point_in_it(analysis, address, tab):
    page = tab()
    page.open(address)
    # Of a metric that is recorded at a part of the steps, and every third run at fewer.
    steps, values = page.value(
        """(() => { const m = seedbed.curves.metric; seedbed.curves.isLog = false;
        for (let i = 0; i < m.values.length; i += 1) if (i % 3 === 1 && i % m.steps.length % 4) m.values[i] = NaN;
        return [m.steps, [...m.values].map(String)]; })()"""
    )
    steps_T = np.array(steps)
    values_RT = np.array(values, float).reshape(72, -1)
    draws = np.random.default_rng(0)
    boxes = []
    for _ in range(300):
        left, low = draws.uniform(-100, 2000), draws.uniform(-0.1, 1.1)
        wide, tall = draws.choice([3, 40, 700]), draws.choice([0.003, 0.05, 0.6])
        boxes.append((left, left + draws.uniform(0, wide), low, low + draws.uniform(0, tall)))
    found = page.value(
        f"""{[list(map(float, box)) for box in boxes]}.map(([left, right, low, high]) => {{
        const metric = seedbed.curves.metric;
        seedbed.selection.box = {{metric, isLog: false, steps: [left, right], values: [low, high]}};
        seedbed.selection.apply(); return [...seedbed.selection.mask].join(""); }})"""
    )
    expected = ["".join(str(int(passes(steps_T, row_T, box))) for row_T in values_RT) for box in boxes]
    assert found == expected
    assert 2000 < sum(mask.count("1") for mask in found) < 15000


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


def test_outcomes_settings_probabilities_and_the_search_are_met_together(analysis, address, tab):
    page = tab()
    page.open(address)
    kinds = outcome_of(analysis)
    page.value("document.querySelector('#outcomes button:nth-child(1)').click()")
    page.drawn()
    assert set(chosen(page)) == {run for run, kind in kinds.items() if kind == "converged"}
    page.value("document.querySelector('.setting:nth-child(2)').click()")
    page.drawn()
    of_setting = {run.run_id for run in analysis.history.runs if run.setting_id == "setting-1"}
    assert set(chosen(page)) == of_setting & {run for run, kind in kinds.items() if kind == "converged"}
    page.value(given("#p-low", "0.5", "change"))
    page.drawn()
    window = analysis.evaluation.windows[1]
    probability_R = np.full(72, np.nan)
    probability_R[window.scored_R] = window.probability_N["ridge_time"].round(4)
    likely = {run.run_id for run, p in zip(analysis.history.runs, probability_R, strict=True) if p >= 0.5}
    assert set(chosen(page)) == likely & of_setting & {run for run, kind in kinds.items() if kind == "converged"}
    page.key("Escape")
    page.key("/", "/")
    assert page.value("document.activeElement.id") == "search"
    page.send("Input.insertText", text="seed:3-9 converged")
    page.drawn()
    seeds = {run.run_id for run in analysis.history.runs if 3 <= run.init_seed <= 9}
    assert set(chosen(page)) == seeds & {run for run, kind in kinds.items() if kind == "converged"}
    page.value("document.querySelector('#clear').click()")
    page.drawn()
    page.value(given("#search", "rank>3", "input"))
    page.drawn()
    assert chosen(page) == []
    assert "no hyperparameter is called rank" in page.text("#problem")
    assert not page.value("document.querySelector('#none').hidden")


def test_a_drag_on_the_forecasts_chooses_a_range_of_probabilities(analysis, address, tab):
    page = tab()
    page.open(address)
    box = page.value(
        "(({left, top}) => [left, top])(document.querySelector('#forecasts canvas').getBoundingClientRect())"
    )
    left, right = page.value("[seedbed.forecasts.x.pixel(0.6), seedbed.forecasts.x.pixel(1)]")
    page.drag((box[0] + left, box[1] + 60), (box[0] + right, box[1] + 80))
    window = analysis.evaluation.windows[1]
    found = {r.run_id for r, p in zip(np.array(analysis.history.runs, object)[window.scored_R],
                                      window.probability_N["ridge_time"], strict=True) if p > 0.605}  # fmt: skip
    assert found <= set(chosen(page))
    assert all(
        page.value(f"seedbed.sweep.probability(seedbed.sweep.texts.run_id.indexOf('{run}'), 'held_out_1')") > 0.595
        for run in set(chosen(page))
    )


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
