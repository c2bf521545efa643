"""Look-aheads: how long a fork is for its cost, and forks that are equal to their parents but for what is stated."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.planning.look_ahead import LookAhead
from tests.support import tiny


def settings(*sizes):
    return [tiny(batch_size=size).base for size in sizes]


@pytest.mark.parametrize(
    ("sizes", "cost", "step", "batch", "num_steps"),
    [
        ((64,), 0.05, 60, 0.25, 240),
        ((64,), 0.05, 0, 0.25, 240),
        ((64, 128), 0.025, 60, 0.25, 120),
        ((32,), 0.05, 60, 0.5, 120),
        ((64, 40), 0.05, 60, 0.5, 120),
        ((64, 33), 0.05, 60, 1.0, 60),
        ((16,), 0.1, 60, 1.0, 120),
        ((64,), 0.0505, 60, 0.25, 240),
        ((64,), 0.0505, 7, 0.25, 242),
        ((16,), 0.005, 60, 1.0, 6),
    ],
)
def test_a_share_of_the_examples_gives_small_batches_and_as_many_more_steps(sizes, cost, step, batch, num_steps):
    found = LookAhead.costing(cost, step, 1200, settings(*sizes))
    assert (found.batch, found.num_steps) == (batch, num_steps)
    assert found.cost(1200) == pytest.approx(cost, rel=0.02)


@pytest.mark.parametrize("cost", [0.0, -0.1, 1.5, 0.0001])
def test_a_cost_of_less_than_a_step_or_more_than_a_run_is_refused(cost):
    with pytest.raises(ValueError, match="must cost from one step to one run"):
        LookAhead.costing(cost, 60, 1200, settings(64))


def test_forks_differ_from_their_parents_by_rate_batch_and_data_stream_alone(tmp_path):
    parents = tiny(batch_size=64, budget=60, vary=[{"optimiser.lr": [1e-3, 2e-3]}])
    runs = parents.runs()
    chosen = [run.run_id for run in runs[:6]]
    spec = LookAhead(10, 20, 1.5, 0.25).spec(parents, tmp_path, chosen)
    by_id = {run.run_id: run for run in runs}
    forks = spec.runs(runs)
    assert [fork.lineage.parent for fork in forks] == chosen
    assert (spec.budget, spec.grid.chunk, spec.steps(30).grid.probe_steps_T.tolist()) == (30, 10, [30])
    for fork in forks:
        parent = by_id[fork.lineage.parent]
        lr = round(1.5 * parent.optimiser.lr, 12)
        assert fork.setting == parent.setting.changed({"optimiser.lr": lr, "batch_size": 16})
        assert (fork.init_seed, fork.data_seed, fork.lineage.step) == (parent.init_seed, parent.data_seed, 10)
    common = LookAhead(10, 20, 1.5, 0.25, 7).spec(parents, tmp_path, chosen).runs(runs)
    assert {fork.data_seed for fork in common} == {7}
    assert {fork.lineage.changes["batch_size"] for fork in common} == {16}


def test_a_look_ahead_that_changes_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs data_seed, changes, or both"):
        LookAhead(10, 20, 1.0, 1.0).spec(tiny(), tmp_path, [tiny().runs()[0].run_id])


def test_a_dearer_look_ahead_is_longer_and_about_tells_them_apart():
    found = [LookAhead.costing(cost, 60, 1200, settings(64)) for cost in (0.025, 0.05, 0.1)]
    assert all(one.num_steps < other.num_steps for one, other in pairwise(found))
    assert len({str(one.about(1200)) for one in found}) == 3
    assert found[0].about(1200)["cost"] == 0.025


@pytest.mark.parametrize("given", [{"batch": 0.0}, {"rate": -1.0}, {"batch": float("nan")}, {"cost": float("inf")}])
def test_factors_that_are_no_numbers_above_zero_are_refused_by_name(given):
    with pytest.raises(ValueError, match=f"{next(iter(given))} must be a number above 0"):
        LookAhead.costing(**{"cost": 0.1, "step": 60, "budget": 1200, "settings": settings(64), **given})
