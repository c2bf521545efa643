"""Scores of forecasts when some runs still train or were stopped: known answers, and simulations with known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.censoring import RiskSet
from analysis.forecasting.evaluation import evaluate
from analysis.forecasting.held_out import ForecastSample, HeldOutForecasts
from analysis.forecasting.scoring.score_table import score_sample
from analysis.forecasting.scoring.scores import debiased_calibration_error
from analysis.forecasting.scoring.seen_times import SeenTimes
from analysis.forecasting.scoring.time_scores import concordance, coverage, integrated_brier
from analysis.outcomes.outcomes import DEFAULT_CRITERION, Outcomes, decide_outcomes
from analysis.predictors.base import PREDICTORS
from pipeline.store.history import RunEnd
from tests.analysis.synthetic import BUDGET, synthetic_history
from tests.analysis.test_live import seen_at

STEPS = np.arange(100.0, 1001.0, 100.0)
LIMIT = 1000


def seen(kind_R, time_R, copies_R=None, stratum_R=None):
    """What was seen of runs that are all at risk, in one stratum unless told otherwise."""
    kind_R, time_R = np.array(kind_R), np.array(time_R, dtype=float)
    everyone = np.ones(len(kind_R), dtype=bool)
    copies_R = np.ones(len(kind_R)) if copies_R is None else copies_R
    stratum_R = np.zeros(len(kind_R), dtype=np.int64) if stratum_R is None else stratum_R
    risk = RiskSet.of_times(time_R, kind_R != "censored", everyone & (copies_R > 0), copies_R, stratum_R)
    return Outcomes(DEFAULT_CRITERION, kind_R, time_R, time_R), risk


def c_index(score_R, kind_R, time_R, among_converged=False):
    outcomes, risk = seen(kind_R, time_R)
    rows, group_R = np.arange(len(kind_R)), np.zeros(len(kind_R), dtype=np.int64)
    times = SeenTimes.of(outcomes, risk, rows)
    return concordance(np.array(score_R), times, group_R, np.ones((1, len(kind_R))), among_converged)[0]


def test_of_two_runs_the_earlier_should_have_the_higher_score_and_who_never_converges_comes_last():
    kinds = ["converged", "converged", "unconverged", "diverged"]
    times = [300, 600, LIMIT, 200]
    # Pairs: 0-1, 0-2, 0-3, 1-2, 1-3; only 1-2 is the wrong way round, and 0-1 is a tie.
    assert c_index([0.9, 0.9, 0.95, 0.1], kinds, times) == pytest.approx((0.5 + 0 + 1 + 0 + 1) / 5)
    assert c_index([0.8, 0.9, 0.0, 0.0], kinds, times, among_converged=True) == 0


def test_a_pair_counts_by_the_chance_that_a_pair_like_it_is_seen():
    """One of four is censored at 200, so G is 2/3 from there on; runs that converge earlier count once."""
    kinds = ["converged", "censored", "converged", "unconverged"]
    times = [100, 200, 300, LIMIT]
    # The first outlives nobody: pairs 0-1, 0-2, 0-3 of weight 1; the third, after the censoring, 1 / (2/3)^2 with 3.
    third = 1 / (2 / 3) / (2 / 3)
    assert c_index([0.5, 0.6, 0.4, 0.3], kinds, times) == pytest.approx((2 + third) / (3 + third))


def test_the_integrated_brier_score_is_that_of_the_hand_calculation():
    outcomes, risk = seen(["converged", "unconverged", "diverged"], [200, 300, 100])
    by_NG = np.array([[0.5, 1.0, 1.0], [0.2, 0.2, 0.4], [0.0, 0.3, 0.3]])
    steps_G = np.array([100.0, 200.0, 300.0])
    at = [(0.25 + 0.04 + 0) / 3, (0 + 0.04 + 0.09) / 3, (0 + 0.16 + 0.09) / 3]
    found = integrated_brier(by_NG, SeenTimes.of(outcomes, risk, np.arange(3)), steps_G, np.ones((1, 3)))
    assert found[0] == pytest.approx((at[0] / 2 + at[1] + at[2] / 2) / 2)


def test_coverage_counts_a_run_that_never_converges_as_one_of_the_budget():
    interval_N3 = np.array([[100, 200, 300], [100, 200, 300], [100, np.inf, np.inf], [np.inf] * 3, [np.inf] * 3])
    converged_N = np.array([True, True, False, False, True])
    time_N = np.array([100.0, 301.0, 0.0, 0.0, 900.0])
    found = coverage(interval_N3, time_N, converged_N, LIMIT, np.ones((1, 5)))
    assert found[0] == pytest.approx(3 / 5)


def test_the_debiased_calibration_error_of_a_perfect_forecaster_is_about_zero_at_any_size():
    rng = np.random.default_rng(0)
    for number in (100, 1000):
        chance_N = rng.random((400, number))
        truth_N = rng.random((400, number)) < chance_N
        one = np.ones((1, number))
        found = [debiased_calibration_error(p, y, one)[0] for p, y in zip(chance_N, truth_N, strict=True)]
        assert abs(np.mean(found)) < 4 * np.std(found) / 20 + 0.002
    off = [debiased_calibration_error(p**2, y, one)[0] for p, y in zip(chance_N, truth_N, strict=True)]
    assert np.mean(off) > 0.1


def simulated(rng, num_runs):
    """Forecasts that know part of the time, P(converged by step), and fates: kind and time of each run, uncensored."""
    known_R = rng.normal(size=num_runs)
    time_R = np.ceil(np.exp(6.9 - 0.6 * known_R + 0.5 * rng.normal(size=num_runs)) / 50) * 50
    by_RG = 1 / (1 + np.exp(-(np.log(STEPS)[None, :] - 6.9 + 0.6 * known_R[:, None]) / 0.35))
    diverges_R = rng.random(num_runs) < 0.1
    kind_R = np.where(time_R <= LIMIT, "converged", "unconverged")
    kind_R = np.where(diverges_R, "diverged", kind_R)
    time_R = np.where(diverges_R, np.ceil(rng.uniform(1, 19, num_runs)) * 50, np.minimum(time_R, LIMIT))
    return by_RG, kind_R, time_R


def scores_of(by_RG, kind_R, time_R, copies_R=None, stratum_R=None, bootstrap=0, seed=0):
    outcomes, risk = seen(kind_R, time_R, copies_R, stratum_R)
    num_runs, group_R = len(kind_R), np.zeros(len(kind_R), dtype=np.int64)
    forecasts = {"x": HeldOutForecasts(by_RG[:, -1], by_RG, None)}
    fold_R = np.where(risk.scorable_R, 0, -1)
    draws = np.random.default_rng(seed).multinomial(num_runs, np.full(num_runs, 1 / num_runs), bootstrap)
    weight_BR = np.concatenate([np.ones((1, num_runs)), draws])
    sample = ForecastSample(forecasts, fold_R, STEPS)
    return score_sample(sample, outcomes, risk, group_R, weight_BR, "x", LIMIT)["x"]


def integrated_of(by_RG, kind_R, time_R):
    outcomes, risk = seen(kind_R, time_R)
    times = SeenTimes.of(outcomes, risk, np.arange(len(kind_R)))
    return integrated_brier(by_RG, times, STEPS, np.ones((1, len(kind_R))))[0]


def censored(rng, kind_R, time_R):
    """The same runs seen at one of four times, whatever becomes of them; the last is the budget."""
    until_R = rng.choice([300.0, 550.0, 800.0, LIMIT], size=len(kind_R))
    return np.where(time_R <= until_R, kind_R, "censored"), np.minimum(time_R, until_R)


FIGURES = ("auroc_within", "brier", "concordance", "concordance_converged")


@pytest.fixture(scope="module")
def truth():
    """Each figure of many runs that were all watched to the budget."""
    rng = np.random.default_rng(100)
    found = [scores_of(*simulated(rng, 2500)) for _ in range(8)]
    return {name: float(np.mean([getattr(scores, name).value for scores in found])) for name in FIGURES}


def test_scores_of_a_sweep_in_waves_are_unbiased_and_naive_ones_are_not(truth):
    rng = np.random.default_rng(0)
    whole = integrated_of(*simulated(rng, 20000))
    weighted, naive, integrated = [], [], []
    for _ in range(120):
        by_RG, kind_R, time_R = simulated(rng, 250)
        kinds, times = censored(rng, kind_R, time_R)
        found = scores_of(by_RG, kinds, times)
        weighted.append([getattr(found, name).value for name in FIGURES])
        known_R = kinds != "censored"
        alone = scores_of(by_RG[known_R], kinds[known_R], times[known_R])
        naive.append([getattr(alone, name).value for name in FIGURES])
        integrated.append(integrated_of(by_RG, kinds, times))
    for f, name in enumerate(FIGURES):
        error = 3 * np.std(weighted, axis=0)[f] / np.sqrt(120) + 0.004
        assert abs(np.mean(weighted, axis=0)[f] - truth[name]) < error, name
    assert abs(np.mean(integrated) - whole) < 3 * np.std(integrated) / np.sqrt(120) + 0.002
    assert abs(np.mean(naive, axis=0)[1] - truth["brier"]) > 0.005
    assert abs(np.mean(naive, axis=0)[2] - truth["concordance"]) > 0.005


def test_intervals_of_weighted_scores_cover_what_they_estimate(truth):
    rng = np.random.default_rng(1)
    covered = dict.fromkeys(FIGURES, 0)
    for seed in range(60):
        by_RG, kind_R, time_R = simulated(rng, 250)
        found = scores_of(by_RG, *censored(rng, kind_R, time_R), bootstrap=100, seed=seed)
        for name in FIGURES:
            covered[name] += getattr(found, name).low <= truth[name] <= getattr(found, name).high
    # Of 60 intervals of 95%, 50 or fewer cover with a probability of .03%.
    assert min(covered.values()) >= 51, covered


def test_runs_that_a_rule_stopped_are_stood_for_by_its_control_share(truth):
    """The rule stops runs of low forecasts, but for one in five: those count five times."""
    rng = np.random.default_rng(2)
    found, spared = [], []
    for _ in range(60):
        by_RG, kind_R, time_R = simulated(rng, 400)
        would_stop_R, is_control_R = by_RG[:, -1] < 0.4, rng.random(400) < 0.2
        copies_R = np.where(would_stop_R, np.where(is_control_R, 5.0, 0.0), 1.0)
        kinds = np.where(copies_R > 0, kind_R, "censored")
        score = scores_of(by_RG, kinds, np.where(copies_R > 0, time_R, 100.0), copies_R)
        found.append([score.auroc_within.value, score.brier.value, score.concordance.value])
        left_R = copies_R > 0
        spared.append(scores_of(by_RG[left_R], kind_R[left_R], time_R[left_R]).brier.value)
    for f, expected in enumerate((truth["auroc_within"], truth["brier"], truth["concordance"])):
        assert abs(np.mean(found, axis=0)[f] - expected) < 3 * np.std(found, axis=0)[f] / np.sqrt(60) + 0.004
    assert abs(np.mean(spared) - truth["brier"]) > 0.01


def test_settings_that_train_one_after_the_other_are_weighted_each_by_itself():
    """Nearly all runs of the first setting are watched to the budget, few of the second, which converges less."""
    rng = np.random.default_rng(3)
    stratum_R = np.repeat([0, 1], 200)
    by_stratum, pooled = [], []
    for _ in range(100):
        converges_R = rng.random(400) < np.where(stratum_R == 0, 0.8, 0.2)
        time_R = np.where(converges_R, rng.choice([400.0, 800.0], 400), LIMIT)
        until_R = np.where(rng.random(400) < np.where(stratum_R == 0, 0.95, 0.3), LIMIT, 500)
        kinds = np.where(time_R <= until_R, np.where(converges_R, "converged", "unconverged"), "censored")
        for strata_R, shares in ((stratum_R, by_stratum), (np.zeros(400, dtype=np.int64), pooled)):
            _, risk = seen(kinds, np.minimum(time_R, until_R), stratum_R=strata_R)
            shares.append(risk.weight_R[kinds == "converged"].sum() / risk.weight_R.sum())
    assert abs(np.mean(by_stratum) - 0.5) < 3 * np.std(by_stratum) / 10 + 0.003
    assert abs(np.mean(pooled) - 0.5) > 0.02


def test_a_setting_of_which_nobody_was_watched_to_the_budget_is_left_out():
    stratum_R = np.repeat([0, 1], 3)
    kinds = ["converged", "unconverged", "censored", "converged", "censored", "censored"]
    _, risk = seen(kinds, [100, LIMIT, 200, 100, 500, 500], stratum_R=stratum_R)
    assert risk.known_R.tolist() == [True, True, False, False, False, False]
    assert risk.scorable_R.tolist() == [True, True, True, False, False, False]
    assert risk.weight_R.sum() == pytest.approx(3)


def test_a_sweep_of_which_half_the_runs_still_train_is_scored_as_the_whole_sweep():
    history = synthetic_history(2, 200, seed=4)
    step_R = np.random.default_rng(3).choice([BUDGET, BUDGET, 1500, 1100], size=len(history.runs))
    now = seen_at(history, step_R)
    predictors = {name: PREDICTORS[name]() for name in ("ridge_time", "setting_rate", "last_loss")}
    whole = evaluate(history, decide_outcomes(history), (0.1,), predictors, bootstrap=0).windows[0]
    part = evaluate(now, decide_outcomes(now), (0.1,), predictors, bootstrap=100).windows[0]
    assert part.num_censored > 60
    assert part.num_scored < whole.num_scored == whole.num_at_risk == part.num_at_risk
    assert "inverse probability of having been watched as long" in part.note
    assert whole.note == ""
    assert part.weight_N.sum() == pytest.approx(part.num_at_risk)
    assert part.base_rate == pytest.approx(whole.base_rate, abs=0.06)
    assert np.mean(part.converged_N) > part.base_rate + 0.03
    for name in ("auroc_within", "brier", "concordance", "integrated_brier_skill", "coverage"):
        estimate = getattr(part.scores["ridge_time"], name)
        assert estimate.low - 0.02 <= getattr(whole.scores["ridge_time"], name).value <= estimate.high + 0.02, name


def test_stopped_runs_are_scored_by_the_control_share_and_refused_without():
    history = synthetic_history(2, 60, seed=5)
    outcomes = decide_outcomes(history)
    would_stop_R = (history.values["induction_score.l0h0"][:, history.steps_T == 300][:, 0] < 0.1) & (
        outcomes.upper_R > 300
    )
    is_stopped_R = would_stop_R & (np.arange(len(history.runs)) % 3 > 0)
    ends = tuple(
        RunEnd("stopped", 300) if stopped else end for stopped, end in zip(is_stopped_R, history.ends, strict=True)
    )
    values = {
        m: np.where(is_stopped_R[:, None] & (history.steps_T > 300), np.nan, a) for m, a in history.values.items()
    }
    now = replace(history, ends=ends, values=values)
    known = decide_outcomes(now)
    only = {"ridge_time": PREDICTORS["ridge_time"]()}
    refused = evaluate(now, known, (0.1,), only, bootstrap=0).windows[0]
    assert "were stopped before their outcome; the others are not a fair sample" in refused.problem
    copies_R = np.where(would_stop_R, np.where(is_stopped_R, 0.0, 3.0), 1.0)
    scored = evaluate(now, known, (0.1,), only, bootstrap=0, copies_R=copies_R).windows[0]
    assert scored.problem == ""
    assert "spared by chance stand for those that it stopped" in scored.note
    assert scored.num_scored == scored.num_at_risk < refused.num_at_risk
    assert scored.weight_N.sum() == pytest.approx(copies_R[outcomes.upper_R > 200].sum())
    assert scored.base_rate < np.mean(scored.converged_N)
