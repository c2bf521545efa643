"""Cumulative incidence against closed forms."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from analysis.outcomes.incidence import incidence
from analysis.outcomes.outcomes import DEFAULT_CRITERION, Outcomes
from analysis.uncertainty.intervals import wilson
from pipeline.store.history import RunInfo


def runs_of(init_seeds, data_seeds=None):
    """Runs of these init seeds, each with a data stream of its own unless given."""
    init_seeds = list(init_seeds)
    data_seeds = range(len(init_seeds)) if data_seeds is None else data_seeds
    pairs = zip(init_seeds, data_seeds, strict=True)
    return tuple(RunInfo(f"r{r}", "s", int(init), int(data), {}) for r, (init, data) in enumerate(pairs))


def outcomes_of(times, kinds):
    times = np.asarray(times, dtype=np.float64)
    return Outcomes(DEFAULT_CRITERION, np.array(kinds, dtype="<U11"), times, times)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=30))
def test_without_competing_risks_incidence_is_one_minus_kaplan_meier(runs):
    times = np.array([50.0 * time for time, _ in runs])
    is_event = np.array([event for _, event in runs])
    curves = incidence(
        outcomes_of(times, np.where(is_event, "converged", "censored")), runs_of(range(len(runs))), bootstrap=0
    )
    reference = ecdf(CensoredData(uncensored=times[is_event], right=times[~is_event])).cdf
    np.testing.assert_allclose(curves.converged_T, reference.evaluate(curves.steps_T), atol=1e-12)
    assert np.all(curves.diverged_T == 0)


def test_competing_risks_follow_the_hand_calculation():
    # Five runs: converged at 1, diverged at 2, censored at 3, converged at 4, unconverged at 5.
    curves = incidence(
        outcomes_of([1, 2, 3, 4, 5], ["converged", "diverged", "censored", "converged", "unconverged"]),
        runs_of(range(5)),
    )
    np.testing.assert_array_equal(curves.steps_T, [0, 1, 2, 3, 4, 5])
    np.testing.assert_allclose(curves.converged_T, [0, 1 / 5, 1 / 5, 1 / 5, 1 / 5 + 3 / 5 / 2, 1 / 2], atol=1e-15)
    np.testing.assert_allclose(curves.diverged_T, [0, 0, 1 / 5, 1 / 5, 1 / 5, 1 / 5], atol=1e-15)
    assert curves.at_risk_T.tolist() == [5, 5, 4, 3, 2, 1]


def test_without_censoring_incidence_is_the_plain_share():
    rng = np.random.default_rng(0)
    times, kinds = rng.integers(1, 20, 200), rng.choice(["converged", "diverged"], 200)
    curves = incidence(outcomes_of(times, kinds), runs_of(range(200)))
    share_T = [np.mean((times <= step) & (kinds == "converged")) for step in curves.steps_T]
    np.testing.assert_allclose(curves.converged_T, share_T, atol=1e-12)


def test_treating_divergence_as_censoring_would_overstate_convergence():
    times, kinds = [1, 2, 3, 4], ["diverged", "converged", "diverged", "converged"]
    right = incidence(outcomes_of(times, kinds), runs_of(range(4))).converged_T[-1]
    wrong = incidence(outcomes_of(times, ["censored" if k == "diverged" else k for k in kinds]), runs_of(range(4)))
    assert right == 0.5
    assert wrong.converged_T[-1] == 1.0


def test_the_band_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        is_event = rng.random(60) < 0.4
        curves = incidence(
            outcomes_of(np.where(is_event, 1, 2), np.where(is_event, "converged", "unconverged")),
            runs_of(range(60)),
            seed=trial,
        )
        covered += curves.low_T[1] <= 0.4 <= curves.high_T[1]
    assert 0.90 <= covered / 200 <= 0.99


def test_runs_of_one_init_seed_count_as_one_draw():
    kinds = np.repeat(["converged", "unconverged"] * 10, 5)
    together = incidence(outcomes_of(np.ones(100), kinds), runs_of(np.repeat(np.arange(20), 5)), bootstrap=400)
    apart = incidence(outcomes_of(np.ones(100), kinds), runs_of(range(100)), bootstrap=400)
    assert together.high_T[-1] - together.low_T[-1] > 1.8 * (apart.high_T[-1] - apart.low_T[-1])


def test_where_all_resamples_agree_the_band_is_wilsons_and_never_without_width():
    one = incidence(outcomes_of([50], ["converged"]), runs_of([3]))
    assert one.converged_T.tolist() == [0, 1]
    assert (one.low_T[-1], one.high_T[-1]) == (wilson(1, 1).low, 1)
    # Ten runs, of which six are censored at 1: by step 5 four are left to judge by.
    kinds = ["censored"] * 6 + ["unconverged"] * 4
    none = incidence(outcomes_of([1] * 6 + [5] * 4, kinds), runs_of(range(10)))
    assert (none.converged_T[-1], none.low_T[-1], none.high_T[-1]) == (0, 0, wilson(0, 4).high)


def test_runs_of_one_init_and_one_data_seed_have_no_band():
    curves = incidence(outcomes_of([50, 50], ["converged"] * 2), runs_of([3, 3], [1, 1]))
    assert np.all(np.isnan(curves.low_T))


def test_no_run_gives_a_flat_curve():
    curves = incidence(outcomes_of([50], ["converged"]), runs_of([3]), np.array([False]))
    assert (curves.num_runs, curves.converged_T.tolist()) == (0, [0])


def test_converged_at_step_zero_counts_from_step_zero():
    curves = incidence(outcomes_of([0, 100], ["converged", "unconverged"]), runs_of(range(2)))
    assert curves.converged_T.tolist() == [0.5, 0.5]
