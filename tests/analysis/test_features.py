"""Features: how hyperparameters become numbers, how settings are named, and known answers of the statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.outcomes.settings import runs_by_setting, setting_labels
from analysis.predictors.encoding import encoded as encoded_by
from analysis.predictors.encoding import encodings_of, hyperparameters_RF
from analysis.predictors.features import Features, statistics_RF, weighted_quantiles
from analysis.statistics.last_value import LastValue
from analysis.statistics.level import Level
from analysis.statistics.slope import Slope
from analysis.statistics.strongest_head import StrongestHead
from pipeline.store.history import History, RunEnd, RunInfo

N = np.nan


def runs_with(path, values):
    return tuple(RunInfo(f"r{i}", f"s{i}", i, i, {path: value}) for i, value in enumerate(values))


def encoded(values):
    features = hyperparameters_RF(runs_with("a.b", values), ("a.b",))
    return dict(zip(features.names_F, features.values_RF.T.tolist(), strict=True))


def test_numbers_over_more_than_a_factor_of_ten_are_in_logarithms():
    assert encoded([0.001, 0.01, 0.1]) == {"log10(a.b)": [-3.0, -2.0, -1.0]}
    assert encoded([1, 10]) == {"a.b": [1.0, 10.0]}
    assert encoded([0.0, 0.1, 100.0]) == {"a.b": [0.0, 0.1, 100.0]}


def test_anything_else_is_one_column_per_value():
    assert encoded(["adam", "sgd", "adam"]) == {"a.b='adam'": [1, 0, 1], "a.b='sgd'": [0, 1, 0]}
    assert encoded([True, False]) == {"a.b=False": [0, 1], "a.b=True": [1, 0]}
    assert encoded([[1, 2], "none"]) == {"a.b='none'": [0, 1], "a.b=[1, 2]": [1, 0]}


def test_a_missing_number_is_nan():
    columns = encoded([1, None])
    assert columns["a.b"][0] == 1
    assert np.isnan(columns["a.b"][1])


def test_nothing_varied_gives_no_column():
    assert hyperparameters_RF(runs_with("a", [1, 1]), ()).values_RF.shape == (2, 0)


def applied(fixed_on, values):
    encodings = encodings_of(runs_with("a.b", fixed_on), ("a.b",))
    features = encoded_by(runs_with("a.b", values), encodings)
    return dict(zip(features.names_F, features.values_RF.T.tolist(), strict=True))


def test_an_encoding_is_that_of_the_runs_that_it_was_fixed_on():
    assert applied([0.001, 0.01, 0.1], [0.01, 0.01]) == {"log10(a.b)": [-2.0, -2.0]}
    assert applied([1, 2], [1, 100]) == {"a.b": [1.0, 100.0]}
    assert applied(["adam", "sgd"], ["sgd"]) == {"a.b='adam'": [0], "a.b='sgd'": [1]}


@pytest.mark.parametrize(
    ("fixed_on", "value", "said"),
    [
        ([0.001, 0.1], 0.0, "positive numbers; a run here has 0.0"),
        ([1, 2], "many", "numbers; a run here has 'many'"),
        ([1, 2], True, "numbers; a run here has True"),
        ([1, 2], None, "numbers; a run here has no value"),
        (["adam", "sgd"], "lion", "'adam', 'sgd'; a run here has 'lion'"),
    ],
)
def test_a_value_without_a_number_is_refused_by_name(fixed_on, value, said):
    with pytest.raises(ValueError, match=f"a.b: trained on {said}"):
        applied(fixed_on, [fixed_on[0], value])


def test_a_number_that_training_runs_lacked_too_is_nan():
    assert np.isnan(applied([1, None], [None])["a.b"][0])


def test_columns_are_found_by_name_in_any_order_and_others_left_out():
    features = Features(("a", "b", "c"), np.array([[1.0, 2.0, 3.0]]))
    found = features.named(("c", "a"))
    assert (found.names_F, found.values_RF.tolist()) == (("c", "a"), [[3.0, 1.0]])
    with pytest.raises(ValueError, match="2 of 3 columns are lacking: d, e"):
        features.named(("d", "a", "e"))


def small(**metrics):
    values = {name.replace("__", "."): np.array(rows, dtype=float) for name, rows in metrics.items()}
    num_runs = len(next(iter(values.values())))
    runs = tuple(RunInfo(f"r{i}", "s", i, i, {}) for i in range(num_runs))
    return History("h", 8, runs, (RunEnd("budget", 8),) * num_runs, np.array([0, 1, 3, 7]), values).window(1.0)


def test_statistics_have_the_values_worked_out_by_hand():
    window = small(loss=[[4, 3, 2, N], [1, N, N, N], [N, N, N, N], [0, 1, 2, 3]])
    log_step = np.log([1, 2, 4, 8])
    np.testing.assert_array_equal(LastValue()(window)["last_value(loss)"], [2, 1, N, 3])
    np.testing.assert_array_equal(Level()(window)["level(loss)"], [N, N, N, 3])
    expected = [np.polyfit(log_step[:3], [4, 3, 2], 1)[0], N, N, np.polyfit(log_step, [0, 1, 2, 3], 1)[0]]
    np.testing.assert_allclose(Slope()(window)["slope(loss)"], expected, atol=1e-12)


def test_the_strongest_head_is_found_whichever_it_is():
    window = small(score__l0h0=[[0, 0, 0, 0.9], [0, 0, 0, 0.1]], score__l0h1=[[0, 0, 0, 0.2], [0, 0, 0.8, N]])
    columns = StrongestHead()(window)
    assert columns["strongest_head(score.l0 max)"].tolist() == [0.9, 0.8]
    assert columns["strongest_head(score.l0 min)"].tolist() == [0.2, 0.1]


def test_a_metric_that_no_run_recorded_stays_a_column_of_nan():
    assert np.all(np.isnan(statistics_RF(small(loss=[[N, N, N, N]])).values_RF))


def test_settings_are_named_by_what_varies_and_never_twice_alike():
    runs = (
        RunInfo("a", "s1", 0, 0, {"optimiser.lr": 0.001, "model.width": 4}),
        RunInfo("b", "s2", 0, 0, {"optimiser.lr": 0.00100000001, "model.width": 4}),
        RunInfo("c", "s3", 0, 0, {"optimiser.lr": 0.01, "model.width": 8}),
    )
    history = History("h", 1, runs, (RunEnd("budget", 1),) * 3, np.array([0]), {}, ("optimiser.lr", "model.width"))
    assert setting_labels(history) == {
        "s1": "lr=0.001, width=4 [s1]",
        "s2": "lr=0.001, width=4 [s2]",
        "s3": "lr=0.01, width=8",
    }
    assert [int(member_R.sum()) for member_R in runs_by_setting(history).values()] == [1, 1, 1]
    assert setting_labels(replace(history, runs=runs[:1], ends=history.ends[:1], varied=())) == {"s1": "all runs"}


def test_paths_with_the_same_last_part_are_named_in_full():
    runs = (RunInfo("a", "s", 0, 0, {"task.size": 1, "model.size": 2}),)
    history = History("h", 1, runs, (RunEnd("budget", 1),), np.array([0]), {}, ("task.size", "model.size"))
    assert setting_labels(history) == {"s": "task.size=1, model.size=2"}


def test_weighted_quantiles_are_those_of_copies_and_leave_nan_out():
    rng = np.random.default_rng(0)
    values_RF = np.where(rng.random((30, 4)) < 0.2, N, rng.normal(size=(30, 4)).round(1))
    copies_R = rng.integers(1, 5, size=30)
    levels = (0.01, 0.25, 0.5, 0.99)
    expected = np.nanquantile(np.repeat(values_RF, copies_R, axis=0), levels, axis=0)
    np.testing.assert_allclose(weighted_quantiles(values_RF, copies_R.astype(float), levels), expected, atol=1e-12)
