"""Settings with budgets of their own: one sweep, whose runs are those of a sweep of each budget, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.outcomes.outcomes import decide_outcomes
from pipeline.launch.planned import plan_for, plan_on
from pipeline.planning.forked import forked_spec
from pipeline.planning.open_sweep import open_results
from pipeline.planning.packs import Machine
from pipeline.store.budgets import budget_by_run
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import progress_by_pack, runs_left, summed, unfinished
from pipeline.tracking.progress import ConvergenceCheck, progress_of_runs
from pipeline.training import cost
from pipeline.training.open_pack import open_pack
from pipeline.training.replay import replay
from tests.support import interrupted, opened, tiny, trained, weights

GRID = {"chunk": 10, "eval_items": 32, "probe_items": 16}
RATES = {60: 3e-3, 30: 1e-2}
COMMON = {
    "seeds": {"together": [0, 1, 2, 3, 4]},
    "resources": {"slots": 3},
    "readings": ["circuits"],
    "snapshots": {"states": "windows", "attention": "windows"},
}


def mixed(budgets=(60, 30), **changes):
    """A sweep of two learning rates, each with a budget of its own; all runs share one pack."""
    factor = {"optimiser.lr": [3e-3, 1e-2], "budget": list(budgets)}
    return tiny(**COMMON | {"budget": 60, "vary": [factor]} | changes)


def single(budget, rate, **changes):
    return tiny(**COMMON | {"budget": budget, "vary": [{"optimiser.lr": [rate]}]} | changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return trained(mixed(), tmp_path_factory.mktemp("mixed") / "r")


def assert_same_histories(found, wanted):
    assert (found.budget, found.runs, found.ends) == (wanted.budget, wanted.runs, wanted.ends)
    assert (found.windows, found.varied, found.readings) == (wanted.windows, wanted.varied, wanted.readings)
    np.testing.assert_array_equal(found.steps_T, wanted.steps_T)
    assert found.values.keys() == wanted.values.keys()
    for name, array in found.values.items():
        np.testing.assert_array_equal(array, wanted.values[name])


@pytest.mark.parametrize("budget", RATES)
def test_runs_of_several_budgets_are_those_of_a_sweep_of_their_own_budget_to_the_bit(budget, store, tmp_path):
    assert len(store.plan["packs"]) == 1
    alone = trained(single(budget, RATES[budget]), tmp_path / "r")
    assert_same_histories(store.history(budget), alone.history())
    assert weights(alone).items() <= weights(store).items()
    for run_id in weights(alone):
        for kind in ("state", "attention"):
            assert store.snapshots().of(run_id, kind) == alone.snapshots().of(run_id, kind)


def test_windows_and_snapshots_are_shares_of_the_own_budget(store):
    by_budget = {history.budget: history for history in store.histories()}
    assert {budget: history.windows for budget, history in by_budget.items()} == {
        30: ((0.0, 0), (0.25, 10)),
        60: ((0.0, 0), (0.1, 10), (0.5, 30)),
    }
    for budget, steps in ((30, [0, 10, 30]), (60, [0, 10, 30, 60])):
        run_id = by_budget[budget].runs[0].run_id
        assert sorted(store.snapshots().of(run_id)) == steps
        assert {end.step for end in by_budget[budget].ends} == {budget}


def test_a_run_is_unconverged_at_its_own_budget(store):
    outcomes = {history.budget: decide_outcomes(history) for history in store.histories()}
    for budget, found in outcomes.items():
        assert found.count("unconverged") == 5
        np.testing.assert_array_equal(found.upper_R, budget)


def test_resuming_a_sweep_of_several_budgets_gives_the_same_bits(store, tmp_path, monkeypatch):
    again, attempts = interrupted(mixed(), tmp_path / "r", 2, monkeypatch)
    assert attempts >= 3
    assert weights(again) == weights(store)
    for history, wanted in zip(again.histories(), store.histories(), strict=True):
        assert_same_histories(history, wanted)


def test_progress_counts_the_steps_that_each_run_has_left(tmp_path, store):
    started = opened(mixed(), tmp_path / "r")
    assert summed(progress_by_pack(started).values()).steps_left == 5 * 60 + 5 * 30
    assert sorted(set(budget_by_run(started.plan).values())) == [30, 60]
    loop = open_pack(started, *started.pack_ids())
    assert loop.progress().steps_left == 5 * 60 + 5 * 30
    loop.step()
    assert loop.progress().steps_left == 5 * 60 + 5 * 30 - 3 * 10
    assert summed(progress_by_pack(store).values()).run_steps == 5 * 60 + 5 * 30
    assert not unfinished(store)


def test_one_setting_goes_on_under_a_larger_budget_to_the_bits_of_one_trained_so(store, tmp_path):
    folder = tmp_path / "r"
    trained(mixed((30, 30)), folder)
    larger = mixed((60, 30))
    grown = open_results(plan_for(larger, folder, Machine.cpu(1)), folder, larger.to_yaml())
    rate = {row["run_id"]: grown.plan["settings"][row["setting_id"]]["optimiser.lr"] for row in grown.plan["runs"]}
    assert {rate[run_id] for run_id in runs_left(grown.plan, grown.newest_records())} == {RATES[60]}
    assert weights(trained(larger, folder)) == weights(store)
    with pytest.raises(StoreError, match="budget: 60 -> 30"):
        plan_for(mixed((30, 30)), folder, Machine.cpu(1))


def test_one_budget_declared_by_a_factor_is_planned_as_a_sweep_of_one_budget(tmp_path):
    spec = tiny(budget=60, vary=[{"optimiser.lr": [3e-3, 1e-2], "budget": [30, 30]}])
    plain = tiny(budget=30, vary=[{"optimiser.lr": [3e-3, 1e-2]}])
    here, there = opened(spec, tmp_path / "a").plan, opened(plain, tmp_path / "b").plan
    assert here == there
    assert (here["budget"], "budgets" in here) == (30, False)


def test_listed_steps_end_at_the_own_budget():
    spec = mixed(
        grid={**GRID, "eval_steps": [10, 30, 40, 60], "probe_steps": [0, 20, 60]}, snapshots={"states": [0, 40]}
    )
    for budget, evaluated, kept in ((30, [10, 30], (0,)), (60, [10, 30, 40, 60], (0, 40))):
        assert spec.steps(budget).grid.eval_steps_T.tolist() == evaluated
        assert spec.steps(budget).snapshots["states"] == kept
    with pytest.raises(ValueError, match="begin at or before every budget, given 40 for a budget of 30"):
        mixed(grid={**GRID, "eval_steps": [40, 60]})


def test_a_history_of_several_budgets_is_refused_by_naming_them(store):
    with pytest.raises(StoreError, match=r"budgets of 30 and 60 steps, .*choose one with --budget"):
        store.history()
    with pytest.raises(StoreError, match="budgets of 30 and 60 steps, none with 45"):
        store.history(45)


def test_a_replay_goes_to_the_budget_of_its_run(store):
    short, long = (history.runs[0].run_id for history in store.histories())
    assert replay(store, long, 30, 60, 30, (), False).num_values > 0
    with pytest.raises(ValueError, match="budget of 30 steps"):
        replay(store, short, 30, 60, 30, (), False)


def test_the_cost_of_a_plan_is_that_of_its_budgets_together(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "_timed", lambda work, device: 1.0)
    specs = (mixed(), *(single(budget, rate) for budget, rate in RATES.items()))
    both, *alone = (cost.estimate_cost(plan_on(spec, Machine.cpu(1)), 1) for spec in specs)
    assert both.time_s == pytest.approx(sum(part.time_s for part in alone))
    assert both.disk_mib == pytest.approx(sum(part.disk_mib for part in alone))


def test_forks_are_evaluated_as_parents_of_their_budget(store):
    parents = mixed(grid={**GRID, "eval_steps": [10, 30, 40, 60]})
    fork = {"steps": [10], "data_seed": {"fresh": 2}}
    forks = forked_spec(parents, store.folder, "fork", fork, 30)
    assert (forks.budget, forks.grid.eval_steps) == (30, (10, 30))
    assert forked_spec(parents, store.folder, "fork", fork, 60).grid.eval_steps == (10, 30, 40, 60)


def test_dashboards_see_each_run_end_at_its_own_budget(store):
    records, budgets = store.newest_records().values(), budget_by_run(store.plan)
    assert {found.reason for found in progress_of_runs(records, budgets).values()} == {"budget"}
    larger = progress_of_runs(records, dict.fromkeys(budgets, 60))
    assert {run for run, found in larger.items() if found.reason == "running"} == {
        run for run, budget in budgets.items() if budget == 30
    }
    assert ConvergenceCheck.of(store.sweep, store.plan).eval_steps_T.tolist() == [10, 20, 30, 40, 50, 60]


def test_a_metric_that_runs_of_another_budget_alone_record_is_in_their_history_alone(tmp_path):
    factor = {"model.num_heads": [1, 2], "budget": [30, 20]}
    found = trained(tiny(vary=[factor], seeds={"together": [0]}, readings=[]), tmp_path / "r")
    of_second_head = {name for name in found.history(20).values if "h1" in name}
    assert of_second_head
    assert not of_second_head & found.history(30).values.keys()
