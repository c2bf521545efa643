"""The contract of `analysis.predictors.base.Predictor`."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.contracts.synthetic import synthetic_history
from analysis.forecasting.evaluation import cases_of
from analysis.outcomes.outcomes import decide_outcomes
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, Targets
from analysis.predictors.features import Features
from pipeline.contracts.contract import BrokenClauseError, Case, Contract, require

HISTORY = synthetic_history(4, 12, seed=2)
_CASES = cases_of(HISTORY.window(0.1))
_TRAIN_R = _CASES.init_seed_R < 8
TRAIN, TEST = _CASES.rows(_TRAIN_R), _CASES.rows(~_TRAIN_R)
TARGETS = Targets.of(decide_outcomes(HISTORY), HISTORY.budget, _TRAIN_R)


def _require_distribution(forecast: Forecast, number: int, when: str = "") -> None:
    parts = {
        "P(converged)": forecast.converged_R,
        "P(diverged)": forecast.diverged_R,
        "P(unconverged)": forecast.unconverged_R,
    }
    for name, share_R in parts.items():
        require(share_R.shape == (number,), f"{name} has shape {share_R.shape} for {number} runs{when}")
        is_share = np.all((share_R >= 0) & (share_R <= 1))
        require(is_share, f"{name} is {np.min(share_R):g} to {np.max(share_R):g}{when}")
    total_R = sum(parts.values())
    require(np.allclose(total_R, 1), f"probabilities do not sum to 1{when}")


def forecast_bytes(forecast: Forecast) -> bytes:
    """A forecast's probabilities and times, to the bit."""
    times = b"" if forecast.times is None else forecast.times.steps_K.tobytes() + forecast.times.by_RK.tobytes()
    return forecast.converged_R.tobytes() + forecast.diverged_R.tobytes() + times


def _all_of(kind: str, number: int) -> Targets:
    """Targets of runs that all came to the same: halfway, or at the budget."""
    upper_R = np.full(number, 2000.0 if kind == "unconverged" else 1000.0)
    lower_R = upper_R - 50 if kind == "converged" else upper_R
    return Targets(np.full(number, kind), lower_R, upper_R, HISTORY.budget)


def _check_1_fitting_changes_nothing_and_what_it_gives_can_be_pickled(predictor: Predictor) -> None:
    before = copy.deepcopy((TRAIN, TARGETS))
    fitted = predictor.fit(TRAIN, TARGETS)
    again = pickle.loads(pickle.dumps(fitted))
    is_same = forecast_bytes(again.forecast(TEST)) == forecast_bytes(fitted.forecast(TEST))
    require(is_same, "what was fitted forecasts differently once it is pickled and read")
    is_kept = before[0].statistics.values_RF.tobytes() == TRAIN.statistics.values_RF.tobytes()
    is_kept = is_kept and all(np.array_equal(values_R, getattr(TARGETS, n)) for n, values_R in vars(before[1]).items())
    require(is_kept, "`fit` changes its arguments")


def _check_2_a_forecast_is_a_distribution(predictor: Predictor) -> None:
    _require_distribution(predictor.fit(TRAIN, TARGETS).forecast(TEST), len(TEST))


def _check_2_times_rise_to_the_probability_to_converge_and_intervals_stand_in_order(predictor: Predictor) -> None:
    forecast = predictor.fit(TRAIN, TARGETS).forecast(TEST)
    if (times := forecast.times) is not None:
        require(np.all(np.diff(times.steps_K) > 0), "the steps of its times do not rise")
        require(np.all(np.diff(times.by_RK, axis=1) >= 0), "P(converged by a step) falls with the step")
        is_whole = times.by_RK[:, -1].tobytes() == forecast.converged_R.tobytes()
        require(is_whole, "P(converged by the last step) is not P(converged)")
        is_within = times.start < times.steps_K[0] <= times.steps_K[-1] <= HISTORY.budget
        require(is_within, f"the steps of its times are {times.steps_K[0]} to {times.steps_K[-1]} of {HISTORY.budget}")
    if (ends := forecast.interval_R3) is not None:
        require(ends.shape == (len(TEST), 3), f"its intervals have shape {ends.shape} for {len(TEST)} runs")
        require(np.all(ends[:, :-1] <= ends[:, 1:]), "low end, median and high end do not stand in order")


def _check_3_it_is_deterministic(predictor: Predictor) -> None:
    first = predictor.fit(TRAIN, TARGETS).forecast(TEST)
    second = type(predictor)().fit(TRAIN, TARGETS).forecast(TEST)
    require(forecast_bytes(first) == forecast_bytes(second), "it forecasts differently when it is fitted again")


def _check_4_forecasts_do_not_depend_on_one_another(predictor: Predictor) -> None:
    fitted = predictor.fit(TRAIN, TARGETS)
    whole = fitted.forecast(TEST).converged_R
    for r in range(len(TEST)):
        alone = fitted.forecast(TEST.rows(np.arange(len(TEST)) == r)).converged_R
        told = f"P(converged) of a case is {alone[0]:.17g} by itself, and {whole[r]:.17g} beside {len(TEST) - 1} others"
        require(alone.tobytes() == whole[r : r + 1].tobytes(), told)


def _edge_cases() -> Iterator[tuple[str, Cases, Targets]]:
    one_R = np.arange(len(TRAIN)) == 0
    nan = Features(TRAIN.statistics.names_F, np.full_like(TRAIN.statistics.values_RF, np.nan))
    none = Features((), np.empty((len(TRAIN), 0)))
    for kind in ("converged", "diverged", "unconverged"):
        yield f"from runs that all {kind}", TRAIN, _all_of(kind, len(TRAIN))
        yield f"from one run, which {kind}", TRAIN.rows(one_R), _all_of(kind, 1)
    yield "where all statistics are NaN", replace(TRAIN, statistics=nan), TARGETS
    yield "where there is no statistic", replace(TRAIN, statistics=none), TARGETS
    nothing = replace(TRAIN, statistics=none, hyperparameters=none)
    yield "where there is neither statistic nor hyperparameter", nothing, TARGETS
    yield "from runs of one init_seed", replace(TRAIN, init_seed_R=np.zeros(len(TRAIN), dtype=np.int64)), TARGETS


def _check_5_it_fits_whatever_there_is_and_forecasts_unknown_settings(predictor: Predictor) -> None:
    for why, train, targets in _edge_cases():
        unknown = replace(train, setting_R=np.array(["never seen"] * len(train)))
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                fitted = predictor.fit(train, targets)
                for cases in (train, unknown):
                    _require_distribution(fitted.forecast(cases), len(cases), f" {why}")
            except Exception as error:
                error.add_note(why)
                raise


def _check_5_no_training_run_is_an_error_that_says_so(predictor: Predictor) -> None:
    none_R = np.zeros(len(TRAIN), bool)
    _require_refused(lambda: predictor.fit(TRAIN.rows(none_R), TARGETS.rows(none_R)), "at least one finished run")


def _require_refused(work: Callable[[], object], words: str) -> None:
    """It raises a ValueError with these words."""
    try:
        work()
    except ValueError as error:
        require(words in str(error), f"it is refused by {str(error)!r}, which does not say {words!r}")
        return
    raise BrokenClauseError(f"it is taken without a word, and {words!r} should be said")


def _check_6_nothing_is_estimated_from_the_cases_to_forecast(predictor: Predictor) -> None:
    # Forecasting a batch with wild other cases beside must leave the scales, and so the forecasts, as they were.
    wild = replace(TEST, statistics=Features(TEST.statistics.names_F, TEST.statistics.values_RF * 1e6))
    both_R = np.arange(len(TEST)) < 4
    mixed_RF = np.where(both_R[:, None], TEST.statistics.values_RF, wild.statistics.values_RF)
    mixed = replace(TEST, statistics=Features(TEST.statistics.names_F, mixed_RF))
    fitted = predictor.fit(TRAIN, TARGETS)
    is_same = fitted.forecast(mixed).converged_R[:4].tobytes() == fitted.forecast(TEST).converged_R[:4].tobytes()
    require(is_same, "forecasts of four cases change with the statistics of the cases beside them")


def _with_columns(cases: Cases, change: Callable[[Features], Features]) -> Cases:
    """The cases with `change` applied to both tables of columns."""
    return replace(cases, statistics=change(cases.statistics), hyperparameters=change(cases.hyperparameters))


def _reordered(features: Features) -> Features:
    names = features.names_F[::-1]
    return features.named(names).beside(Features(("unknown",), np.full((len(features.values_RF), 1), 7.0)))


def _check_7_columns_go_by_name_whatever_their_order_and_whatever_else_there_is(predictor: Predictor) -> None:
    fitted = predictor.fit(TRAIN, TARGETS)
    statistics = _reordered(TEST.statistics)
    hyperparameters = TEST.hyperparameters.named(TEST.hyperparameters.names_F[::-1])
    other = replace(TEST, statistics=statistics, hyperparameters=hyperparameters)
    is_same = forecast_bytes(fitted.forecast(other)) == forecast_bytes(fitted.forecast(TEST))
    require(is_same, "it forecasts differently from columns in another order, with an unknown one beside them")


def refusals(predictor: Predictor) -> dict[str, str]:
    """Column that it learned from -> what it says of cases without it. Columns that it ignores are left out."""
    fitted = predictor.fit(TRAIN, TARGETS)
    names = TRAIN.statistics.beside(TRAIN.hyperparameters).names_F
    return {name: text for name in names if (text := _refusal(fitted, name))}


def _refusal(fitted: Fitted, name: str) -> str:
    try:
        forecast = fitted.forecast(_with_columns(TEST, lambda features: features.keep(lambda other: other != name)))
    except ValueError as error:
        return str(error)
    is_same = forecast_bytes(forecast) == forecast_bytes(fitted.forecast(TEST))
    return "" if is_same else "other forecasts, without a word"


def _check_7_a_lacking_column_is_an_error_that_names_it(predictor: Predictor) -> None:
    for name, text in refusals(predictor).items():
        require(name in text, f"it says {text!r} of cases without {name}")


def _check_8_a_whole_weight_counts_as_copies(predictor: Predictor) -> None:
    copies_R = np.arange(len(TRAIN)) % 3 + 1
    # Rows of Cases and Targets are chosen by any index that numpy takes.
    repeated_R: Any = np.repeat(np.arange(len(TRAIN)), copies_R)
    weighted = predictor.fit(TRAIN, TARGETS, copies_R.astype(float)).forecast(TEST)
    copied = predictor.fit(TRAIN.rows(repeated_R), TARGETS.rows(repeated_R)).forecast(TEST)
    np.testing.assert_allclose(weighted.converged_R, copied.converged_R, rtol=1e-5)
    np.testing.assert_allclose(weighted.diverged_R, copied.diverged_R, rtol=1e-5, atol=1e-12)
    plain = predictor.fit(TRAIN, TARGETS).forecast(TEST)
    require(forecast_bytes(weighted) != forecast_bytes(plain), "weights of 1, 2 and 3 change no forecast")


def _check_8_a_weight_of_zero_is_absence_and_none_given_is_one_for_each(predictor: Predictor) -> None:
    use_R = np.asarray(np.arange(len(TRAIN)) % 4 > 0)
    part = (TRAIN.rows(use_R), TARGETS.rows(use_R))
    for what, weight_R, expected in (
        ("a weight of 0 for every fourth run than without them", use_R.astype(float), part),
        ("a weight of 1 for each run than without weights", np.ones(len(TRAIN)), (TRAIN, TARGETS)),
    ):
        found = predictor.fit(TRAIN, TARGETS, weight_R).forecast(TEST)
        is_same = forecast_bytes(found) == forecast_bytes(predictor.fit(*expected).forecast(TEST))
        require(is_same, f"it forecasts differently with {what}")


def _check_8_a_weight_that_is_no_number_of_copies_is_refused(predictor: Predictor) -> None:
    for wrong in (-1.0, np.nan, np.inf):
        weight_R = np.where(np.arange(len(TRAIN)) == 3, wrong, 1.0)
        _require_refused(lambda weight_R=weight_R: predictor.fit(TRAIN, TARGETS, weight_R), "weights must be")  # type: ignore[misc]
    _require_refused(lambda: predictor.fit(TRAIN, TARGETS, np.zeros(len(TRAIN))), "at least one finished run")


def _cases(cls: type[Predictor]) -> list[Case]:
    return [Case("", (cls(),))]


PREDICTOR_CONTRACT = Contract(
    Predictor.__doc__ or "",
    (
        _check_1_fitting_changes_nothing_and_what_it_gives_can_be_pickled,
        _check_2_a_forecast_is_a_distribution,
        _check_2_times_rise_to_the_probability_to_converge_and_intervals_stand_in_order,
        _check_3_it_is_deterministic,
        _check_4_forecasts_do_not_depend_on_one_another,
        _check_5_it_fits_whatever_there_is_and_forecasts_unknown_settings,
        _check_5_no_training_run_is_an_error_that_says_so,
        _check_6_nothing_is_estimated_from_the_cases_to_forecast,
        _check_7_columns_go_by_name_whatever_their_order_and_whatever_else_there_is,
        _check_7_a_lacking_column_is_an_error_that_names_it,
        _check_8_a_whole_weight_counts_as_copies,
        _check_8_a_weight_of_zero_is_absence_and_none_given_is_one_for_each,
        _check_8_a_weight_that_is_no_number_of_copies_is_refused,
    ),
    _cases,
)
