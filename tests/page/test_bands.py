"""Density, medians and quantile bands of the page: counts and quantiles are those of the runs that are shown."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.page.data import page_data
from analysis.page.html import StaticPart, page_html
from analysis.predictors.base import PREDICTORS
from analysis.summary.analyse import analyse
from tests.analysis.synthetic import synthetic_history

METRIC = "label_excess"
SHARES = (5, 25, 50, 75, 95)


@pytest.fixture(scope="module")
def analysis():
    predictors = {"base_rate": PREDICTORS["base_rate"]()}
    return analyse(synthetic_history(8, 40, diverge_share=0.3), windows=(0.25,), predictors=predictors, bootstrap=2)


@pytest.fixture(scope="module")
def address(analysis, tmp_path_factory):
    path = tmp_path_factory.mktemp("bands") / "page.html"
    path.write_text(page_html(page_data(analysis), StaticPart()), encoding="utf-8")
    return path.as_uri()


def drawn_as(page, drawing):
    page.value(f"(document.querySelector('#drawing').value = '{drawing}')")
    page.value("document.querySelector('#drawing').dispatchEvent(new Event('change'))")
    page.drawn()


def searched(page, query):
    page.value(f"(document.querySelector('#search').value = '{query}')")
    page.value("document.querySelector('#search').dispatchEvent(new Event('input'))")
    page.drawn()


def bands(page):
    """label -> (count at each step, the five quantiles at each step), as they were drawn."""
    groups = page.value(
        "seedbed.curves.groups.map(({label, band}) =>"
        " [label, [...band.count], band.quantiles.map((q) => [...q].map(String))])"
    )
    return {label: (np.array(count), np.array(found, float)) for label, count, found in groups}


def quantiles(values):
    """The smallest value that at least so many percent of the values do not exceed; NaN of too few values."""
    ordered, count = np.sort(values[np.isfinite(values)]), np.isfinite(values).sum()
    fewest = (20, 4, 3, 4, 20)
    return [ordered[-(-share * count // 100) - 1] if count >= few else np.nan
            for share, few in zip(SHARES, fewest, strict=True)]  # fmt: skip


def expected(analysis, page, is_in_R):
    """Count and quantiles at each step of the chosen metric, of some runs."""
    steps = page.value("seedbed.curves.metric.steps")
    at_T = np.searchsorted(analysis.history.steps_T, steps)
    values_RT = analysis.history.values[page.value("seedbed.curves.name")][is_in_R][:, at_T]
    return np.isfinite(values_RT).sum(axis=0), np.array([quantiles(values_T) for values_T in values_RT.T]).T


def test_bands_are_quantiles_of_the_runs_that_are_recorded_at_a_step(analysis, address, tab):
    page = tab()
    page.open(address)
    drawn_as(page, "outcome")
    found = bands(page)
    assert set(found) == set(analysis.outcomes.kind_R.tolist())
    for kind, (count_T, quantile_QT) in found.items():
        counts, wanted = expected(analysis, page, analysis.outcomes.kind_R == kind)
        assert count_T.tolist() == counts.tolist()
        np.testing.assert_allclose(quantile_QT, wanted, rtol=1e-6)
    # Diverged runs end early, so that the bands of later steps are of fewer.
    counts = found["diverged"][0]
    assert counts[0] > counts[-1]
    assert np.isnan(found["diverged"][1][:, -1]).any()


def test_values_of_zero_and_below_are_in_the_bands_of_a_log_axis(analysis, address, tab):
    page = tab()
    page.open(address)
    page.value(
        """(() => { const { metric } = seedbed.curves, runs = [...Array(200).keys()];
        metric.replace(runs, metric.steps, new Float32Array(200 * metric.steps.length).fill(-1));
        seedbed.onCommit(); })()"""
    )
    drawn_as(page, "outcome")
    assert page.value("seedbed.curves.isLog")
    assert sum(count_T[0] for count_T, _ in bands(page).values()) == 320
    assert min(quantile_QT[2, 0] for _, quantile_QT in bands(page).values()) == -1


def test_bands_of_settings_follow_the_choice_and_few_chosen_runs_lie_on_top(analysis, address, tab):
    page = tab()
    page.open(address)
    drawn_as(page, "setting")
    assert list(bands(page)) == [setting.label for setting in analysis.settings[:6]]
    assert "choose others below" in page.text("#curves-note")
    searched(page, "lr<0.001 converged")
    settings = np.array([run.hyperparameters["optimiser.lr"] for run in analysis.history.runs])
    is_chosen_R = (settings < 0.001) & analysis.outcomes.is_kind_R("converged")
    assert sum(count_T.max() for count_T, _ in bands(page).values()) == is_chosen_R.sum() > 20
    assert page.value("seedbed.curves.nearest(300, 100)") is None
    searched(page, "run-2-7")
    assert page.value("seedbed.selection.count") == 1
    ((_, (count_T, _)),) = bands(page).items()
    assert count_T[0] == 40
    assert "a line each, on the bands of all runs" in page.text("#curves-note")


def test_the_keyboard_tells_the_bands_of_every_step(analysis, address, tab):
    page = tab()
    page.open(address)
    assert page.value("document.querySelector('.over').getAttribute('role')") is None
    drawn_as(page, "outcome")
    page.value("document.querySelector('.over').focus()")
    page.key("End")
    page.key("ArrowLeft")
    steps = page.value("seedbed.curves.metric.steps")
    assert f"at step {steps[-2]:,}" in page.text("#bands-legend thead")
    slider = "document.querySelector('[role=slider]')"
    assert page.value(f"{slider}.getAttribute('aria-valuenow')") == str(steps[-2])
    is_in_R = analysis.outcomes.is_kind_R("unconverged")
    counts, wanted = expected(analysis, page, is_in_R)
    (row,) = page.value(
        "[...document.querySelectorAll('#bands-legend tbody tr')].map((r) => [...r.children].map((c) => c.textContent))"
        ".filter(([name]) => name.endsWith(' unconverged'))"
    )
    assert float(row[1]) == pytest.approx(wanted[2, -2], rel=1e-3)
    assert row[4] == f"{counts[-2]} of {is_in_R.sum()}"
    assert f"{counts[-2]} of {is_in_R.sum()} runs" in page.value(f"{slider}.getAttribute('aria-valuetext')")
    drawn_as(page, "curves")
    assert page.value("document.querySelector('[role=slider]')") is None


def test_runs_are_taken_out_of_a_density_without_a_trace(address, tab):
    page = tab()
    page.open(address)
    same = page.value(
        """(() => {
        const { curves, sweep, selection } = seedbed, one = curves.density, { kind } = sweep.columns;
        const every = new Uint8Array(sweep.numRuns).fill(1), some = every.map((_, r) => Number(r % 5 > 0));
        const fresh = (mask) => {
          const made = new one.constructor(one.rows, one.width, one.height, 5);
          made.show(mask, kind);
          return made;
        };
        const equal = (a, b) => a.counts.every((counts, k) =>
          (counts ?? []).every((count, i) => count === (b.counts[k]?.[i] ?? 0)));
        const found = [];
        const changed = kind.map((k, r) => (r % 7 ? k : 3));
        const walked = fresh(every);
        walked.show(some, kind);
        found.push(equal(walked, fresh(some)), !equal(walked, fresh(every)));
        walked.show(every, changed);
        walked.show(every, kind);
        found.push(equal(walked, fresh(every)), equal(fresh(every), one));
        return found; })()"""
    )
    assert same == [True, True, True, True]


def test_every_run_counts_once_in_every_column_that_it_crosses(analysis, address, tab):
    page = tab()
    page.open(address)
    sums, columns = page.value(
        """(() => {
        const { density, rows } = seedbed.curves, sums = new Array(density.width).fill(0);
        for (const counts of density.counts) counts?.forEach((count, i) => {
          sums[Math.floor(i / density.height)] += count / density.unit;
        });
        return [sums, [...rows.columns]]; })()"""
    )
    at_T = np.searchsorted(analysis.history.steps_T, page.value("seedbed.curves.metric.steps"))
    last_R = np.array([np.flatnonzero(np.isfinite(row))[-1] for row in analysis.history.values[METRIC][:, at_T]])
    crossing = [int((np.array(columns)[last_R] > column).sum()) for column in range(columns[-1])]
    # Where a curve is steep its count is shared out in whole parts, of which less than one is lost to each pixel.
    np.testing.assert_allclose(sums[: columns[-1]], crossing, rtol=0.02)
