"""Scores by sorting once, in blocks and on several cores, are those of their definitions, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.forecasting.censoring import RiskSet
from analysis.forecasting.evaluation import evaluate
from analysis.forecasting.scoring import calibration_line as lines
from analysis.forecasting.scoring.calibration_line import MANY_RUNS, calibration_line
from analysis.forecasting.scoring.scores import auroc, num_pairs
from analysis.forecasting.scoring.seen_times import SeenTimes
from analysis.forecasting.scoring.time_scores import concordance
from analysis.outcomes.outcomes import DEFAULT_CRITERION, Outcomes, decide_outcomes
from analysis.predictors.base import PREDICTORS
from analysis.predictors.features import weighted_quantiles
from analysis.uncertainty import blocks, resampling
from analysis.uncertainty.blocks import in_blocks, side_by_side
from analysis.uncertainty.resampling import resample
from pipeline.store.history import RunInfo
from tests.analysis.synthetic import synthetic_history

KINDS = np.array(["converged", "diverged", "unconverged", "censored"])


def drawn(rng, num_runs, rows=5):
    """Rows of whole weights, the first all ones."""
    return np.concatenate([np.ones((1, num_runs)), rng.poisson(1, (rows, num_runs))])


def over_pairs(value_RR, weight_BR):
    """The sum over ordered pairs of runs of a value times both weights."""
    return np.einsum("br,rs,bs->b", weight_BR, value_RR, weight_BR)


def plain_auroc(p, y, group, weight_BR):
    counts_RR = (y[:, None] & ~y & (group[:, None] == group)).astype(float)
    wins_RR = 0.5 * (np.sign(np.round(p[:, None], 9) - np.round(p, 9)) + 1)
    number_B = over_pairs(counts_RR, weight_BR)
    return np.divide(over_pairs(counts_RR * wins_RR, weight_BR), number_B, out=np.full(len(number_B), np.nan),
                     where=number_B > 0)  # fmt: skip


def plain_concordance(score, seen, group, weight_BR, among_converged):
    """Uno's C by its definition: the weight of every pair written out."""
    time, risk = seen.time_N, seen.risk
    before, later_RR = np.maximum(seen.watched_before(), 1e-12), time > time[:, None]
    if among_converged:
        pair_RR = np.where(later_RR & seen.converged_N, 1 / before, 0.0)
    else:
        past_R = np.maximum(risk.watched_past(risk.time_R), 1e-12)
        later_RR = later_RR | seen.unconverged_N
        pair_RR = np.where(later_RR, 1 / past_R[:, None], np.where(seen.diverged_N, 1 / before, 0.0))
    pair_RR = pair_RR * (seen.converged_N / before)[:, None] * (group[:, None] == group)
    wins_RR = 0.5 * (np.sign(np.round(score[:, None], 9) - np.round(score, 9)) + 1)
    number_B = over_pairs(pair_RR, weight_BR)
    return np.divide(over_pairs(pair_RR * wins_RR, weight_BR), number_B, out=np.full(len(number_B), np.nan),
                     where=number_B > 0)  # fmt: skip


@pytest.mark.parametrize("has_ties", [False, True])
@pytest.mark.parametrize("is_whole", [True, False])
def test_auroc_is_that_of_all_pairs_and_equal_to_the_bit_under_whole_weights(has_ties, is_whole):
    rng = np.random.default_rng(0)
    for num_runs in (1, 2, 7, 60, 150):
        p, y, group = rng.random(num_runs), rng.random(num_runs) < 0.4, rng.integers(0, 4, num_runs) * 5
        p = p.round(1) if has_ties else p
        weight_BR = drawn(rng, num_runs) * (1 if is_whole else rng.random(num_runs))
        found, plain = auroc(p, y, group, weight_BR), plain_auroc(p, y, group, weight_BR)
        np.testing.assert_allclose(found, plain, rtol=0, atol=0 if is_whole else 1e-13)
        assert num_pairs(y, group) == over_pairs(
            (y[:, None] & ~y & (group[:, None] == group)).astype(float), np.ones((1, num_runs))
        )


@pytest.mark.parametrize("among_converged", [False, True])
@pytest.mark.parametrize("share_censored", [0.0, 0.2])
def test_concordance_is_that_of_all_pairs_whatever_their_times(share_censored, among_converged):
    rng = np.random.default_rng(1)
    for num_times in (1, 2, 5, 8, 29):
        num_runs = 120
        chances = np.array([0.55, 0.1, 0.35, 0.0]) * (1 - share_censored) + np.array([0, 0, 0, share_censored])
        kind_R, group = rng.choice(KINDS, num_runs, p=chances), rng.integers(0, 3, num_runs)
        time_R = np.where(kind_R == "unconverged", 3000.0, 100.0 * rng.integers(1, num_times + 1, num_runs))
        ones = np.ones(num_runs)
        risk = RiskSet.of_times(time_R, kind_R != "censored", ones > 0, ones, group)
        seen = SeenTimes.of(Outcomes(DEFAULT_CRITERION, kind_R, time_R, time_R), risk, np.arange(num_runs))
        score, weight_BR = rng.random(num_runs).round(2), drawn(rng, num_runs)
        found = concordance(score, seen, group, weight_BR, among_converged)
        plain = plain_concordance(score, seen, group, weight_BR, among_converged)
        np.testing.assert_allclose(found, plain, rtol=0, atol=1e-13 if share_censored else 0)


@pytest.mark.parametrize(("num_runs", "num_values"), [(MANY_RUNS + 100, None), (4000, None), (4000, 7)])
def test_a_calibration_line_of_many_runs_is_that_from_zero(num_runs, num_values, monkeypatch):
    rng = np.random.default_rng(2)
    p = rng.beta(0.4, 0.4, num_runs) if num_values is None else rng.choice(num_values, num_runs) / 10 + 0.1
    y, group, weight_BR = rng.random(num_runs) < p**1.3, np.zeros(num_runs, int), drawn(rng, num_runs)
    quick = calibration_line(p, y, group, weight_BR)
    monkeypatch.setattr(lines, "MANY_RUNS", num_runs)
    plain = calibration_line(p, y, group, weight_BR)
    np.testing.assert_allclose(quick, plain, rtol=0, atol=5e-9)
    assert not np.array_equal(quick, plain)


def test_separable_forecasts_of_many_runs_have_no_slope_in_the_resamples_where_they_are():
    p = np.linspace(0.1, 0.9, 2 * MANY_RUNS)
    y = p > 0.5
    y[0] = True
    weight_BR = np.ones((3, len(p)))
    weight_BR[1, 0] = 0
    slope_B, _ = calibration_line(p, y, np.zeros(len(p), int), weight_BR)
    assert np.isnan(slope_B).tolist() == [False, True, False]


def test_a_resample_far_from_all_runs_has_its_own_line(monkeypatch):
    rng = np.random.default_rng(5)
    logit = rng.uniform(-1, 1, 4 * MANY_RUNS)
    p, y = 1 / (1 + np.exp(-logit)), rng.random(len(logit)) < 1 / (1 + np.exp(-8 * logit))
    is_turned = y == (rng.random(len(logit)) < 1 / (1 + np.exp(8 * logit)))
    weight_BR, group = np.stack([np.ones(len(p)), is_turned.astype(float)]), np.zeros(len(p), int)
    quick = calibration_line(p, y, group, weight_BR)
    monkeypatch.setattr(lines, "MANY_RUNS", len(p))
    np.testing.assert_allclose(quick, calibration_line(p, y, group, weight_BR), rtol=0, atol=5e-9)
    assert quick[0][1] < quick[0][0] - 6


def test_quantiles_under_weights_of_one_are_those_of_numpy_and_of_weights_near_one():
    rng = np.random.default_rng(3)
    values_RF = np.where(rng.random((101, 6)) < 0.1, np.nan, rng.normal(size=(101, 6)).round(1))
    levels = (0.0, 0.01, 0.5, 0.99, 1.0)
    quick = weighted_quantiles(values_RF, np.ones(101), levels)
    for level, found_F in zip(levels, quick, strict=True):
        np.testing.assert_allclose(found_F, np.nanquantile(values_RF, level, axis=0), rtol=0, atol=1e-15)
    doubled = weighted_quantiles(np.repeat(values_RF, 2, axis=0), np.full(202, 1.0), levels)
    by_weights = weighted_quantiles(values_RF, np.full(101, 2.0), levels)
    np.testing.assert_array_equal(doubled, by_weights)


@pytest.mark.parametrize("crossed", [False, True])
def test_resamples_do_not_depend_on_how_many_are_drawn_at_once(crossed, monkeypatch):
    runs = [RunInfo(f"r{r}", "s", r % 6 if crossed else r, r // 6 if crossed else r, {}) for r in range(24)]
    whole = resample(runs, 40, 3).with_estimate()
    monkeypatch.setattr(resampling, "_DRAWN_AT_ONCE", 100)
    np.testing.assert_array_equal(resample(runs, 40, 3).with_estimate(), whole)
    assert resample(runs, 40, 3).counts_with_estimate.itemsize == 1


def test_jobs_side_by_side_are_answered_in_order_and_the_first_error_is_raised(monkeypatch):
    monkeypatch.setattr(blocks, "_num_cores", lambda: 3)
    assert side_by_side(lambda number: number**2, range(20)) == [number**2 for number in range(20)]
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda number: 1 // (number - 2), range(5))


def test_scores_do_not_depend_on_the_number_of_cores_nor_on_the_size_of_blocks(monkeypatch):
    history = synthetic_history(2, 30, seed=6)
    outcomes = decide_outcomes(history)
    predictors = {name: PREDICTORS[name]() for name in ("ridge_time", "last_loss")}

    def scored(cores, size):
        monkeypatch.setattr(blocks, "_num_cores", lambda: cores)
        monkeypatch.setattr(blocks, "BLOCK_SIZE", size)
        return evaluate(history, outcomes, (0.1,), predictors, bootstrap=20).windows[0]

    one, three, small = scored(1, 2**10), scored(3, 2**10), scored(3, 100)
    for name in predictors:
        assert one.probability_N[name].tobytes() == three.probability_N[name].tobytes()
        assert str(one.scores[name]) == str(three.scores[name])
        for figure in ("auroc_within", "concordance", "auroc_pooled"):
            assert getattr(one.scores[name], figure) == getattr(small.scores[name], figure)


def test_a_block_is_given_the_weights_of_the_asked_runs_alone():
    weight_BR = np.arange(12, dtype=np.uint8).reshape(4, 3)
    found = in_blocks(lambda weight_bN: weight_bN * 2, weight_BR, np.array([2, 0]))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, 2.0 * weight_BR[:, [2, 0]])
