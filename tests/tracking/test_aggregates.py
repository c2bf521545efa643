"""Rows of settings, against the same numbers computed run by run, and how often they are looked for."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.spec.criterion import Criterion
from pipeline.tracking.mirror import DrivenWait
from pipeline.tracking.names import CONVERGED_SHARE, NUM_RUNS, QUANTILES, quantile_names
from pipeline.tracking.progress import ConvergenceCheck
from pipeline.tracking.rows import Recorded, aggregate_rows, stacked_curves


def recorded_at_random(rng: np.random.Generator, num_runs: int) -> list[Recorded]:
    """Runs that end at different steps, some without a metric, some of its values, or any time."""
    found = []
    for _ in range(num_runs):
        steps_T = np.arange(0, 10 * rng.integers(1, 6), 10)
        metrics = ("loss", "accuracy") if rng.random() < 0.7 else ("loss",)
        values_TM = rng.random((len(steps_T), len(metrics)))
        values_TM[rng.random(values_TM.shape) < 0.2] = np.nan
        times_T = steps_T + rng.random(len(steps_T)) if rng.random() < 0.5 else np.full(len(steps_T), np.nan)
        found.append(Recorded(steps_T, metrics, values_TM, times_T))
    return found


def test_rows_of_a_setting_are_those_of_its_runs_one_by_one() -> None:
    rng = np.random.default_rng(0)
    recorded_R = recorded_at_random(rng, 40)
    confirmed = rng.integers(0, 60, 12)
    rows = list(aggregate_rows(stacked_curves(recorded_R), confirmed, after=0, last_step=30))
    assert [row.step for row in rows] == [10, 20, 30]
    for row in rows:
        at_step = [(run, run.steps_T.tolist().index(row.step)) for run in recorded_R if row.step in run.steps_T]
        assert row.values[NUM_RUNS] == len(at_step)
        assert row.values[CONVERGED_SHARE] == np.mean(confirmed <= row.step) * 12 / 40
        for metric in ("loss", "accuracy"):
            values = np.array([run.column(metric)[place] for run, place in at_step])
            expected = np.quantile(values[~np.isnan(values)], list(QUANTILES.values()))
            assert [row.values[name] for name in quantile_names(metric)] == expected.tolist()
        assert row.at == np.nanmax([run.times_T[place] for run, place in at_step])


def test_streaks_of_many_runs_are_those_of_each() -> None:
    recorded_R = recorded_at_random(np.random.default_rng(1), 200)
    check = ConvergenceCheck(Criterion(metric="loss", at_most=0.6, evaluations=2), np.arange(0, 50, 20))
    alone = [check.streak(recorded) for recorded in recorded_R]
    together = [tuple(streak) for group in stacked_curves(recorded_R) for streak in check.streaks(group).tolist()]
    assert sorted(together) == sorted(streak for streak in alone if streak is not None)
    assert {None, (0, 20), (20, 40)} == set(alone)
    for recorded, streak in zip(recorded_R, alone, strict=True):
        is_met = {int(step): loss <= 0.6 for step, loss in zip(recorded.steps_T, recorded.column("loss"), strict=True)}
        starts = [step for step in (0, 20) if is_met.get(step) and is_met.get(step + 20)]
        assert (streak is None) if not starts else streak == (starts[0], starts[0] + 20)


def test_a_mirror_takes_a_tenth_of_a_core_at_most() -> None:
    spent_s = [0.0]
    wait = DrivenWait(2.0, lambda: spent_s[0])
    assert wait.interval_s == 2.0
    spent_s[0] = 5.0
    assert wait.interval_s == pytest.approx(45.0)
