"""Censoring weights: known truth of a sweep in waves, and the estimate by other means that they must agree with."""

from __future__ import annotations

import numpy as np

from analysis.forecasting.censoring import censoring_weights, watched_until
from analysis.outcomes.incidence import incidence
from analysis.outcomes.outcomes import DEFAULT_CRITERION, Outcomes, decide_outcomes
from pipeline.store.history import RunInfo
from tests.analysis.synthetic import tiny_history

BUDGET, NOW = 1000, 1300
P_CONVERGES = 0.5


def sweep_in_waves(rng, num_runs=400):
    """(kinds, times, what runs will be) of runs that start at 0, 300, 600 and 900, all seen at step 1300 of the first.

    Half of the runs would converge, somewhere in the budget, and end there; a tenth of the others diverge early.
    """
    converges_R = rng.random(num_runs) < P_CONVERGES
    diverges_R = ~converges_R & (rng.random(num_runs) < 0.1)
    fate_R = np.where(converges_R, "converged", np.where(diverges_R, "diverged", "unconverged"))
    event_R = np.where(converges_R | diverges_R, np.ceil(rng.uniform(2, 19, num_runs)) * 50, BUDGET)
    watched_R = np.minimum(NOW - rng.permutation(np.arange(num_runs) % 4) * 300, BUDGET)
    is_finished_R = event_R <= watched_R
    return np.where(is_finished_R, fate_R, "censored"), np.minimum(event_R, watched_R).astype(float), is_finished_R


def test_in_a_sweep_of_waves_the_naive_share_is_biased_and_the_weighted_one_is_not():
    rng = np.random.default_rng(0)
    naive, weighted = [], []
    for _ in range(200):
        kind_R, time_R, is_finished_R = sweep_in_waves(rng)
        weight_R = censoring_weights(is_finished_R, time_R)
        naive.append(np.mean(kind_R[is_finished_R] == "converged"))
        weighted.append(weight_R[kind_R == "converged"].sum() / weight_R.sum())
    error = 3 * np.std(weighted) / np.sqrt(len(weighted))
    assert error < 0.01
    assert abs(np.mean(weighted) - P_CONVERGES) < error
    assert np.mean(naive) > P_CONVERGES + 0.05


def test_the_weighted_shares_are_the_cumulative_incidences_at_the_budget():
    kind_R, time_R, is_finished_R = sweep_in_waves(np.random.default_rng(1))
    weight_R = censoring_weights(is_finished_R, time_R)
    runs = tuple(RunInfo(f"r{r}", "s", r, r, {}) for r in range(len(kind_R)))
    curves = incidence(Outcomes(DEFAULT_CRITERION, kind_R, time_R, time_R), runs, bootstrap=0)
    share_by = {kind: weight_R[kind_R == kind].sum() / len(kind_R) for kind in ("converged", "diverged")}
    np.testing.assert_allclose(share_by["converged"], curves.converged_T[-1], rtol=1e-12)
    np.testing.assert_allclose(share_by["diverged"], curves.diverged_T[-1], rtol=1e-12)
    np.testing.assert_allclose(weight_R.sum(), len(kind_R), rtol=1e-12)


def test_finished_runs_alone_have_a_weight_of_one_and_runs_that_still_train_none():
    time_R = np.array([100.0, 200.0, 200.0])
    assert censoring_weights(np.ones(3, bool), time_R).tolist() == [1, 1, 1]
    assert censoring_weights(np.zeros(3, bool), time_R).tolist() == [0, 0, 0]
    assert censoring_weights(np.zeros(0, bool), np.zeros(0)).shape == (0,)


def test_a_run_that_trains_is_watched_to_where_no_streak_can_have_begun():
    """The criterion wants two successive evaluations: the last one may be the first of them."""
    n = np.nan
    rows = [[1, 1, 1, n, n], [n, n, n, n, n], [1, 0.01, 0.01, n, n], [1, 1, 1, 1, 1]]
    history = tiny_history(rows, [("running", 140), ("running", 0), ("running", 140), ("budget", 200)])
    assert watched_until(history, decide_outcomes(history)).tolist() == [50, 0, 50, 200]
