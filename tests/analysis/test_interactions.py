"""Interactions of factors: planted pairs are found, few coefficients are told from noise, random levels are undone."""

import itertools

import numpy as np
import pytest

from analysis.dynamics.interactions import (
    joint_effects,
    largest_coefficients,
    largest_share,
    order_1_of_interactions,
    pairs_against_others,
    population_shares,
    ratio_of_squares,
)
from analysis.dynamics.walsh import total_effects, walsh_spectrum

G = 6
C = 2**G
LEVELS_GC = np.array([[1 - 2 * (place >> g & 1) for place in range(C)] for g in range(G)])
PLANTED = {(0,): 0.5, (1, 4): 0.5, (2, 3): -0.5, (0, 2, 3, 5): 0.5}


def planted(coefficients=PLANTED):
    return 3 + np.sum([value * np.prod(LEVELS_GC[list(at)], axis=0) for at, value in coefficients.items()], axis=0)


def measured(rng, truth_C, noise=0.5, num_seeds=2):
    return truth_C + noise * rng.standard_normal((num_seeds, C)) + rng.standard_normal((num_seeds, 1))


def test_joint_effects_count_the_sets_that_hold_both():
    joint_GG = joint_effects(np.stack([planted()] * 2))
    assert np.diag(joint_GG) == pytest.approx(total_effects(np.stack([planted()] * 2)))
    assert joint_GG[1, 4] == pytest.approx(0.25)
    assert joint_GG[2, 3] == pytest.approx(0.5)
    assert joint_GG[0, 5] == pytest.approx(0.25)
    assert joint_GG[0, 1] == pytest.approx(0)
    assert np.array_equal(joint_GG, joint_GG.T)


def test_pairs_that_interact_are_told_from_others_and_the_interval_covers():
    rng, truth, covered = np.random.default_rng(0), 0.0, 0
    pairs = [(1, 4), (2, 3)]
    joint_GG = joint_effects(np.stack([planted()] * 2))
    others = [joint_GG[pair] for pair in itertools.combinations(range(G), 2) if pair not in pairs]
    truth = (joint_GG[1, 4] + joint_GG[2, 3]) / 2 / np.mean(others)
    assert pairs_against_others(np.stack([planted()] * 2), pairs).value == pytest.approx(truth)
    for _ in range(100):
        found = pairs_against_others(measured(rng, planted(), noise=0.7), pairs)
        covered += found.low <= truth <= found.high
    assert 0.89 <= covered / 100 <= 1.0


def test_a_ratio_of_all_orders_of_one_is_the_share_of_the_spectrum():
    values_DC = measured(np.random.default_rng(1), planted())
    order_C = np.array([place.bit_count() for place in range(C)])
    found = ratio_of_squares(values_DC, (order_C == 2).astype(float), (order_C > 0).astype(float))
    assert found.value == pytest.approx(walsh_spectrum(values_DC).share(2).value)


def test_the_largest_coefficients_are_not_those_that_noise_made_large():
    rng = np.random.default_rng(3)
    found = [largest_share(measured(rng, planted()), 4) for _ in range(40)]
    assert np.mean([share.value for share in found]) == pytest.approx(1, abs=0.02)
    assert np.mean([share.low <= 1 <= share.high for share in found]) >= 0.9
    dense_C = rng.standard_normal(C) * 0.2
    few = [largest_share(measured(rng, dense_C), 4) for _ in range(20)]
    assert np.mean([share.value for share in few]) < 0.45
    empty = [largest_share(measured(rng, np.zeros(C), noise=1.0) + 1e-3 * planted(), 8).value for _ in range(20)]
    assert np.abs(np.median(empty)) < 1


def test_the_largest_coefficients_are_listed_by_their_factors():
    found = largest_coefficients(np.stack([planted({(0,): 0.3, (1, 4): -0.5}), planted({(0,): 0.5, (1, 4): -0.5})]), 2)
    assert [(each.factors, round(each.value, 6)) for each in found] == [((1, 4), -0.5), ((0,), 0.4)]
    assert found[1].by_seed == pytest.approx((0.3, 0.5))


def test_a_function_of_interactions_alone_shows_main_effects_between_two_random_parents():
    """Levels without main effects over the population: products of standard normals of two factors, and of three."""
    rng, num_pairs = np.random.default_rng(5), 1000
    signal_2, signal_3 = np.zeros(3), np.zeros(3)
    for _ in range(num_pairs):
        drawn_GL = rng.standard_normal((3, 2))
        level_GC = np.array([[drawn_GL[g, place >> g & 1] for place in range(8)] for g in range(3)])
        pairwise_C = level_GC[0] * level_GC[1] + level_GC[1] * level_GC[2] + level_GC[0] * level_GC[2]
        signal_2 += walsh_spectrum(np.stack([pairwise_C] * 2)).signal_K
        signal_3 += walsh_spectrum(np.stack([np.prod(level_GC, axis=0)] * 2)).signal_K
    assert signal_2[0] / signal_2.sum() == pytest.approx(order_1_of_interactions(2), abs=0.03)
    assert signal_3[0] / signal_3.sum() == pytest.approx(order_1_of_interactions(3), abs=0.05)
    assert population_shares(signal_2) == pytest.approx([0, 1, 0], abs=0.1)
    assert population_shares(signal_3) == pytest.approx([0, 0, 1], abs=0.25)
    assert population_shares((signal_2 + signal_3) / num_pairs)[:2] == pytest.approx([0, 0.75], abs=0.07)
