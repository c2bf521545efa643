"""Windows: which steps the declared shares of a budget end at, and that nothing after those steps is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.evaluation import WINDOWS, cases_of, evaluate, windows_of
from analysis.forecasting.live import forecast_running
from analysis.forecasting.run_forecasts import TOO_EARLY
from analysis.outcomes.outcomes import decide_outcomes
from analysis.outcomes.subsets import joined, within
from analysis.predictors.base import PREDICTORS
from pipeline.store.history import RunEnd, RunInfo
from tests.analysis.synthetic import overwrite_after, synthetic_history
from tests.support import opened, tiny, trained

# Of a budget of 2000 in chunks of 150: none of the shares is the end of a chunk.
DECLARED = ((0.0, 0), (0.1, 150), (0.25, 450), (0.5, 900))
HISTORY = replace(synthetic_history(3, 20, seed=4), windows=DECLARED)
OUTCOMES = decide_outcomes(HISTORY)


def bits(history, fraction):
    cases = cases_of(history.window(fraction))
    return cases.statistics.names_F, cases.statistics.values_RF.tobytes(), cases.hyperparameters.values_RF.tobytes()


@pytest.mark.parametrize(("share", "step"), DECLARED)
def test_nothing_after_the_step_of_a_declared_window_moves_a_statistic(share, step):
    assert HISTORY.window(share).last_step == step
    assert bits(overwrite_after(HISTORY, step), share) == bits(HISTORY, share)
    # The next step at which something was recorded lies inside the share of the budget, and outside the window.
    assert HISTORY.steps_T[HISTORY.steps_T > step][0] <= max(share * HISTORY.budget, 10)


@pytest.mark.parametrize(("share", "step"), DECLARED)
def test_what_was_recorded_at_the_step_of_a_declared_window_is_inside_it(share, step):
    assert bits(overwrite_after(HISTORY, step - 1), share) != bits(HISTORY, share)


def test_a_window_that_was_not_declared_ends_at_its_share_of_the_budget():
    assert HISTORY.window(0.4).last_step == 800
    assert replace(HISTORY, windows=()).window(0.25).last_step == 500
    assert replace(HISTORY, windows=()).window(0.0).steps_T.tolist() == [0]
    for fraction in (-0.01, 1.01):
        with pytest.raises(ValueError, match=r"window must be in \[0, 1\]"):
            HISTORY.window(fraction)


def test_the_initialisation_is_a_window_only_where_something_was_recorded_of_it():
    assert windows_of(HISTORY) == (0.0, 0.1, 0.25, 0.5)
    late = {m: a if m.startswith("label_") else np.where(HISTORY.steps_T, a, np.nan) for m, a in HISTORY.values.items()}
    assert windows_of(replace(HISTORY, values=late)) == (0.1, 0.25, 0.5)
    assert windows_of(replace(HISTORY, windows=())) == WINDOWS


def test_an_evaluation_scores_the_declared_windows_the_initialisation_first():
    base_rate = {"base_rate": PREDICTORS["base_rate"]()}
    windows = evaluate(HISTORY, OUTCOMES, predictors=base_rate, bootstrap=0).windows
    assert tuple((window.fraction, window.last_step) for window in windows) == DECLARED
    assert windows[0].num_scored == len(HISTORY.runs)


def test_a_run_in_its_first_window_is_forecast_from_its_initialisation_and_one_not_begun_is_not():
    step_R = np.where(np.arange(60) % 2, 2000, np.where(np.arange(60) % 4, 100, 0))
    ends = [end if end.reason == "diverged" else RunEnd("budget", 2000) for end in HISTORY.ends]
    ends = tuple(end if step == 2000 else RunEnd("running", int(step)) for end, step in zip(ends, step_R, strict=True))
    is_recorded_RT = (HISTORY.steps_T <= step_R[:, None]) & (step_R[:, None] > 0)
    values = {m: np.where(is_recorded_RT, a, np.nan) for m, a in HISTORY.values.items()}
    now = replace(HISTORY, ends=ends, values=values)
    found = forecast_running(now, decide_outcomes(now), bootstrap=0)
    assert {run.window for run in found.runs if run.step == 100} == {0.0}
    assert {run.problem for run in found.runs if run.step == 0} == {TOO_EARLY}


def test_windows_of_joined_sweeps_are_those_that_all_declared_and_none_is_left_of_a_smaller_budget():
    other = replace(HISTORY, windows=((0.0, 0), (0.1, 200), (0.5, 900)))
    other = replace(other, runs=tuple(RunInfo(f"o{r}", "s", r, r, {}) for r in range(60)))
    assert joined([HISTORY, other]).windows == ((0.0, 0), (0.5, 900))
    assert within(HISTORY, 1000).windows == ()


def test_the_plan_holds_the_steps_of_the_windows_and_the_history_has_them(tmp_path):
    store = opened(tiny(windows=[0, 0.4, 0.7]), tmp_path / "r")
    assert store.plan["windows"] == [[0.0, 0], [0.4, 10], [0.7, 20]]
    assert store.history().windows == ((0.0, 0), (0.4, 10), (0.7, 20))
    # A plan of an earlier version has none.
    store.write_documents(store.sweep, {k: v for k, v in store.plan.items() if k != "windows"}, is_shared=False)
    assert store.history().windows == ()


def test_windows_move_no_run(tmp_path):
    plain, other = tiny(), tiny(windows=[0.4])
    assert [run.run_id for run in plain.runs()] == [run.run_id for run in other.runs()]
    with pytest.raises(Exception, match="windows: "):
        trained(other, trained(plain, tmp_path / "r").folder)
