"""The newest forecast in the mirror: in the row where it was made, in the summary, and as a share of a setting."""

from __future__ import annotations

import pytest

from pipeline.store.stored_forecast import RunProbability, newest_orders, write_forecast
from pipeline.tracking.commits import CommitReader
from pipeline.tracking.forecasts import setting_forecast_numbers, with_numbers
from pipeline.tracking.progress import CommittedProgress
from pipeline.tracking.rows import TrackedRow
from tests.store.test_stored_forecast import forecasts_of, in_training


def contents(sweep, max_runs=500, after=-1):
    """tracked run -> (rows after a step, summary) as the last pass of a mirror writes them."""
    reader = CommitReader(sweep.store, max_runs)
    reader.refresh()
    found = {}
    for tracked in reader.tracked:
        content = reader.content(tracked, reader.progress(tracked), after)
        found[tracked.tracked_id] = ([(row.step, row.values) for row in content.rows], content.summary)
    return found


@pytest.fixture
def sweep(tmp_path):
    """Four runs at step 100, forecast there except for the last, which then train on to 200."""
    sweep = in_training(tmp_path / "s")
    last = sweep.run_ids[-1]
    forecasts = forecasts_of(sweep, problem_of=lambda run_id: "too early" if run_id == last else None)
    write_forecast(sweep.store, newest_orders(sweep.store), 4, forecasts)
    for run_id in sweep.run_ids:
        sweep.train(run_id, 200)
    sweep.commit()
    return sweep


def test_a_run_carries_its_forecast_in_the_row_where_it_was_made_and_in_its_summary(sweep):
    found = contents(sweep)
    numbers = {
        "forecast/p_converged": 0.4,
        "forecast/p_diverged": 0.0,
        "forecast/window": 0.25,
        "forecast/step": 100.0,
        "forecast/median_step": 300.0,
    }
    for run_id in sweep.run_ids[:-1]:
        rows, summary = found[f"{sweep.id}-{run_id}"]
        assert numbers.items() <= summary.items()
        with_forecast = {step: {k: v for k, v in row.items() if k.startswith("forecast/")} for step, row in rows}
        assert with_forecast == {50: {}, 100: numbers, 150: {}, 200: {}}
        rows, _ = contents(sweep, after=100)[f"{sweep.id}-{run_id}"]
        assert [(step, numbers.items() <= row.items()) for step, row in rows] == [(150, True), (200, False)], (
            "rows that were written before the forecast was made stay; the next one carries it"
        )
    rows, summary = found[f"{sweep.id}-{sweep.run_ids[-1]}"]
    assert not any(key.startswith("forecast/") for row in (summary, *(row for _, row in rows)) for key in row)


def test_a_setting_carries_the_share_that_is_expected_to_converge(tmp_path):
    sweep = in_training(tmp_path / "s", detail="aggregates")
    write_forecast(sweep.store, newest_orders(sweep.store), 4, forecasts_of(sweep))
    first, *_ = sweep.setting(0)
    sweep.end(first, "converged", is_converged=True)
    sweep.commit()
    found = {name: content for name, content in contents(sweep).items() if name.endswith("-2")}
    shares = [(1 + 0.4) / 2, 0.4]
    for (rows, summary), share, num_runs in zip(found.values(), shares, (1, 2), strict=True):
        numbers = {"forecast/expected_converged_share": pytest.approx(share), "forecast/num_runs": num_runs}
        assert numbers.items() <= summary.items()
        assert [set(numbers) <= row.keys() for _, row in rows] == [False] * (len(rows) - 1) + [True]


def test_a_setting_without_a_forecast_of_a_run_in_training_carries_none():
    probability = RunProbability("a", 50, 0.1, 0.4, 0.0, None, None, None, 30)
    ended, running = CommittedProgress(100, "budget"), CommittedProgress(100, "running")
    assert setting_forecast_numbers({"a": ended}, {"a": probability}) == {}
    assert setting_forecast_numbers({"b": running}, {"a": probability}) == {}


def test_numbers_stand_in_the_last_row_that_is_not_later_or_in_the_first():
    rows = [TrackedRow(50, {"x": 1.0}), TrackedRow(100, {"x": 2.0})]
    for at, place in ((100, 100), (99, 50), (1000, 100), (49, 50)):
        found = list(with_numbers(rows, at, {"y": 3.0}))
        assert {row.step for row in found if "y" in row.values} == {place}
        assert [row.values["x"] for row in found] == [1.0, 2.0]
    assert list(with_numbers([], 10, {"y": 3.0})) == []
