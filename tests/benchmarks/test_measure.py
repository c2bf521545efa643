"""Timing helpers: known ratios, sides in processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from benchmarks.measure import Pairs, alone, compared, in_turns, throughput


@dataclass(frozen=True)
class Sleeper:
    """A side whose step takes `step_s`, and whose process must be as it was asked for."""

    step_s: float
    num_runs: int = 1
    environment: Mapping[str, str] = field(default_factory=lambda: {"SEEDBED_SLEEPER": "1"})

    def start(self):
        assert os.environ["SEEDBED_SLEEPER"] == "1"
        assert len(os.sched_getaffinity(0)) == 1
        return Sleeping(self.step_s, self.num_runs)


@dataclass(frozen=True)
class Sleeping:
    step_s: float
    width: int
    steps_per_call: int = 2

    def warm_up(self):
        self.run(2)

    def run(self, num_steps):
        assert num_steps % self.steps_per_call == 0
        time.sleep(self.step_s * num_steps)


def core():
    return os.sched_getaffinity(0)


def test_a_ratio_is_the_median_over_pairs_and_its_interval_holds_it():
    pairs = Pairs(np.array([2.0, 4.0, 6.0, 80.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert pairs.ratio == 2.0
    assert pairs.medians == (5.0, 2.5)
    low, high = pairs.interval()
    assert low == 2.0
    assert high > 2.0
    assert Pairs(np.ones(5), np.full(5, 2.0)).interval() == (0.5, 0.5)


def test_sides_take_turns_at_going_first():
    order = []
    pairs = in_turns(lambda: order.append("a") or 1.0, lambda: order.append("b") or 2.0, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert pairs.first_N.tolist() == [1.0] * 3
    assert pairs.second_N.tolist() == [2.0] * 3


def test_a_function_runs_alone_on_its_core_and_leaves_the_environment_as_it_was():
    wanted = max(core())
    assert alone(core, wanted, {"SEEDBED_SLEEPER": "1"}) == {wanted}
    assert "SEEDBED_SLEEPER" not in os.environ
    with pytest.raises(RuntimeError, match="failed in a separate process"):
        alone(partial(int, "not a number"))


def test_throughput_counts_runs_times_steps_over_all_cores():
    cores = sorted(core())
    rates = throughput(Sleeper(1e-3, num_runs=3), cores, num_rounds=2, round_s=0.2)
    assert rates.shape == (2,)
    # Sleeping takes at least as long as asked, and not much longer on an idle machine.
    assert (rates <= 3000 * len(cores)).all()
    assert (rates > 300 * len(cores)).all()


def test_two_sides_are_compared_in_turns():
    pairs = compared(Sleeper(1e-3), Sleeper(4e-3), num_pairs=2, round_s=0.2)
    assert 2 < pairs.ratio < 6
