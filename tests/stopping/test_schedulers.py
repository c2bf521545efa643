"""Schedulers on recorded losses: who is stopped when, by tables made by hand and by Ray Tune itself."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

from analysis.stopping.schedulers import asha, discarded_at, median_stopping, reported, successive_halving
from pipeline.store.history import History, RunEnd, RunInfo

STEPS = np.array([100, 200, 400])
NEVER = np.inf


def losses(*rows):
    """One run per row; None where it reported nothing."""
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)


@pytest.mark.parametrize(
    ("rows", "ends", "stops"),
    [
        # Two of four are kept at 100, one of two at 200; the last one is alone at 400.
        ([[1, 4, 9], [2, 3, 9], [3, 1, 0], [4, 0, 0]], [800] * 4, [200, NEVER, 100, 100]),
        # One that has ended competes, but is not stopped.
        ([[1, 1, None], [2, 2, 2], [3, 0, 0], [4, 0, 0]], [200, 800, 800, 800], [NEVER, 200, 100, 100]),
        # One that diverged before the rung is the worst, and is not stopped either.
        ([[None] * 3, [1, 1, 1], [2, 2, 2], [3, 3, 3]], [50, 800, 800, 800], [NEVER, NEVER, 200, 100]),
        ([[5, 5, 5]], [800], [NEVER]),
    ],
)
def test_halving_keeps_the_lower_half_at_each_rung(rows, ends, stops):
    assert successive_halving(losses(*rows), STEPS, np.array(ends, float), 100, 800, eta=2).tolist() == stops


@pytest.mark.parametrize(
    ("eta", "stops"), [(2, [100, 100, NEVER, NEVER]), (4, [100, 100, 100, NEVER]), (3, [100, 100, 100, NEVER])]
)
def test_one_in_eta_goes_on(eta, stops):
    assert successive_halving(losses([4], [3], [2], [1]), STEPS[:1], np.full(4, 200.0), 100, 200, eta).tolist() == stops


def test_at_a_fixed_step_the_better_half_goes_on_and_later_losses_do_not_matter():
    loss_RT = losses([3, 0, 0], [1, 9, 9], [2, 9, 9])
    ends_R = np.array([400.0, 400.0, 400.0])
    assert discarded_at(loss_RT, STEPS, ends_R, 100).tolist() == [100, NEVER, NEVER]
    assert discarded_at(loss_RT, STEPS, ends_R, 200).tolist() == [NEVER, NEVER, 200]
    assert discarded_at(loss_RT, STEPS, np.array([100.0, 400.0, 400.0]), 100).tolist() == [NEVER, NEVER, NEVER]


def ray_tune(scheduler, loss_RT, steps_T, end_R):
    """(R,) where Ray Tune's scheduler stops each run, all running side by side and reporting in order."""
    trials = [SimpleTrial(r) for r in range(len(loss_RT))]
    controller = SimpleNamespace(get_live_trials=list)
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    stop_R = np.full(len(loss_RT), np.inf)
    for t, step in enumerate(steps_T.tolist()):
        for r in np.flatnonzero((stop_R >= step) & (end_R >= step)):
            result = {"step": step, "loss": loss_RT[r, t]}
            if end_R[r] == step:
                scheduler.on_trial_complete(controller, trials[r], result)
            elif scheduler.on_trial_result(controller, trials[r], result) == "STOP":
                stop_R[r] = step
    return stop_R


class SimpleTrial:
    """What Ray Tune's schedulers ask of a trial; compared by identity."""

    def __init__(self, number):
        self.trial_id, self.status = str(number), "RUNNING"


@pytest.fixture(scope="module")
def walks():
    """Losses of 60 runs that wander, some of which end halfway."""
    rng = np.random.default_rng(0)
    steps_T, end_R = np.arange(60, 1201, 60), np.full(60, 1200.0)
    end_R[::7] = 600
    loss_RT = rng.normal(size=(60, 1)) + 0.5 * np.cumsum(rng.normal(size=(60, 20)), axis=1)
    return np.where(steps_T <= end_R[:, None], loss_RT, np.nan), steps_T, end_R


@pytest.mark.parametrize("eta", [2, 3, 4])
def test_asha_stops_whom_ray_tune_stops(walks, eta):
    loss_RT, steps_T, end_R = walks
    scheduler = AsyncHyperBandScheduler("step", "loss", "min", max_t=1200, grace_period=60, reduction_factor=eta)
    found_R = asha(loss_RT, steps_T, end_R, 60, 1200, eta)
    assert found_R.tolist() == ray_tune(scheduler, loss_RT, steps_T, end_R).tolist()
    assert len(set(found_R.tolist())) > 2


def test_median_stopping_stops_whom_ray_tune_stops(walks):
    loss_RT, steps_T, end_R = walks
    scheduler = MedianStoppingRule("step", "loss", "min", grace_period=120)
    found_R = median_stopping(loss_RT, steps_T, end_R, 120)
    assert found_R.tolist() == ray_tune(scheduler, loss_RT, steps_T, end_R).tolist()
    assert len(set(found_R.tolist())) > 2


def test_of_equal_losses_none_is_stopped_by_asha_or_the_median():
    loss_RT = np.ones((8, 3))
    assert not np.isfinite(asha(loss_RT, STEPS, np.full(8, 800.0), 100, 800, 2)).any()
    assert not np.isfinite(median_stopping(loss_RT, STEPS, np.full(8, 800.0), 100)).any()


def test_a_run_reports_its_last_value_at_each_evaluation_until_it_ends():
    runs = tuple(RunInfo(f"r{r}", "s", r, r, {}) for r in range(2))
    values = {
        "label_excess": losses([None, None, 1, 1, 1], [None, None, 1, 1, None]),
        "probe_loss": losses([5, 4, None, 3, None], [7, np.inf, None, 6, None]),
    }
    ends = (RunEnd("budget", 300), RunEnd("diverged", 200))
    history = History("h", 300, runs, ends, np.array([0, 50, 100, 200, 300]), values)
    steps_T, loss_RT = reported(history, "probe_loss")
    assert steps_T.tolist() == [100, 200, 300]
    np.testing.assert_array_equal(loss_RT, losses([4, 3, 3], [None, 6, None]))
    with pytest.raises(ValueError, match="no metric 'loss'"):
        reported(history, "loss")
