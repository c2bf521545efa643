"""The simulation of workers on many nodes: schedules that are known, and the table in docs/clusters.md."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from benchmarks.scale import nodes

NEVER = nodes.Faults(math.inf, open_s=0.0)


@pytest.mark.parametrize(
    ("packs", "workers", "expected"), [([3, 1, 1, 1], 2, 3), ([1, 1, 1, 3], 2, 4), ([2, 2], 8, 2), ([5], 1, 5)]
)
def test_workers_take_the_next_pack_of_the_plan(packs, workers, expected):
    assert nodes.makespan_s(packs, workers, 1, NEVER, 0, looked_at=1) == expected


def test_opening_is_paid_for_every_pack():
    assert nodes.makespan_s([4, 4], 1, 1, replace(NEVER, open_s=10.0), 0) == 28


def test_a_failure_costs_what_was_not_committed_and_the_lease(monkeypatch):
    failures = iter([100.0, math.inf])
    monkeypatch.setattr(nodes, "_next_failure", lambda *_: next(failures))
    # 60 of 100 seconds were committed; the node is back at 100 + 600, later than the lease ends.
    assert nodes.makespan_s([200.0], 1, 1, replace(NEVER, back_s=600.0), 0) == 700 + 140
    # Another node takes it over when the lease ends.
    failures = iter([100.0, math.inf])
    assert nodes.makespan_s([200.0], 2, 1, replace(NEVER, back_s=600.0), 0) == 100 + 70 + 140


def test_slots_take_the_next_run_when_one_ends():
    assert nodes._filled([5, 1, 1, 1], 2) == 5
    assert nodes._filled([1, 1, 1, 5], 2) == 6


def test_packs_are_as_many_as_a_plan_makes_and_stand_in_the_order_that_is_asked_for():
    sweep = nodes.Sweep("", 800, 10, (1.0, 100.0), 1, 2)
    found = nodes.pack_seconds(sweep, [1], 0)
    assert found == {"1.0": [8] * 5, "100.0": [800] * 5}
    assert nodes.ordered(found, "in turn") == [8, 800] * 5
    assert nodes.ordered(found, "plan") == [800, 8] * 2 + [800] * 3 + [8] * 3
    assert nodes.ordered(found, "longest first") == [800] * 5 + [8] * 5


def test_only_the_first_pack_of_a_worker_is_any_of_several():
    # The first takes 1 or 2, the second any of the next two; what is left is taken in order.
    found = {nodes.makespan_s([1.0, 2.0, 4.0, 8.0], 2, 1, NEVER, seed, looked_at=2) for seed in range(20)}
    assert found == {10.0, 11.0}


def test_asked_for_help_nothing_is_simulated(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["nodes", "--help"])
    monkeypatch.setattr(nodes, "recorded_steps", lambda: pytest.fail("simulated"))
    with pytest.raises(SystemExit, match="0"):
        nodes.main()
    assert "Simulation of workers on 2 to 64 nodes" in capsys.readouterr().out


def test_the_table_is_of_the_stored_results():
    page = nodes.PAGE.read_text()
    inside = page.partition(nodes.BEGIN)[2].partition(nodes.END)[0].strip().splitlines()
    assert inside == nodes.lines(json.loads(nodes.KEPT.read_text()))
