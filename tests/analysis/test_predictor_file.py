"""A forecaster's file: it forecasts as what was written, and whatever is wrong with it is said by name."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.fitted import fit_forecasts, hash_of_runs
from analysis.forecasting.live import forecast_running
from analysis.forecasting.predictor_file import FORMAT, read_forecaster, write_forecaster
from analysis.outcomes.outcomes import decide_outcomes
from analysis.outcomes.subsets import joined, some_runs, within
from pipeline.store.formats.sealed import seal
from tests.analysis.synthetic import synthetic_history
from tests.analysis.test_live import NOW, OUTCOMES

OTHER = synthetic_history(4, 30, seed=9, name="other", first_seed=1000)
FITTED = fit_forecasts(OTHER, decide_outcomes(OTHER), bootstrap=50)


@pytest.fixture
def path(tmp_path):
    write_forecaster(tmp_path / "f.json", FITTED)
    return tmp_path / "f.json"


def test_a_forecaster_that_was_read_back_forecasts_to_the_byte_as_the_one_that_was_written(path):
    again = read_forecaster(path)
    assert repr(forecast_running(NOW, OUTCOMES, again)) == repr(forecast_running(NOW, OUTCOMES, FITTED))
    shorter = [replace(fitted, budget=1000) for fitted in (again, FITTED)]
    ranked = [repr(forecast_running(NOW, OUTCOMES, fitted, bootstrap=0)) for fitted in shorter]
    assert ranked[0] == ranked[1]
    assert again.runs_hash == hash_of_runs(OTHER.runs) != hash_of_runs(OTHER.runs[1:])
    assert (again.task, again.budget, again.criterion) == ("dictionary_lookup", OTHER.budget, FITTED.criterion)
    assert set(json.loads(path.read_text())["body"]["versions"]) == {"seedbed", "numpy", "scikit-learn"}


def change(document, place, value):
    *parents, last = place
    for key in parents:
        document = document[key]
    if value is None:
        del document[last]
    else:
        document[last] = value


FITTED_MODEL = ("forecaster", "windows", 0, "model", "fitted")
RANKING = ("forecaster", "windows", 0, "ranking")
RIDGE, DISTRIBUTION = (*FITTED_MODEL, "ridge"), (*FITTED_MODEL, "distribution")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("format",), "seedbed forecaster 0", f"format must be '{FORMAT}'"),
        (("forecaster", "budget"), "soon", "forecaster.budget: must be of type int"),
        (("forecaster", "task"), None, "missing or unknown: task"),
        (("forecaster", "budget"), True, "forecaster.budget: must be of type int"),
        ((*RIDGE, "intercept"), True, "ridge.intercept: must be of type float"),
        ((*RIDGE, "weight_F"), [1.0], "columns, but not as many numbers in weight_F"),
        ((*RIDGE, "scaler", "spread_F"), [1.0], "columns, but not as many numbers in spread_F"),
        ((*RANKING, "loading_F"), [1.0], "columns, but not as many numbers in loading_F"),
        ((*DISTRIBUTION, "slope_K"), [1.0] * 20, "steps, but not as many numbers in slope_K"),
    ],
)
def test_a_field_that_is_wrong_is_named(path, place, value, said):
    body = json.loads(path.read_text())["body"]
    change(body, place, value)
    path.write_bytes(seal(body))
    with pytest.raises(ValueError, match=said) as error:
        read_forecaster(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff"])
def test_what_is_no_forecaster_is_refused(path, content):
    whole = path.read_bytes()
    for wrong in (content, whole[: len(whole) // 2], whole.replace(b'"other"', b'"mine"')):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=str(path)):
            read_forecaster(path)


def test_sweeps_are_joined_run_by_run_on_all_their_steps():
    first, second = some_runs(OTHER, np.arange(120) < 60), some_runs(OTHER, np.arange(120) >= 60)
    whole = joined([first, second])
    assert [run.run_id for run in whole.runs] == [run.run_id for run in OTHER.runs]
    assert whole.varied == OTHER.varied
    for metric, values_RT in OTHER.values.items():
        np.testing.assert_array_equal(whole.values[metric], values_RT)
    short = within(second, 1000)
    with pytest.raises(ValueError, match="different budgets: 1000, 2000"):
        joined([first, short])
    late = replace(first, steps_T=first.steps_T + 7)
    union = joined([late, second])
    own_RT = union.values["label_loss"][:60, np.isin(union.steps_T, late.steps_T)]
    np.testing.assert_array_equal(own_RT, late.values["label_loss"])
    assert np.isnan(union.values["label_loss"][60:, union.steps_T == late.steps_T[-1]]).all()
    with pytest.raises(ValueError, match="a run occurs in two"):
        joined([first, first])
