"""Choosing runs on the page, in a real browser: by boxes, ranges, outcomes, settings and words."""

from __future__ import annotations

import numpy as np

from tests.page.shown import METRIC, chosen, given, outcome_of, place


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
