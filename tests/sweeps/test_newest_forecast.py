"""The newest forecast where users look: `status`, the end of a launch, and a folder that may only be read."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from pipeline.store.stored_forecast import newest_orders, read_forecast, write_forecast
from sweeps.command import launching
from sweeps.command.forecasts import newest_forecast, refreshing
from sweeps.command.forecasts.newest_forecast import keep_forecast
from sweeps.command.forecasts.refreshing import ForecastRefresher
from tests.store.test_stored_forecast import forecasts_of, in_training
from tests.support import tiny
from tests.sweeps.test_cli import run
from tests.sweeps.test_light_commands import ANALYSING, TRAINING, measured


@pytest.fixture
def sweep(tmp_path):
    return in_training(tmp_path / "s")


@pytest.fixture
def forecast(sweep):
    """A sweep with a forecast of three of its four runs, after which two packs committed once."""
    last = sweep.run_ids[-1]
    forecasts = forecasts_of(sweep, problem_of=lambda run_id: "too early" if run_id == last else None)
    write_forecast(sweep.store, newest_orders(sweep.store), 4, forecasts)
    sweep.commit()
    return sweep


def test_status_tells_how_many_are_expected_to_converge_and_how_old_that_is(forecast, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "status", forecast.folder)
    assert code == 3
    assert (
        "forecast: about 1 (90%: 0-3) of 3 runs in training converge, from window 0.25; 1 more have no forecast "
        "(too early); made just now, 2 commits since"
    ) in printed.splitlines()
    monkeypatch.setattr(newest_forecast.StoredForecast, "age_s", lambda self: 3 * 3600 + 250)
    assert "made 3 h 4 min ago" in run(monkeypatch, capsys, "status", forecast.folder)[1]


def test_runs_that_ended_since_no_longer_count(forecast, monkeypatch, capsys):
    forecast.finish(*forecast.run_ids[:2])
    _, printed = run(monkeypatch, capsys, "status", forecast.folder)
    assert "of 1 runs in training converge" in printed
    forecast.finish(*forecast.run_ids[2:])
    code, printed = run(monkeypatch, capsys, "status", forecast.folder)
    assert (code, "forecast" in printed) == (0, False)


def test_status_as_json_and_by_run_carries_the_probabilities(forecast, monkeypatch, capsys):
    _, printed = run(monkeypatch, capsys, "status", forecast.folder, "--json", "--runs")
    document = json.loads(printed)
    assert document["forecast"] | {"made_at": ""} == {
        "made_at": "", "commits_since": 2, "source": "tiny", "windows": [0.25], "num_forecast": 3, "num_without": 1,
        "expected_converged": pytest.approx(1.2), "low": 0, "high": 3,
    }  # fmt: skip
    assert [entry["p_converged"] for entry in document["runs"]] == [0.4, 0.4, 0.4, None]
    _, printed = run(monkeypatch, capsys, "status", forecast.folder, "--runs")
    lines = printed.splitlines()
    assert lines[1].split()[-2:] == ["P(conv.)", "window"]
    assert [len(line.split()) for line in lines[2:6]] == [9, 9, 9, 7]


def test_without_a_forecast_status_says_how_to_make_one(sweep, monkeypatch, capsys):
    _, printed = run(monkeypatch, capsys, "status", sweep.folder)
    assert f"make one with: seedbed forecast {sweep.folder}" in printed
    _, printed = run(monkeypatch, capsys, "status", sweep.folder, "--json")
    assert json.loads(printed)["forecast"] is None


def test_status_reads_a_forecast_without_loading_what_made_it(forecast):
    [(code, loaded)], *_ = measured(["status", forecast.folder])
    assert code == 3
    assert not loaded & (TRAINING | ANALYSING)


def test_a_folder_that_cannot_be_written_is_forecast_all_the_same(sweep, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.store.stored_forecast.write_file", refuse)
    told = keep_forecast(sweep.store, newest_orders(sweep.store), 4, forecasts_of(sweep))
    assert told == f"not kept as {sweep.folder / 'forecast.json'}: Permission denied"


def commands(monkeypatch, code):
    """Every process that a refresher begins runs this Python code instead; the list of them."""
    begun = []
    popen = subprocess.Popen

    def begin(command, **how):
        begun.append(popen([sys.executable, "-c", code], **how))
        return begun[-1]

    monkeypatch.setattr(refreshing.subprocess, "Popen", begin)
    return begun


def test_while_training_one_forecast_at_a_time_is_made_at_low_priority(sweep, monkeypatch):
    begun = commands(monkeypatch, "import time; time.sleep(60)")
    with ForecastRefresher(sweep.store, interval_s=0.0) as refresher:
        for _ in range(3):
            refresher.tick()
        assert len(begun) == 1
        with open(f"/proc/{begun[0].pid}/stat") as stat:
            assert stat.read().rpartition(")")[2].split()[16] == "10"
    assert begun[0].returncode is not None


def test_forecasts_rest_twenty_times_as_long_as_one_computes_and_no_less_than_the_interval(sweep, monkeypatch):
    begun, now, cpu_s = commands(monkeypatch, ""), [0.0], iter([0, 0, 0, 10, 10, 10, 11, 11, 11, 11])
    monkeypatch.setattr(refreshing.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(refreshing, "_children_cpu_s", lambda: next(cpu_s))
    with ForecastRefresher(sweep.store, interval_s=100.0) as refresher:
        # The first forecast takes 10 CPU seconds, seen at 110; the second takes one, seen at 311.
        for at, num_begun in ((99, 0), (100, 1), (110, 1), (309, 1), (310, 2), (311, 2), (410, 2), (411, 3)):
            now[0] = at
            refresher.tick()
            assert len(begun) == num_begun, at
            if begun:
                begun[-1].wait()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(60)", "it would take longer than 0.3 s"),
        ("import sys; sys.exit('no room')", "no room"),
        ("import os; os.kill(os.getppid(), 2); import time; time.sleep(60)", "it was interrupted"),
    ],
    ids=["too long", "failing", "interrupted"],
)
def test_a_last_forecast_that_is_not_made_is_told_and_leaves_nothing_running(code, said, sweep, monkeypatch):
    begun = commands(monkeypatch, code)
    with ForecastRefresher(sweep.store, 60.0) as refresher:
        assert refresher.finish(0.3 if "longer" in said else 30) == said
    assert begun[0].returncode is not None


@pytest.mark.parametrize("least", [pytest.param(1, marks=pytest.mark.slow), launching.MIN_FINISHED])
def test_a_launch_that_is_stopped_forecasts_what_it_leaves_if_runs_enough_have_finished(
    least, tmp_path, monkeypatch, capsys
):
    import pipeline.training.worker as worker

    monkeypatch.setattr(worker, "_POLL_INTERVAL_S", 0.0)
    # The machine may be busy with other tests.
    monkeypatch.setattr(launching, "_FORECAST_S", 300.0)
    monkeypatch.setattr(launching, "MIN_FINISHED", least)
    chunks = iter(range(4))
    monkeypatch.setattr(worker._StopFile, "__call__", lambda self: next(chunks, None) is None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(tiny(resources={"slots": 2}).to_yaml())
    code, printed = run(monkeypatch, capsys, "launch", "tiny.yaml", "--inline")
    assert code == 3
    if least > 1:
        expected = "no forecast of them: it takes 20 finished runs to learn from, and 2 of these are; each of them:"
        assert expected in " ".join(printed.split())
        assert read_forecast(launching.SweepStore(tmp_path / "results" / "tiny")) is None
        return
    expected = r"2 runs are not finished; runs in training: 2 have no forecast \((.*)\); each of them: seedbed forecast"
    assert re.search(expected, printed), printed
    assert read_forecast(launching.SweepStore(tmp_path / "results" / "tiny")).num_in_training == 2
