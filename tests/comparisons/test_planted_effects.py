"""Comparisons of arms whose difference is known: intervals cover it, looking often is harmless, planned pairs suffice.

docs/comparisons.md has the figures of more comparisons.
"""

from __future__ import annotations

import numpy as np
import pytest

from analysis.comparisons.betting import REFUSED_AT, bounded_differences, log_wealth, sign_differences
from analysis.comparisons.pseudo_values import pseudo_values
from analysis.comparisons.signed_ranks import hodges_lehmann
from analysis.outcomes.outcomes import CENSORED, CONVERGED, UNCONVERGED, Outcomes
from benchmarks import comparisons as planted_arms
from benchmarks.comparisons import BUDGET, Planted, covers, ever_refused
from pipeline.spec.criterion import Criterion

NUM, PAIRS, LOOKS = 2000, 40, 250
# Three standard errors of a share of 95% (or 5%) of so many comparisons, and of 80%.
ERROR, POWER_ERROR = 3 * np.sqrt(0.05 * 0.95 / NUM), 3 * np.sqrt(0.8 * 0.2 / NUM)


@pytest.fixture(params=[0.0, 0.25], ids=["no effect", "an effect"], scope="module")
def planted(request):
    return Planted(request.param)


def true_differences(planted):
    return [after - before for before, after in (planted.shares(), planted.mean_steps())]


def test_intervals_for_a_fixed_number_of_pairs_cover_the_true_difference(planted):
    times = planted.times(NUM, PAIRS, seed=11)
    share, steps = true_differences(planted)
    # Scores of counts are a little wide for few pairs.
    assert 0.95 - ERROR < covers(planted_arms.share_intervals(*times), share) < 0.95 + 2 * ERROR
    assert abs(covers(planted_arms.mean_intervals(*times), steps) - 0.95) < ERROR
    few = [of_arm[:500] for of_arm in times]
    assert abs(covers(planted_arms.value_intervals(*few), planted.shift) - 0.95) < 2 * ERROR


def test_bets_on_the_truth_are_lost_at_all_looks_together(planted):
    times = planted.times(NUM, LOOKS, seed=12)
    share, steps = true_differences(planted)
    assert ever_refused(planted_arms.share_wealth(*times, share)) <= 0.05
    assert ever_refused(planted_arms.time_wealth(*times, steps)) <= 0.05
    assert ever_refused(planted_arms.sign_wealth(np.log(times[1] / times[0]) - planted.shift)) <= 0.05


def test_looking_often_at_an_interval_for_a_fixed_number_misleads_and_at_an_e_value_does_not():
    a_SP, b_SP = Planted(0.0).times(NUM, LOOKS, seed=13)
    assert planted_arms.peeked(a_SP, b_SP) > 0.15
    assert ever_refused(planted_arms.share_wealth(a_SP, b_SP, 0.0)) <= 0.05


def test_bets_find_an_effect_that_is_there():
    a_SP, b_SP = Planted(0.5).times(NUM, LOOKS, seed=14)
    assert ever_refused(planted_arms.share_wealth(a_SP, b_SP, 0.0)) > 0.9
    assert ever_refused(planted_arms.time_wealth(a_SP, b_SP, 0.0)) > 0.9
    assert ever_refused(planted_arms.sign_wealth(b_SP - a_SP)) > 0.9


def test_the_planned_number_of_pairs_finds_the_effect_in_80_percent():
    planted = Planted(0.25)
    pairs = planted_arms.planned_pairs(planted)
    shares = planted.times(NUM, pairs["converged"], seed=15)
    assert abs(planted_arms.refuses(planted_arms.share_intervals(*shares)) - 0.8) < POWER_ERROR
    times = planted.times(NUM, pairs["time"], seed=16)
    assert abs(planted_arms.refuses(planted_arms.mean_intervals(*times)) - 0.8) < POWER_ERROR
    # Noether's formula is for small effects, and asks for a few pairs too many at larger ones.
    values = planted.times(500, pairs["final value"], seed=17)
    assert 0.8 - 2 * POWER_ERROR < planted_arms.refuses(planted_arms.value_intervals(*values)) < 0.9


def test_censored_pairs_are_compared_without_bias():
    """Half of the runs are censored before the budget, at times that have nothing to do with theirs."""
    planted, rng = Planted(0.25), np.random.default_rng(18)
    a_SP, b_SP = planted.times(150, 80, seed=18)
    truths = np.array(true_differences(planted))
    estimates, covered = [], []
    for row in range(len(a_SP)):
        arms = [pseudo_values(censored(times[row], rng.uniform(0, 2 * BUDGET, 80)), BUDGET) for times in (a_SP, b_SP)]
        differences = np.array([arms[1].converged_R - arms[0].converged_R, arms[1].steps_R - arms[0].steps_R])
        half = 1.99 * differences.std(axis=1, ddof=1) / np.sqrt(80)
        estimates.append(differences.mean(axis=1))
        covered.append(np.abs(estimates[-1] - truths) <= half)
    error = 3 * np.std(estimates, axis=0) / np.sqrt(len(estimates))
    assert (np.abs(np.mean(estimates, axis=0) - truths) < error).all()
    assert (np.abs(np.mean(covered, axis=0) - 0.95) < 3 * np.sqrt(0.05 * 0.95 / 150)).all()


def censored(time_R, censoring_R):
    """Outcomes of runs that are seen up to a time, and by the budget at most."""
    seen_R = np.minimum(censoring_R, BUDGET)
    kinds = [time_R <= seen_R, censoring_R < BUDGET]
    kind_R = np.select(kinds, [CONVERGED, CENSORED], UNCONVERGED)
    step_R = np.ceil(np.minimum(time_R, seen_R) / 20) * 20
    return Outcomes(Criterion(at_most=0.02), kind_R, step_R, step_R)


def test_the_anytime_interval_holds_the_differences_whose_bets_are_not_won():
    difference_U = np.random.default_rng(19).choice([-1.0, 0.0, 1.0], 120, p=[0.05, 0.6, 0.35])
    found = bounded_differences(difference_U)
    for inside in (found.low + 0.002, found.high - 0.002):
        assert log_wealth((difference_U[None] + 1) / 2, (inside + 1) / 2)[0, -1] < np.log(REFUSED_AT)
    for outside in (found.low - 0.002, found.high + 0.002):
        assert log_wealth((difference_U[None] + 1) / 2, (outside + 1) / 2)[0, -1] > np.log(REFUSED_AT)
    assert found.low < difference_U.mean() < found.high


@pytest.mark.parametrize("mean", [0.2, 0.5, 0.9])
def test_the_wealth_is_that_of_two_bettors_who_know_the_values_before_each(mean):
    """Waudby-Smith and Ramdas (2024), equations 24 to 26, written out value by value."""
    values = np.random.default_rng(21).uniform(size=30)
    up, down = 0.5, 0.5
    for t, value in enumerate(values, start=1):
        means = [(0.5 + values[:i].sum()) / (i + 1) for i in range(1, t)]
        variance = (0.25 + sum((x - m) ** 2 for x, m in zip(values, means, strict=False))) / t
        bet = np.sqrt(2 * np.log(2 / 0.05) / (variance * t * np.log(t + 1)))
        up *= 1 + min(bet, 0.5 / mean) * (value - mean)
        down *= 1 - min(bet, 0.5 / (1 - mean)) * (value - mean)
    assert np.exp(log_wealth(values[None], mean)[0, -1]) == pytest.approx(up + down)


def test_of_few_pairs_nothing_is_refused():
    assert bounded_differences(np.array([])).e_value == 1
    assert bounded_differences(np.ones(2)).low <= 0
    assert sign_differences(np.ones(4)).low == -np.inf
    _, low_S, high_S = hodges_lehmann(np.ones((1, 5)))
    assert np.isneginf(low_S[0])
    assert np.isposinf(high_S[0])


def test_signed_ranks_are_those_of_all_means_of_two():
    difference_P = np.random.default_rng(20).normal(size=23)
    means = np.sort([(x + y) / 2 for i, x in enumerate(difference_P) for y in difference_P[: i + 1]])
    estimate_S, low_S, high_S = hodges_lehmann(difference_P[None])
    # Of 23 pairs Wilcoxon's test refuses at 73 and below (two-sided, 5%).
    np.testing.assert_allclose(
        [estimate_S[0], low_S[0], high_S[0]], [np.median(means), means[73], means[-74]], atol=1e-12
    )
