"""Walsh spectra: known coefficients are recovered, the noise floor is unbiased, intervals cover."""

import itertools

import numpy as np
import pytest

from analysis.dynamics.walsh import (
    main_effects,
    orders,
    total_effects,
    walsh_coefficients,
    walsh_spectrum,
)

G = 6
C = 2**G
LEVELS_GC = np.array([[1 - 2 * (place >> g & 1) for place in range(C)] for g in range(G)])
# Sets of factors -> coefficient: orders 1, 2 and 4 with squares .25, .5 and .25.
PLANTED = {(0,): 0.5, (1, 4): 0.5, (2, 3): -0.5, (0, 2, 3, 5): 0.5}


def planted(coefficients=PLANTED):
    products = [value * np.prod(LEVELS_GC[list(inside)], axis=0) for inside, value in coefficients.items()]
    return 3 + np.sum(products, axis=0)


def measured(rng, num_seeds=2, noise=0.5, truth_C=None):
    truth_C = planted() if truth_C is None else truth_C
    return truth_C + noise * rng.standard_normal((num_seeds, C)) + rng.standard_normal((num_seeds, 1))


def test_coefficients_are_means_of_products_with_every_set_of_levels():
    values = np.random.default_rng(0).standard_normal(C)
    found = walsh_coefficients(values[None])[0]
    for size in range(G + 1):
        for inside in itertools.combinations(range(G), size):
            place = sum(1 << g for g in inside)
            assert found[place] == pytest.approx(np.mean(values * np.prod(LEVELS_GC[list(inside)], axis=0)))
            assert orders(C)[place] == size
    assert np.sum(found[1:] ** 2) == pytest.approx(values.var())


def test_planted_interactions_are_recovered_by_order():
    spectrum = walsh_spectrum(np.stack([planted(), planted() + 2]))
    assert spectrum.signal_K == pytest.approx([0.25, 0.5, 0, 0.25, 0, 0])
    assert spectrum.noise_K == pytest.approx(0)
    assert (spectrum.share(1).value, spectrum.share(2).value) == pytest.approx((0.25, 0.5))
    assert spectrum.share(2, G).value == pytest.approx(0.75)
    assert spectrum.returning().value == pytest.approx(1)
    assert total_effects(np.stack([planted(), planted() + 2])) == pytest.approx([0.5, 0.25, 0.5, 0.5, 0.25, 0.25])
    effects = main_effects(np.stack([planted(), planted() + 2]))
    assert [effect.value for effect in effects] == pytest.approx([0.25, 0, 0, 0, 0, 0])


def test_the_noise_floor_is_unbiased_and_intervals_cover():
    """Noise of one run as large as the signal's half: squares of coefficients would put the share of order 1 at .2."""
    rng = np.random.default_rng(1)
    num_repeats, covered, effects_covered, returning_covered = 400, 0, 0, 0
    first, signal, noise = [], [], []
    for _ in range(num_repeats):
        values = measured(rng, noise=0.7)
        spectrum = walsh_spectrum(values)
        share, returning, effect = spectrum.share(1), spectrum.returning(), main_effects(values)[0]
        first.append(share.value)
        signal.append(spectrum.signal_K)
        noise.append(spectrum.noise_K.sum())
        covered += share.low <= 0.25 <= share.high
        effects_covered += effect.low <= 0.25 <= effect.high
        truth = 1 / (1 + 0.49 * (C - 1) / C)
        returning_covered += returning.low <= truth <= returning.high
    assert np.mean(signal, axis=0) == pytest.approx([0.25, 0.5, 0, 0.25, 0, 0], abs=0.012)
    assert np.mean(noise) == pytest.approx(0.49 * (C - 1) / C, rel=0.02)
    assert np.mean(first) == pytest.approx(0.25, abs=0.01)
    assert 0.90 <= covered / num_repeats <= 0.98
    assert 0.90 <= effects_covered / num_repeats <= 0.98
    assert 0.90 <= returning_covered / num_repeats <= 0.99


def test_noise_alone_returns_nothing():
    rng = np.random.default_rng(2)
    found = [walsh_spectrum(measured(rng, truth_C=np.zeros(C))).returning() for _ in range(200)]
    assert np.mean([each.value for each in found]) == pytest.approx(0, abs=0.03)
    assert np.mean([each.low <= 0 <= each.high for each in found]) >= 0.9


def test_spectra_of_several_factorials_add_up():
    one, other = np.stack([planted()] * 2), np.stack([planted({(0,): 1.0})] * 2)
    assert (walsh_spectrum(one) + walsh_spectrum(other)).share(1).value == pytest.approx(1.25 / 2)


def test_a_table_with_holes_or_one_seed_is_refused():
    with pytest.raises(ValueError, match="power of two, given 6"):
        walsh_coefficients(np.zeros((1, 6)))
    with pytest.raises(ValueError, match="two or more"):
        walsh_spectrum(np.zeros((1, 8)))
