"""What readings cost and what they bring: the measurements themselves, and the tables in the page on forecasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.evaluation import cases_of, evaluate
from analysis.forecasting.folds import Fold, Folds
from analysis.outcomes.outcomes import DEFAULT_CRITERION, decide_outcomes
from analysis.predictors.base import Targets
from benchmarks.bench import read
from benchmarks.forecasts import reading_cost, reading_worth, scores
from benchmarks.measure import Pairs
from pipeline.numerics.compiler import toolchain
from tests.analysis.synthetic import synthetic_history

WINDOW = 0.25


def planted():
    """Seeds of one setting whose fate one reading knows and another does not."""
    history = synthetic_history(1, 120, signal=0.0, diverge_share=0.0, seed=2)
    converged_R = decide_outcomes(history, DEFAULT_CRITERION).is_kind_R("converged")
    draws, at = np.random.default_rng(0), history.steps_T == 0
    columns = {"circuits.size": draws.normal(size=120), "forces.push": draws.normal(size=120) + 3 * converged_R}
    values = {name: np.where(at, column_R[:, None], np.nan) for name, column_R in columns.items()}
    return replace(history, values={**history.values, **values}, readings=frozenset(values))


def test_the_page_on_forecasts_shows_what_was_measured_of_readings():
    text = scores.PAGE.read_text()
    assert reading_cost.with_table(text, read(reading_cost.KEPT)["rows"]) == text
    assert reading_worth.with_table(text, read(reading_worth.KEPT)["rows"]) == text


def test_a_readings_cost_is_the_median_of_ratios_and_what_that_is_of_a_run():
    pairs = Pairs(np.array([10.1, 20.6, 10.3]), np.array([10.0, 20.0, 10.0]))
    row = reading_cost.row_of("circuits", 164, 100, pairs)
    assert row["share"] == pytest.approx(0.03)
    assert row["plain_ms"] == pytest.approx(100)
    assert row["added_ms"] == pytest.approx(3)
    assert reading_cost.table_lines([row])[2:] == [
        "| circuits | 164 | 3 of 100 | 3.0% (1.0% to 3.0%); 3 pairs of 100 runs |"
    ]


@pytest.mark.slow
@pytest.mark.native
@pytest.mark.skipif(toolchain() is None, reason="needs g++")
def test_the_cost_of_a_reading_is_measured_on_runs_that_record_it():
    row = reading_cost.measured("circuits", 2, 1)
    assert row["num_numbers"] > 100
    assert row["plain_ms"] > 0
    assert len(row["ratios"]) == 1


def test_a_predictor_of_some_readings_does_not_see_the_others():
    history = planted()
    outcomes, everyone = decide_outcomes(history, DEFAULT_CRITERION), np.ones(120, dtype=bool)
    cases, targets = cases_of(history.window(WINDOW)), Targets.of(outcomes, history.budget, everyone)
    other = replace(history, values={**history.values, "forces.push": history.values["forces.push"][::-1]})
    moved = cases_of(other.window(WINDOW))

    def forecasts(kinds):
        fitted = reading_worth.OfReadings(kinds).fit(cases, targets)
        return fitted.forecast(cases).converged_R, fitted.forecast(moved).converged_R

    before_R, after_R = forecasts(("circuits",))
    assert np.array_equal(before_R, after_R)
    before_R, after_R = forecasts(("circuits", "forces"))
    assert not np.allclose(before_R, after_R)


def test_the_reading_that_knows_fates_is_found_to_bring_more_than_the_default():
    history = planted()
    outcomes = decide_outcomes(history, DEFAULT_CRITERION)
    predictors = {name: reading_worth.OfReadings(reading_worth.SETS[name]) for name in ("curves", "circuits", "forces")}
    is_test_R = np.arange(120) % 2 == 0
    halves = Folds((Fold(~is_test_R, is_test_R),), "two halves")
    found = evaluate(history, outcomes, (WINDOW,), predictors, bootstrap=100, splits=halves)
    rows = {row["columns"]: row for row in reading_worth.score_rows("synthetic", "test", history, found)}
    assert rows["circuits"]["gain_value"] == rows["circuits"]["gain_high"] == 0
    assert rows["forces"]["gain_low"] > 0.1
    assert rows["forces"]["gain_value"] == pytest.approx(rows["forces"]["value"] - rows["circuits"]["value"], abs=2e-4)
    lines = reading_worth.table_lines(list(rows.values()))
    assert [line.split(" | ")[1] for line in lines[2:]] == ["curves", "circuits", "forces"]
    assert lines[2].startswith("| synthetic (")
