"""What stopping saves and loses: exact on tables made by hand, honest on sweeps with planted truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.folds import held_out_seeds
from analysis.outcomes.outcomes import decide_outcomes
from analysis.stopping.decisions import DecisionWindows, lowest
from analysis.stopping.last_values import LastValuesModel
from analysis.stopping.prices import FORECAST, judged_apart, rules, stopping_prices
from analysis.stopping.promise import Promise
from pipeline.store.history import History, RunEnd, RunInfo
from tests.analysis.synthetic import overwrite_after, synthetic_history

SHARES = (0.1, 0.25, 0.5)
HISTORY = synthetic_history(3, 100, seed=3)
OUTCOMES = decide_outcomes(HISTORY)
WINDOWS = DecisionWindows.of(HISTORY, OUTCOMES, SHARES)


def everything(name):
    return True


@pytest.fixture(scope="module")
def prices():
    return {
        price.name: price
        for price in stopping_prices(HISTORY, OUTCOMES, SHARES, promise=Promise(0.05), bootstrap=50).prices
    }


def test_steps_saved_and_runs_lost_are_counted_exactly():
    """Two runs that do not converge and two that do, by losses that put one of each below the other two."""
    steps_T = np.array([0, 100, 200, 300, 400])
    excess_RT = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]], float)
    loss_RT = np.tile([[1.0], [3.0], [4.0], [2.0]], (40, 5))
    runs = tuple(RunInfo(f"r{r}", "s", r, r, {}) for r in range(160))
    ends = (RunEnd("budget", 400), RunEnd("budget", 400), RunEnd("converged", 300), RunEnd("budget", 400)) * 40
    values = {"label_excess": np.tile(excess_RT, (40, 1)), "probe_loss": loss_RT}
    history = History("four", 400, runs, ends, steps_T, values)
    found = stopping_prices(history, decide_outcomes(history), (0.25, 0.5), promise=Promise(0.5), bootstrap=10)
    price = {price.name: price for price in found.prices}
    total = 40 * (400 + 400 + 300 + 400)
    assert found.run_steps == total
    # The oracle acts at 5% of the budget.
    assert price["oracle"].saved.value == pytest.approx(2 * 40 * 380 / total)
    halved = price["best half by loss at step 100"]
    assert halved.saved.value == pytest.approx(40 * (300 + 200) / total)
    assert halved.of_oracle.value == pytest.approx(500 / 760)
    assert (halved.num_lost, halved.num_convergers) == (40, 80)
    # A run that converged at step 200 and still trains is not lost where it is stopped at 200.
    late = price["best half by loss at step 200"]
    assert late.saved.value == pytest.approx(40 * (200 + 100) / total)
    assert late.num_lost == 0


def test_forecasts_save_more_than_losses_and_lose_few(prices):
    forecast, losses = prices[FORECAST], prices["last losses"]
    assert forecast.of_oracle.value > losses.of_oracle.value + 0.1
    assert forecast.num_lost <= 0.08 * forecast.num_convergers
    assert prices["successive halving, eta 2"].num_lost > 5 * forecast.num_lost
    assert prices["oracle"].of_oracle.value == 1
    assert prices["oracle"].num_lost == 0


def test_where_nothing_forecasts_fates_nothing_is_promised_for_free():
    """Outcomes dealt anew among runs: what is saved comes with as many losses as chance deals."""
    rng = np.random.default_rng(0)
    order_R = rng.permutation(len(HISTORY.runs))
    shuffled = replace(
        HISTORY,
        ends=tuple(HISTORY.ends[r] for r in order_R),
        values={
            metric: array[order_R] if metric.startswith("label_") else array for metric, array in HISTORY.values.items()
        },
    )
    found = stopping_prices(shuffled, decide_outcomes(shuffled), SHARES, promise=Promise(0.05), bootstrap=10)
    assert {price.name: price for price in found.prices}[FORECAST].of_oracle.value < 0.1


def test_a_run_is_judged_by_nothing_that_its_own_fold_says():
    folds = held_out_seeds(HISTORY.runs, seed=0).folds
    stop_R, thresholds = judged_apart(WINDOWS, everything, Promise(0.05), seed=0)
    fold = folds[2]
    # The opposite outcomes and other times for the runs of one fold.
    changed = replace(
        WINDOWS,
        converged_R=np.where(fold.test_R, ~WINDOWS.converged_R, WINDOWS.converged_R),
        log_time_R=np.where(fold.test_R, WINDOWS.log_time_R[::-1], WINDOWS.log_time_R),
    )
    again_R, other_thresholds = judged_apart(changed, everything, Promise(0.05), seed=0)
    assert again_R[fold.test_R].tolist() == stop_R[fold.test_R].tolist()
    assert other_thresholds[2] == thresholds[2]
    assert other_thresholds[0] != thresholds[0]
    assert np.isfinite(stop_R[fold.test_R]).any()


def test_the_odds_below_which_runs_are_stopped_grow_as_the_budget_runs_out():
    level_W = WINDOWS.thresholds_W(0.1)
    assert (level_W / (1 - level_W)).tolist() == pytest.approx(
        (1 / 9 / np.sqrt(1 - np.array(WINDOWS.shares_W))).tolist()
    )
    assert WINDOWS.thresholds_W(0.0).tolist() == [0.0] * len(SHARES)
    assert WINDOWS.thresholds_W(1.0).tolist() == [1.0] * len(SHARES)


def test_the_rule_loses_as_many_of_the_calibrating_runs_as_its_threshold_says():
    everyone_R = np.ones(len(WINDOWS.runs), dtype=bool)
    probability_RW = WINDOWS.held_out_RW(everyone_R, everything, seed=0)
    for share in (0.05, 0.1, 0.2):
        threshold = WINDOWS.threshold(probability_RW, everyone_R, Promise(share))
        stop_R = WINDOWS.stop_step_R(probability_RW, threshold.value)
        assert np.isfinite(stop_R[WINDOWS.converged_R]).sum() == threshold.num_lost > 0
        assert threshold.num_lost == Promise(share).most_lost(threshold.num_convergers)


def test_nothing_after_a_window_moves_what_is_decided_there():
    last_step = WINDOWS.steps_W[-1]
    late = overwrite_after(HISTORY, int(last_step))
    before = DecisionWindows.of(late, OUTCOMES, SHARES)
    for one, other in zip(before.features_W, WINDOWS.features_W, strict=True):
        assert one.values_RF.tobytes() == other.values_RF.tobytes()


def test_a_run_that_converged_or_ended_or_may_be_about_to_converge_is_not_stopped():
    """At step 200: converged at 100; met the criterion at 200 for the first time, in vain or not; diverged; neither."""
    excess_RT = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 1, 1], [1, 1, 0, 0, 0], [1, 1, np.nan, np.nan, np.nan], [1] * 5])
    ends = (*(RunEnd("budget", 400),) * 3, RunEnd("diverged", 150), RunEnd("budget", 400))
    runs = tuple(RunInfo(f"r{r}", "s", r, r, {}) for r in range(5))
    history = History("five", 400, runs, ends, np.arange(0, 401, 100), {"label_excess": excess_RT})
    windows = DecisionWindows.of(history, decide_outcomes(history), (0.25, 0.5, 0.75))
    assert windows.open_RW.tolist() == [
        [False, False, False],
        [True, False, True],
        [True, False, False],
        [True, False, False],
        [True, True, True],
    ]


def test_a_calibrating_run_is_forecast_by_models_of_other_seeds():
    use_R = np.arange(300) % 4 > 0
    runs = tuple(run for run, used in zip(HISTORY.runs, use_R, strict=True) if used)
    test_R = np.zeros(300, bool)
    test_R[np.flatnonzero(use_R)[held_out_seeds(runs, seed=1).folds[0].test_R]] = True
    changed = replace(WINDOWS, converged_R=np.where(test_R, ~WINDOWS.converged_R, WINDOWS.converged_R))
    before_RW, after_RW = (windows.held_out_RW(use_R, everything, seed=1) for windows in (WINDOWS, changed))
    np.testing.assert_array_equal(after_RW[test_R], before_RW[test_R])
    assert not np.allclose(after_RW[use_R & ~test_R], before_RW[use_R & ~test_R], equal_nan=True)
    assert np.isnan(before_RW[~use_R]).all()


def test_training_ahead_is_charged_at_each_window_that_a_run_reaches(prices):
    ahead_RT = -HISTORY.values["label_excess"].min(axis=1, keepdims=True) + np.zeros_like(HISTORY.values["probe_loss"])
    with_ahead = replace(HISTORY, values={**HISTORY.values, "ahead.loss": ahead_RT})
    with pytest.raises(ValueError, match="run-steps"):
        stopping_prices(with_ahead, OUTCOMES, SHARES, promise=Promise(0.05), bootstrap=10)
    document = stopping_prices(with_ahead, OUTCOMES, SHARES, promise=Promise(0.05), ahead_steps=10.0, bootstrap=10)
    found = {price.name: price for price in document.prices}
    windows = DecisionWindows.of(with_ahead, OUTCOMES, SHARES)
    stop_R, _ = judged_apart(windows, everything, Promise(0.05), seed=0)
    num_asked = int((windows.open_RW & (windows.steps_W <= stop_R[:, None])).sum())
    end_R = np.array([end.step for end in HISTORY.ends])
    saved = (end_R - np.minimum(stop_R, end_R)).sum() - 10 * num_asked
    assert found[FORECAST].saved.value == pytest.approx(saved / end_R.sum())
    priced = replace(with_ahead, extra_compute={0: 0.01, 300: 0.02, 800: 0.05, 1500: 0.9})
    charged = stopping_prices(priced, OUTCOMES, SHARES, promise=Promise(0.05), bootstrap=10)
    assert charged.ahead_steps_W == pytest.approx((20.0, 40.0, 100.0))
    without = found["forecast, nothing trained ahead"]
    assert (without.saved.value, without.num_lost) == (prices[FORECAST].saved.value, prices[FORECAST].num_lost)


def test_a_rule_by_hyperparameters_sees_no_metric():
    chosen = rules(WINDOWS, has_ahead=False)["hyperparameters only"]
    assert [name for name in WINDOWS.features_W[0].names_F if chosen(name)] == ["log10(optimiser.lr)"]


def test_unfinished_sweeps_and_too_few_converging_runs_are_refused():
    running = replace(HISTORY, ends=(RunEnd("running", 500), *HISTORY.ends[1:]))
    values = {metric: array.copy() for metric, array in HISTORY.values.items()}
    for array in values.values():
        array[0, HISTORY.steps_T > 500] = np.nan
    running = replace(running, values=values)
    with pytest.raises(ValueError, match="1 of 300 runs have no outcome"):
        stopping_prices(running, decide_outcomes(running), SHARES, promise=Promise(0.05))
    with pytest.raises(ValueError, match=r"takes 299, so about 374"):
        stopping_prices(HISTORY, OUTCOMES, SHARES, promise=Promise(0.01))
    assert stopping_prices(HISTORY, OUTCOMES, SHARES, promise=Promise(0.01, is_promised=False), bootstrap=10).prices


def test_the_model_finds_a_planted_effect_and_its_probabilities_are_right_for_runs_held_out():
    probability_RW = WINDOWS.held_out_RW(np.ones(300, bool), everything, seed=0)
    asked_R = np.isfinite(probability_RW[:, 1])
    chance_R, converged_R = probability_RW[asked_R, 1], WINDOWS.converged_R[asked_R]
    assert chance_R[converged_R].mean() > chance_R[~converged_R].mean() + 0.3
    for low, high in ((0, 0.3), (0.3, 0.7), (0.7, 1)):
        inside_R = (chance_R >= low) & (chance_R < high)
        error = np.sqrt(0.25 / inside_R.sum())
        assert converged_R[inside_R].mean() == pytest.approx(chance_R[inside_R].mean(), abs=3 * error)
    assert lowest(np.array([[0.3, np.nan], [np.nan, np.nan]])).tolist() == [0.3, np.inf]


def test_weights_are_numbers_of_copies():
    features, rng = WINDOWS.features_W[1], np.random.default_rng(0)
    copies_R = rng.integers(0, 3, 300)
    use_R = copies_R > 0
    arguments = (WINDOWS.log_time_R, WINDOWS.converged_R)
    group_R = np.array([run.init_seed for run in HISTORY.runs])
    weighted = LastValuesModel.fit(
        features.rows(use_R), *(array[use_R] for array in arguments), copies_R[use_R].astype(float), group_R[use_R]
    )
    rows = np.repeat(np.arange(300), copies_R)
    copied = LastValuesModel.fit(
        replace(features, values_RF=features.values_RF[rows]),
        *(array[rows] for array in arguments),
        np.ones(len(rows)),
        group_R[rows],
    )
    np.testing.assert_allclose(weighted.probability_R(features), copied.probability_R(features), rtol=1e-6)
