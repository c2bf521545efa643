"""The contract of analysis.predictors.base.Predictor, over every registered predictor, in the interface's order."""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.evaluation import cases_of
from analysis.outcomes.outcomes import decide_outcomes
from analysis.predictors.base import PREDICTORS, Targets
from analysis.predictors.features import Features
from analysis.predictors.last_loss import LOSSES
from tests.analysis.synthetic import synthetic_history

HISTORY = synthetic_history(4, 12, seed=2)
CASES = cases_of(HISTORY.window(0.1))
TRAIN_R = CASES.init_seed_R < 8
TRAIN, TEST = CASES.rows(TRAIN_R), CASES.rows(~TRAIN_R)
TARGETS = Targets.of(decide_outcomes(HISTORY), HISTORY.budget, TRAIN_R)
READS = {
    "base_rate": (),
    "setting_rate": (),
    "hyperparameters_only": TRAIN.hyperparameters.names_F,
    "last_loss": tuple(name for name in TRAIN.statistics.names_F if name in LOSSES),
    "best_statistic": ("strongest_head(attention_entropy.l0 min)",),
    "boosted_hyperparameters": TRAIN.hyperparameters.names_F,
    "boosted_trees": TRAIN.columns.names_F,
    "cox": TRAIN.columns.names_F,
    "discrete_hazard": TRAIN.columns.names_F,
    "logistic": TRAIN.columns.names_F,
    "ridge_time": TRAIN.columns.names_F,
}
WITH_TIMES = ("base_rate", "cox", "discrete_hazard", "ridge_time", "setting_rate")


@pytest.fixture(params=list(PREDICTORS))
def predictor(request):
    return PREDICTORS[request.param]()


def is_distribution(forecast, number):
    parts = (forecast.converged_R, forecast.diverged_R, forecast.unconverged_R)
    return all(p.shape == (number,) and np.all((p >= 0) & (p <= 1)) for p in parts) and np.allclose(sum(parts), 1)


def as_bytes(forecast):
    times = b"" if forecast.times is None else forecast.times.steps_K.tobytes() + forecast.times.by_RK.tobytes()
    return forecast.converged_R.tobytes() + forecast.diverged_R.tobytes() + times


def all_of(kind, number):
    """Targets of runs that all came to the same: halfway, or at the budget."""
    upper_R = np.full(number, 2000.0 if kind == "unconverged" else 1000.0)
    lower_R = upper_R - 50 if kind == "converged" else upper_R
    return Targets(np.full(number, kind), lower_R, upper_R, HISTORY.budget)


def test_1_fitting_changes_nothing_and_what_it_gives_can_be_pickled(predictor):
    before = copy.deepcopy((TRAIN, TARGETS))
    fitted = predictor.fit(TRAIN, TARGETS)
    again = pickle.loads(pickle.dumps(fitted))
    assert as_bytes(again.forecast(TEST)) == as_bytes(fitted.forecast(TEST))
    assert before[0].statistics.values_RF.tobytes() == TRAIN.statistics.values_RF.tobytes()
    for name, values_R in vars(before[1]).items():
        assert np.array_equal(values_R, getattr(TARGETS, name))


def test_2_a_forecast_is_a_distribution(predictor):
    assert is_distribution(predictor.fit(TRAIN, TARGETS).forecast(TEST), len(TEST))


def test_2_times_rise_to_the_probability_to_converge_and_intervals_stand_in_order(predictor):
    forecast = predictor.fit(TRAIN, TARGETS).forecast(TEST)
    if forecast.times is not None:
        assert np.all(np.diff(forecast.times.steps_K) > 0)
        assert np.all(np.diff(forecast.times.by_RK, axis=1) >= 0)
        assert forecast.times.by_RK[:, -1].tobytes() == forecast.converged_R.tobytes()
        assert forecast.times.start < forecast.times.steps_K[0] <= forecast.times.steps_K[-1] <= HISTORY.budget
    if forecast.interval_R3 is not None:
        assert forecast.interval_R3.shape == (len(TEST), 3)
        assert np.all(forecast.interval_R3[:, :-1] <= forecast.interval_R3[:, 1:])
    if predictor.name in READS:
        assert (forecast.times is not None) == (predictor.name in WITH_TIMES)


def test_3_it_is_deterministic(predictor):
    first = predictor.fit(TRAIN, TARGETS).forecast(TEST)
    second = type(predictor)().fit(TRAIN, TARGETS).forecast(TEST)
    assert as_bytes(first) == as_bytes(second)


def test_4_forecasts_do_not_depend_on_one_another(predictor):
    fitted = predictor.fit(TRAIN, TARGETS)
    whole = fitted.forecast(TEST).converged_R
    for r in range(len(TEST)):
        alone = fitted.forecast(TEST.rows(np.arange(len(TEST)) == r)).converged_R
        assert alone.tobytes() == whole[r : r + 1].tobytes()


def edge_cases():
    one_R = np.arange(len(TRAIN)) == 0
    nan = Features(TRAIN.statistics.names_F, np.full_like(TRAIN.statistics.values_RF, np.nan))
    none = Features((), np.empty((len(TRAIN), 0)))
    for kind in ("converged", "diverged", "unconverged"):
        yield f"only {kind}", TRAIN, all_of(kind, len(TRAIN))
        yield f"one run, {kind}", TRAIN.rows(one_R), all_of(kind, 1)
    yield "all NaN", replace(TRAIN, statistics=nan), TARGETS
    yield "no statistic", replace(TRAIN, statistics=none), TARGETS
    yield "nothing at all", replace(TRAIN, statistics=none, hyperparameters=none), TARGETS
    yield "one init seed", replace(TRAIN, init_seed_R=np.zeros(len(TRAIN), dtype=np.int64)), TARGETS


@pytest.mark.parametrize(("why", "train", "targets"), list(edge_cases()), ids=[case[0] for case in edge_cases()])
def test_5_it_fits_whatever_there_is_and_forecasts_unknown_settings(predictor, why, train, targets):
    unknown = replace(train, setting_R=np.array(["never seen"] * len(train)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        fitted = predictor.fit(train, targets)
        for cases in (train, unknown):
            assert is_distribution(fitted.forecast(cases), len(cases))


def test_5_no_training_run_is_an_error_that_says_so(predictor):
    with pytest.raises(ValueError, match="at least one finished run"):
        predictor.fit(TRAIN.rows(np.zeros(len(TRAIN), bool)), TARGETS.rows(np.zeros(len(TRAIN), bool)))


def test_6_nothing_is_estimated_from_the_cases_to_forecast(predictor):
    # Forecasting a batch with wild other cases beside must leave the scales, and so the forecasts, as they were.
    wild = replace(TEST, statistics=Features(TEST.statistics.names_F, TEST.statistics.values_RF * 1e6))
    both_R = np.arange(len(TEST)) < 4
    mixed_RF = np.where(both_R[:, None], TEST.statistics.values_RF, wild.statistics.values_RF)
    mixed = replace(TEST, statistics=Features(TEST.statistics.names_F, mixed_RF))
    fitted = predictor.fit(TRAIN, TARGETS)
    assert fitted.forecast(mixed).converged_R[:4].tobytes() == fitted.forecast(TEST).converged_R[:4].tobytes()


def with_columns(cases, change):
    """The cases with `change` applied to both tables of columns."""
    return replace(cases, statistics=change(cases.statistics), hyperparameters=change(cases.hyperparameters))


def reordered(features):
    names = features.names_F[::-1]
    return features.named(names).beside(Features(("unknown",), np.full((len(features.values_RF), 1), 7.0)))


def test_7_columns_go_by_name_whatever_their_order_and_whatever_else_there_is(predictor):
    fitted = predictor.fit(TRAIN, TARGETS)
    statistics = reordered(TEST.statistics)
    hyperparameters = TEST.hyperparameters.named(TEST.hyperparameters.names_F[::-1])
    other = replace(TEST, statistics=statistics, hyperparameters=hyperparameters)
    assert as_bytes(fitted.forecast(other)) == as_bytes(fitted.forecast(TEST))


def refusal(fitted, name):
    """What the fitted predictor says of cases without this column; empty where its forecasts are as with it."""
    try:
        forecast = fitted.forecast(with_columns(TEST, lambda features: features.keep(lambda other: other != name)))
    except ValueError as error:
        return str(error)
    return "" if as_bytes(forecast) == as_bytes(fitted.forecast(TEST)) else "other forecasts, without a word"


def test_7_a_lacking_column_is_an_error_that_names_it(predictor):
    fitted = predictor.fit(TRAIN, TARGETS)
    said = {name: refusal(fitted, name) for name in TRAIN.statistics.beside(TRAIN.hyperparameters).names_F}
    refused = [name for name, text in said.items() if text]
    assert all(name in said[name] for name in refused)
    if predictor.name in READS:
        assert refused == list(READS[predictor.name])


def test_8_a_whole_weight_counts_as_copies(predictor):
    copies_R = np.arange(len(TRAIN)) % 3 + 1
    repeated_R = np.repeat(np.arange(len(TRAIN)), copies_R)
    weighted = predictor.fit(TRAIN, TARGETS, copies_R.astype(float)).forecast(TEST)
    copied = predictor.fit(TRAIN.rows(repeated_R), TARGETS.rows(repeated_R)).forecast(TEST)
    np.testing.assert_allclose(weighted.converged_R, copied.converged_R, rtol=1e-5)
    np.testing.assert_allclose(weighted.diverged_R, copied.diverged_R, rtol=1e-5, atol=1e-12)
    assert as_bytes(weighted) != as_bytes(predictor.fit(TRAIN, TARGETS).forecast(TEST))


def test_8_a_weight_of_zero_is_absence_and_none_given_is_one_for_each(predictor):
    use_R = np.arange(len(TRAIN)) % 4 > 0
    without = predictor.fit(TRAIN.rows(use_R), TARGETS.rows(use_R)).forecast(TEST)
    assert as_bytes(predictor.fit(TRAIN, TARGETS, use_R.astype(float)).forecast(TEST)) == as_bytes(without)
    unweighted = predictor.fit(TRAIN, TARGETS).forecast(TEST)
    assert as_bytes(predictor.fit(TRAIN, TARGETS, np.ones(len(TRAIN))).forecast(TEST)) == as_bytes(unweighted)


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_8_a_weight_that_is_no_number_of_copies_is_refused(predictor, wrong):
    weight_R = np.where(np.arange(len(TRAIN)) == 3, wrong, 1.0)
    with pytest.raises(ValueError, match="weights must be"):
        predictor.fit(TRAIN, TARGETS, weight_R)
    with pytest.raises(ValueError, match="at least one finished run"):
        predictor.fit(TRAIN, TARGETS, np.zeros(len(TRAIN)))
