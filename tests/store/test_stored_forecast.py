"""The newest forecast of a sweep: kept beside the commits, never in their way, and never replaced by an older one."""

from __future__ import annotations

import json

import pytest

from pipeline.store.formats.sealed import seal
from pipeline.store.progress import runs_left
from pipeline.store.stored_forecast import FORECAST_FILE, newest_orders, orders_of, read_forecast, write_forecast
from tests.tracking.tracked import BUDGET, Sweep

WINDOWS = [{"fraction": 0.25, "num_finished": number} for number in (300, 200)]


def row(run_id, converged=0.4, problem=None):
    numbers = {"converged": converged, "diverged": 0.0, "median": 300.0, "low": 200.0, "high": "beyond the budget"}
    if problem is not None:
        numbers = dict.fromkeys(numbers)
    return {"run_id": run_id, "step": 100, "window": None if problem else 0.25, "problem": problem, **numbers}


def forecasts_of(sweep, source="tiny", problem_of=lambda run_id: None):
    rows = [row(run_id, problem=problem_of(run_id)) for run_id in sweep.run_ids]
    return {"sweep": "tiny", "budget": BUDGET, "source": source, "runs": rows, "notes": [], "windows": WINDOWS}


def in_training(folder, **tracking):
    """Four runs in two packs, all in training, committed once."""
    sweep = Sweep(folder, mode="disabled", **tracking)
    for run_id in sweep.run_ids:
        sweep.train(run_id, 100)
    sweep.commit()
    return sweep


@pytest.fixture
def sweep(tmp_path):
    return in_training(tmp_path / "s")


def test_a_forecast_is_read_back_with_the_commits_that_were_made_since(sweep):
    store = sweep.store
    assert read_forecast(store) is None
    assert write_forecast(store, newest_orders(store), 4, forecasts_of(sweep))
    found = read_forecast(store)
    assert (found.num_runs, found.num_in_training, found.age_s() < 60) == (4, 4, True)
    assert found.commits_since(orders_of(store.newest_records())) == 0
    probability = found.probabilities(sweep.run_ids[:1])[sweep.run_ids[0]]
    assert (probability.converged, probability.median, probability.high) == (0.4, 300.0, None)
    assert probability.num_learned == 200
    sweep.commit()
    sweep.commit()
    assert found.commits_since(newest_orders(store)) == 4


def test_reasons_are_counted_among_the_runs_that_are_left(sweep):
    first = sweep.run_ids[0]
    forecasts = forecasts_of(sweep, problem_of=lambda run_id: None if run_id == first else "early")
    write_forecast(sweep.store, newest_orders(sweep.store), 4, forecasts)
    found = read_forecast(sweep.store)
    assert list(found.probabilities()) == [first]
    assert found.problems(sweep.run_ids) == {"early": 3}
    assert found.problems(sweep.run_ids[:2]) == {"early": 1}


def test_an_older_forecast_does_not_replace_a_newer_one(sweep):
    before = newest_orders(sweep.store)
    sweep.commit()
    after = newest_orders(sweep.store)
    assert write_forecast(sweep.store, after, 4, forecasts_of(sweep, "newer"))
    assert not write_forecast(sweep.store, before, 4, forecasts_of(sweep, "older"))
    assert read_forecast(sweep.store).forecasts["source"] == "newer"
    assert write_forecast(sweep.store, after, 4, forecasts_of(sweep, "of the same commits"))
    assert read_forecast(sweep.store).forecasts["source"] == "of the same commits"


def test_a_later_attempt_is_newer_whatever_its_sequence(sweep):
    sweep.commit()
    later = {
        pack_id: (attempt + 1, sequence - 1) for pack_id, (attempt, sequence) in newest_orders(sweep.store).items()
    }
    write_forecast(sweep.store, newest_orders(sweep.store), 4, forecasts_of(sweep))
    assert write_forecast(sweep.store, later, 4, forecasts_of(sweep, "later"))


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body | {"format": 0},
        lambda body: body | {"forecasts": body["forecasts"] | {"budget": BUDGET - 1}},
        None,
    ],
    ids=["another format", "another budget", "damaged"],
)
def test_what_cannot_be_used_is_no_forecast_and_the_next_one_takes_its_place(change, sweep):
    path, orders = sweep.folder / FORECAST_FILE, newest_orders(sweep.store)
    write_forecast(sweep.store, orders, 4, forecasts_of(sweep))
    body = json.loads(path.read_bytes())["body"]
    path.write_bytes(path.read_bytes()[:-9] if change is None else seal(change(body)))
    assert read_forecast(sweep.store) is None
    assert write_forecast(sweep.store, orders, 4, forecasts_of(sweep))
    assert read_forecast(sweep.store) is not None


def test_the_runs_that_are_left_are_those_without_an_end(sweep):
    first, *others = sweep.run_ids
    sweep.finish(first)
    assert runs_left(sweep.store.plan, sweep.store.newest_records()) == others
