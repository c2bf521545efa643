"""Forecasts of runs that still train: what they are learned from, that nothing leaks, and when there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.evaluation import cases_of
from analysis.forecasting.fitted import fit_forecasts
from analysis.forecasting.live import forecast_running
from analysis.forecasting.run_forecasts import SEEN_SEED, TOO_EARLY, time_text
from analysis.forecasting.scoring.scores import auroc
from analysis.forecasting.window_model import TrainingSet
from analysis.outcomes.outcomes import decide_outcomes
from analysis.predictors.time_distribution import IntervalLevels
from pipeline.store.history import RunEnd
from tests.analysis.synthetic import BUDGET, synthetic_history

WHOLE = synthetic_history(4, 40, seed=7)
FATE_R = decide_outcomes(WHOLE).kind_R


def seen_at(history, step_R):
    """The sweep as it was when each run had been trained to its step: what was not there yet is taken away."""
    values = {
        metric: np.where(history.steps_T <= step_R[:, None], array, np.nan) for metric, array in history.values.items()
    }
    ends = tuple(
        end if end.step <= step else RunEnd("running", int(step))
        for end, step in zip(history.ends, step_R, strict=True)
    )
    return replace(history, values=values, ends=ends)


def waves(history):
    """Two runs in five are at the budget, the others at 55, 30 and 2% of it, whatever becomes of them."""
    return np.random.default_rng(3).choice([BUDGET, BUDGET, 1100, 600, 40], size=len(history.runs))


STEP_R = waves(WHOLE)
NOW = seen_at(WHOLE, STEP_R)
OUTCOMES = decide_outcomes(NOW)
LIVE = forecast_running(NOW, OUTCOMES, bootstrap=100)


def as_text(forecasts):
    return {run.run_id: repr(run) for run in forecasts.runs}


def test_every_run_that_still_trains_has_one_row_from_the_largest_window_that_it_covered():
    running_R = np.array([end.reason == "running" for end in NOW.ends]) & (OUTCOMES.kind_R == "censored")
    assert [run.run_id for run in LIVE.runs] == [NOW.runs[r].run_id for r in np.flatnonzero(running_R)]
    expected = {1100: 0.5, 600: 0.25}
    for run in LIVE.runs:
        if run.step == 40:
            assert run.problem == TOO_EARLY
            assert np.isnan([run.converged, run.diverged, run.median, run.window]).all()
        else:
            assert run.window == expected[run.step]
            assert 0 < run.converged + run.diverged <= 1
            assert run.low <= run.median <= run.high
            assert run.low >= run.window * BUDGET
            assert len(run.reasons) == 3


def test_the_forecasts_find_the_planted_truth_and_say_how_good_they_were():
    fate_by_id = dict(zip([run.run_id for run in WHOLE.runs], FATE_R.tolist(), strict=True))
    asked = [run for run in LIVE.runs if run.window == 0.25]
    converged_N = np.array([fate_by_id[run.run_id] == "converged" for run in asked])
    probability_N = np.array([run.converged for run in asked])
    assert auroc(probability_N, converged_N, np.zeros(len(asked), int), np.ones((1, len(asked))))[0] > 0.8
    window = next(window for window in LIVE.windows if window.fraction == 0.25)
    assert window.auroc_within.low > 0.6
    assert window.num_finished == TrainingSet.of(NOW, OUTCOMES, 600, np.ones(len(NOW.runs), bool)).num_finished
    assert "learned from" in window.sentence()


def test_what_comes_after_a_runs_window_moves_no_byte_of_its_forecast():
    rng = np.random.default_rng(0)
    before = as_text(LIVE)
    for r in rng.permutation(np.flatnonzero(STEP_R == 600))[:4]:
        late_T = (NOW.steps_T > 500) & (NOW.steps_T <= 600)
        noise_T = 5 + rng.random(len(late_T))
        values = {metric: array.copy() for metric, array in NOW.values.items()}
        for array in values.values():
            array[r] = np.where(late_T, noise_T, array[r])
        changed = replace(NOW, values=values)
        after = as_text(forecast_running(changed, decide_outcomes(changed), bootstrap=0))
        run_id = NOW.runs[r].run_id
        assert run_id not in before or after[run_id] == before[run_id]


def test_forecasts_of_a_setting_without_a_finished_run_say_so():
    is_new_R = np.array([run.setting_id == WHOLE.runs[0].setting_id for run in WHOLE.runs])
    now = seen_at(WHOLE, np.where(is_new_R, 400, STEP_R))
    found = forecast_running(now, decide_outcomes(now), windows=(0.2,), bootstrap=0)
    num_new = sum(run.step == 400 and not run.problem for run in found.runs)
    num_forecast = sum(not run.problem for run in found.runs)
    assert num_new > 10
    assert any(f"{num_new} of {num_forecast} forecasts are of settings without" in note for note in found.notes)
    assert not any("without a finished run" in note for note in LIVE.notes)


def test_a_run_that_has_trained_long_without_converging_is_compared_with_such_runs():
    """At 75% of the budget few of the runs that have not converged will: probabilities are theirs, not those at 50%."""
    history = synthetic_history(4, 150, seed=11, diverge_share=0.0)
    fate_R = decide_outcomes(history).kind_R
    now = seen_at(history, np.random.default_rng(6).choice([BUDGET, 1500], size=len(history.runs)))
    found = forecast_running(now, decide_outcomes(now), bootstrap=0)
    assert [(source.fraction, source.risk_step) for source in found.windows] == [(0.5, 1500)]
    assert "that had no outcome by step 1500" in found.windows[0].sentence()
    fate_by_id = dict(zip([run.run_id for run in history.runs], fate_R.tolist(), strict=True))
    converged = np.mean([fate_by_id[run.run_id] == "converged" for run in found.runs])
    stated = np.mean([run.converged for run in found.runs])
    half_width = 2 * np.sqrt(converged * (1 - converged) / len(found.runs)) + 0.02
    assert abs(stated - converged) < half_width
    assert all(run.low >= 1500 for run in found.runs)


def test_no_run_is_forecast_by_runs_of_its_own_seed():
    """Turning the outcomes of all finished runs of a seed around moves none of the forecasts of that seed."""
    turned = {"converged": "unconverged", "unconverged": "converged"}
    for seed in (2, 11):
        own_R = np.array([run.init_seed == seed for run in NOW.runs])
        kind_R = np.array([turned.get(k, k) if own else k for k, own in zip(OUTCOMES.kind_R, own_R, strict=True)])
        assert not np.array_equal(kind_R, OUTCOMES.kind_R)
        after = as_text(forecast_running(NOW, replace(OUTCOMES, kind_R=kind_R), bootstrap=0))
        own = {run.run_id for run, is_own in zip(NOW.runs, own_R, strict=True) if is_own}
        assert all(after[run_id] == text for run_id, text in as_text(LIVE).items() if run_id in own)
        assert after != as_text(LIVE)


def test_on_permuted_outcomes_the_forecasts_know_nothing():
    history = synthetic_history(4, 150, seed=5, diverge_share=0.0)
    whole = decide_outcomes(history)
    order = np.random.default_rng(2).permutation(len(history.runs))
    is_running_R = np.random.default_rng(4).random(len(order)) < 0.4
    kind_R, upper_R = whole.kind_R[order], whole.upper_R[order]
    known = replace(whole, kind_R=np.where(is_running_R, "censored", kind_R), upper_R=np.maximum(upper_R, 400.0))
    ends = tuple(RunEnd("running", 600) if is_running else RunEnd("budget", BUDGET) for is_running in is_running_R)
    found = forecast_running(replace(history, ends=ends), known, windows=(0.1,), bootstrap=0)
    probability_N = np.array([run.converged for run in found.runs])
    score = auroc(
        probability_N,
        kind_R[is_running_R] == "converged",
        np.zeros(len(probability_N), int),
        np.ones((1, len(probability_N))),
    )
    assert abs(score[0] - 0.5) < 0.1
    assert abs(found.windows[0].auroc_within.value - 0.5) < 0.1


def test_another_sweep_teaches_and_its_quality_is_that_of_its_own_held_out_seeds():
    other = synthetic_history(4, 30, seed=9, name="other", first_seed=1000)
    fitted = fit_forecasts(other, decide_outcomes(other), bootstrap=100)
    found = forecast_running(NOW, OUTCOMES, fitted)
    assert found.source == "other"
    assert [run.run_id for run in found.runs] == [run.run_id for run in LIVE.runs]
    assert found.windows[0].num_finished == fitted.windows[2].num_finished
    fate_by_id = dict(zip([run.run_id for run in WHOLE.runs], FATE_R.tolist(), strict=True))
    asked = [run for run in found.runs if not run.problem]
    converged_N = np.array([fate_by_id[run.run_id] == "converged" for run in asked])
    probability_N = np.array([run.converged for run in asked])
    assert auroc(probability_N, converged_N, np.zeros(len(asked), int), np.ones((1, len(asked))))[0] > 0.8


def test_runs_whose_seeds_were_learned_from_get_no_forecast_and_a_sentence():
    other = synthetic_history(4, 30, seed=9, name="other", first_seed=25)
    found = forecast_running(NOW, OUTCOMES, fit_forecasts(other, decide_outcomes(other), bootstrap=0))
    seed_by_id = {run.run_id: run.init_seed for run in NOW.runs}
    asked = [run for run in found.runs if run.problem != TOO_EARLY]
    assert {seed_by_id[run.run_id] >= 25 for run in asked} == {True, False}
    for run in asked:
        assert (run.problem == SEEN_SEED) == (seed_by_id[run.run_id] >= 25)
        assert np.isnan(run.converged) == bool(run.problem)


def test_a_sweep_is_learned_from_without_the_runs_that_share_a_seed_with_those_to_forecast():
    other = synthetic_history(4, 60, seed=9, name="other", first_seed=25)
    outcomes = decide_outcomes(other)
    fitted = fit_forecasts(other, outcomes, unseen_by=NOW.runs, bootstrap=0)
    assert fitted.num_left_out == 4 * 15
    assert min(fitted.init_seeds) == 40
    found = forecast_running(NOW, OUTCOMES, fitted)
    assert not any(run.problem == SEEN_SEED for run in found.runs)
    assert any("60 runs of other share a seed with runs here and were left out" in note for note in found.notes)
    turned = np.where(np.array([run.init_seed < 40 for run in other.runs]), "unconverged", outcomes.kind_R)
    again = fit_forecasts(other, replace(outcomes, kind_R=turned), unseen_by=NOW.runs, bootstrap=0)
    assert as_text(forecast_running(NOW, OUTCOMES, again)) == as_text(found)


def test_columns_that_a_sweep_lacks_are_named():
    other = synthetic_history(4, 30, seed=9, name="other", first_seed=1000)
    fitted = fit_forecasts(other, decide_outcomes(other), bootstrap=0)
    without = {metric: array for metric, array in NOW.values.items() if metric != "grad_norm"}
    with pytest.raises(ValueError, match=r"columns are lacking: .*last_value\(grad_norm\)"):
        forecast_running(replace(NOW, values=without), OUTCOMES, fitted)


@pytest.mark.parametrize(
    ("diverge_share", "step_R", "said"),
    [
        (0.0, np.where(np.arange(160) < 10, BUDGET, 600), "a forecast needs 20"),
        (0.8, np.where(np.arange(160) % 4, 1700, 600), "watched to the budget"),
    ],
    ids=["too few", "one wave"],
)
def test_without_enough_to_learn_from_there_is_no_number_and_a_sentence(diverge_share, step_R, said):
    history = seen_at(synthetic_history(4, 40, seed=7, diverge_share=diverge_share), step_R)
    found = forecast_running(history, decide_outcomes(history), bootstrap=0)
    assert found.runs
    assert np.isnan([run.converged for run in found.runs]).all()
    assert {said in run.problem for run in found.runs if run.step == 600} == {True}


def test_nineteen_finished_runs_are_too_few_and_twenty_are_enough():
    everyone = TrainingSet.of(WHOLE, decide_outcomes(WHOLE), 500, np.ones(160, bool))
    converged = np.flatnonzero(everyone.finished_R & (FATE_R == "converged"))
    others = np.flatnonzero(everyone.finished_R & (FATE_R != "converged"))
    for num_converged, num_others, is_enough in ((10, 9, False), (10, 10, True), (16, 4, False), (15, 5, True)):
        use_R = np.isin(np.arange(160), np.concatenate([converged[:num_converged], others[:num_others]]))
        training = TrainingSet.of(WHOLE, decide_outcomes(WHOLE), 500, use_R)
        assert (training.problem == "") is is_enough


def test_no_run_is_said_to_converge_inside_its_window_or_before_where_it_stands():
    model = fit_forecasts(WHOLE, decide_outcomes(WHOLE), (0.25,), bootstrap=0).windows[0].model
    distribution = replace(model.fitted.distribution, start=1.0, levels=IntervalLevels(1e-6, 1e-6, 0.95))
    early = replace(model, fitted=replace(model.fitted, distribution=distribution))
    forecast = early.forecast(cases_of(WHOLE.window(0.25)))
    assert (early.steps_R3(forecast)[:, 0] == 500).all()
    assert (early.steps_R3(forecast, np.full(len(WHOLE.runs), 700.0))[:, 0] == 700).all()


def test_probabilities_medians_and_intervals_agree_and_times_beyond_the_budget_are_said_to_be():
    forecasts = [run for run in LIVE.runs if not run.problem]
    assert {np.isfinite(run.median) for run in forecasts} == {True, False}
    for run in forecasts:
        assert np.isfinite(run.median) == (run.converged >= 0.5)
        assert run.converged > 0.9 or np.isinf(run.high)
    infinite = [run for run in LIVE.runs if np.isinf(run.high)]
    assert infinite
    assert all(time_text(run, BUDGET).endswith(f" to >{BUDGET})") for run in infinite)


def test_a_run_that_stands_long_after_the_window_of_a_file_is_forecast_as_one_that_has_not_converged_since():
    """Learned at 25% and asked at 75%: the stated share is that of the runs that had not converged at 75%."""
    other, history = (
        synthetic_history(4, 150, seed=seed, diverge_share=0.0, first_seed=1000 * seed) for seed in (21, 22)
    )
    fitted = fit_forecasts(other, decide_outcomes(other), (0.25,), bootstrap=0)
    fate_R = decide_outcomes(history).kind_R
    now = seen_at(history, np.full(len(history.runs), 1500))
    found = forecast_running(now, decide_outcomes(now), fitted)
    fate_by_id = dict(zip([run.run_id for run in history.runs], fate_R.tolist(), strict=True))
    converged = np.mean([fate_by_id[run.run_id] == "converged" for run in found.runs])
    stated = np.mean([run.converged for run in found.runs])
    at_window = fitted.windows[0].model.forecast(cases_of(history.window(0.25))).converged_R.mean()
    assert abs(stated - converged) < 2 * np.sqrt(converged * (1 - converged) / len(found.runs)) + 0.02
    assert at_window > converged + 0.2
