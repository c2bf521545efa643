"""Measures of the claims on factorials: shares of variance by order, over data streams and over pairs of parents."""

from __future__ import annotations

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.interactions import largest_share, pairs_against_others
from analysis.dynamics.walsh import WalshSpectrum, main_effects, walsh_spectrum
from analysis.uncertainty.intervals import Estimate
from analysis.uncertainty.student import difference_of_means, mean_over_units
from pipeline.arrays import Floats
from sweeps.landscape.measures import Factorial, factorials
from sweeps.landscape.parent_pair import ParentPair
from sweeps.landscape.study import BY_MATRIX, CHOSEN, ORDINARY, PRODUCTS

_FEWEST_PAIRS = 3


def total_spectrum(found: list[Factorial]) -> WalshSpectrum:
    """The spectra of several factorials, added up. They have equally many factors."""
    first, *others = (walsh_spectrum(each.values_DC) for each in found)
    total = first
    for other in others:
        total = total + other
    return total


def returning_share(sweeps: Sweeps, *, pairs: tuple[ParentPair, ...] = CHOSEN) -> Evidence:
    """Share of the variance over combinations that returns under another data stream."""
    found = factorials(sweeps, pairs)
    return _given_parents(
        found, total_spectrum(found).returning(), [walsh_spectrum(each.values_DC).returning() for each in found]
    )


def share_of_orders(
    sweeps: Sweeps, *, first: int, last: int | None, pairs: tuple[ParentPair, ...] = CHOSEN
) -> Evidence:
    """Share of what returns that is of the orders `first` to `last` (None: the highest)."""
    found = factorials(sweeps, pairs)
    highest = len(found[0].factors) if last is None else last
    of_each = [walsh_spectrum(each.values_DC).share(first, highest) for each in found]
    return _given_parents(found, total_spectrum(found).share(first, highest), of_each)


def largest_main_effect(sweeps: Sweeps) -> Evidence:
    """The largest share of a single factor's main effect in any of the chosen pairs, with its own interval."""
    found = factorials(sweeps)
    of_each = [max(main_effects(each.values_DC), key=lambda effect: effect.value) for each in found]
    return _given_parents(found, max(of_each, key=lambda effect: effect.value), of_each)


def share_of_few(sweeps: Sweeps, *, num_sets: int) -> Evidence:
    """Share of what returns in so many coefficients of the factorial of matrices: those largest under one stream."""
    found = factorials(sweeps, (BY_MATRIX,))
    estimate = largest_share(found[0].values_DC, num_sets)
    return _given_parents(found, estimate, [estimate])


def products_against_others(sweeps: Sweeps) -> Evidence:
    """Mean joint effect of two matrices that the model multiplies, over that of all other pairs of matrices."""
    (found,) = factorials(sweeps, (BY_MATRIX,))
    places = [
        (found.factors.index(one), found.factors.index(other))
        for one, other in PRODUCTS
        if {one, other} <= set(found.factors)
    ]
    estimate = pairs_against_others(found.values_DC, places)
    return _given_parents([found], estimate, [estimate])


def mean_share_of_orders(
    sweeps: Sweeps, *, first: int, last: int | None, pairs: tuple[ParentPair, ...] = ORDINARY
) -> Evidence:
    """Mean over pairs of parents of their share of the orders `first` to `last`, with pairs as the units."""
    found = _several(sweeps, pairs)
    shares_P = shares_by_pair(found, first, last)
    return _over_pairs(found, mean_over_units(shares_P), shares_P)


def chosen_less_ordinary(sweeps: Sweeps, *, first: int, last: int | None) -> Evidence:
    """Mean share of these orders between chosen parents less that between ordinary ones, with pairs as the units."""
    chosen, ordinary = _several(sweeps, CHOSEN), _several(sweeps, ORDINARY)
    of_chosen_P, of_ordinary_P = (shares_by_pair(found, first, last) for found in (chosen, ordinary))
    estimate = difference_of_means(of_chosen_P, of_ordinary_P)
    return _over_pairs(chosen + ordinary, estimate, np.concatenate([of_chosen_P, of_ordinary_P]))


def shares_by_pair(found: list[Factorial], first: int, last: int | None) -> Floats:
    """(P,) the share of each pair's returning variance in the orders `first` to `last` (None: the highest)."""
    highest = len(found[0].factors) if last is None else last
    return np.array([walsh_spectrum(each.values_DC).share(first, highest).value for each in found])


def _several(sweeps: Sweeps, pairs: tuple[ParentPair, ...]) -> list[Factorial]:
    found = factorials(sweeps, pairs)
    if len(found) < _FEWEST_PAIRS:
        raise UndecidedError(f"{len(found)} pair(s) of parents, needs {_FEWEST_PAIRS}")
    return found


def _given_parents(found: list[Factorial], estimate: Estimate, of_each: list[Estimate]) -> Evidence:
    by_pair = zip(found, of_each, strict=True)
    shares = "; ".join(f"{each.pair.name} {estimate.text()}" for each, estimate in by_pair)
    streams = [len(each.values_DC) for each in found]
    unit = "data streams" if len(found) == 1 else f"data streams, {streams[0]} for each pair of parents"
    return _evidence(found, estimate, shares, unit, sum(streams))


def _over_pairs(found: list[Factorial], estimate: Estimate, shares_P: Floats) -> Evidence:
    shares = "; ".join(f"{each.pair.name} {share:.2f}" for each, share in zip(found, shares_P, strict=True))
    return _evidence(found, estimate, shares, "pairs of parents", len(found))


def _evidence(found: list[Factorial], estimate: Estimate, shares: str, unit: str, num_units: int) -> Evidence:
    num_runs, num_late = sum(each.num_runs for each in found), sum(each.num_late for each in found)
    note = (
        f"{len(found)} pair(s) of parents, {len(found[0].factors)} factors, {len(found[0].values_DC)} data streams; "
        f"{shares}; {num_late} of {num_runs} runs count with the budget."
    )
    return Evidence(estimate.value, estimate.low, estimate.high, num_runs, note, unit, num_units)
