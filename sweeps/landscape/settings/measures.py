"""Measures of the claims on other settings: shares of variance by order, over pairs of parents."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.walsh import WalshSpectrum, walsh_spectrum
from analysis.uncertainty.student import mean_over_units
from pipeline.arrays import Floats
from sweeps.landscape.measures import Factorial, factorial, factorials
from sweeps.landscape.parent_pair import ParentPair
from sweeps.landscape.settings.study import OF_SEVEN, OTHER_SETTINGS, OtherSetting
from sweeps.landscape.study import LATER, ORDINARY

_FEWEST_PAIRS = 3


def of_setting(sweeps: Sweeps, setting: OtherSetting, pairs: Sequence[ParentPair]) -> list[Factorial]:
    """The factorials of these pairs of a setting. Raises UndecidedError where fewer than three are there."""
    found = [
        factorial(sweeps[pair.name].history, pair, criterion=setting.criterion, groups=setting.groups)
        for pair in pairs
        if sweeps.has(pair.name)
    ]
    if len(found) < _FEWEST_PAIRS:
        raise UndecidedError(f"{setting.name}: {len(found)} pair(s) of parents, needs {_FEWEST_PAIRS}")
    return found


def ordinary_in_five_groups(sweeps: Sweeps) -> list[Factorial]:
    """Setting A's ordinary pairs, of each the combinations in which groups that are one here come from one parent."""
    return [merged_factors(each, OF_SEVEN) for each in factorials(sweeps, ORDINARY + LATER)]


def merged_factors(found: Factorial, sets: tuple[tuple[int, ...], ...]) -> Factorial:
    """The factorial in which each of the sets of factors is one factor: a part of the combinations."""
    places = [
        sum(1 << g for number, names in enumerate(sets) if place >> number & 1 for g in names)
        for place in range(2 ** len(sets))
    ]
    factors = tuple(", ".join(found.factors[g] for g in names) for names in sets)
    values_DC = found.values_DC[:, places]
    is_late_DC = values_DC >= np.log(found.latest)
    return replace(found, factors=factors, values_DC=values_DC, num_late=int(is_late_DC.sum()))


def share_returning(spectrum: WalshSpectrum) -> float:
    """Share of the variance over combinations that returns under another data stream."""
    return spectrum.returning().value


def share_of_order_1(spectrum: WalshSpectrum) -> float:
    """Share of what returns that is main effects."""
    return spectrum.share(1).value


def share_of_higher_orders(spectrum: WalshSpectrum) -> float:
    """Share of what returns that is of the orders 3 and above."""
    return spectrum.share(3, len(spectrum.signal_K)).value


RETURNS = "returns"
SHARES = {
    RETURNS: share_returning,
    "order 1": share_of_order_1,
    "order 3 and above": share_of_higher_orders,
}


def setting_shares_by_pair(found: list[Factorial], which: str) -> Floats:
    """(P,) one of SHARES in each factorial."""
    return np.array([SHARES[which](walsh_spectrum(each.values_DC)) for each in found])


def has_orders(found: list[Factorial]) -> bool:
    """Whether the interval of what returns lies above 0: of nothing there are no shares by order."""
    return mean_over_units(setting_shares_by_pair(found, RETURNS)).low > 0


def mean_share_of_setting(sweeps: Sweeps, *, name: str, which: str) -> Evidence:
    """Mean over pairs of parents of one of SHARES in the setting of that name."""
    (setting,) = (setting for setting in OTHER_SETTINGS if setting.name == name)
    found = of_setting(sweeps, setting, setting.judged_pairs)
    if which != RETURNS and not has_orders(found):
        raise UndecidedError("no more returns under another data stream than by chance, so there are no orders of it")
    share_P = setting_shares_by_pair(found, which)
    estimate = mean_over_units(share_P)
    num_runs, num_late = sum(each.num_runs for each in found), sum(each.num_late for each in found)
    by_pair = "; ".join(f"{share:.2f}" for share in share_P)
    note = f"By pair {by_pair}. {num_late} of {num_runs} runs count with the budget."
    return Evidence(estimate.value, estimate.low, estimate.high, num_runs, note, "pairs of parents", len(found))


def factorials_by_setting(sweeps: Sweeps) -> dict[str, list[Factorial]]:
    """By the label of each setting that is there, setting A's ordinary pairs first."""
    tables: dict[str, list[Factorial]] = {}
    with suppress(UndecidedError):
        tables["A: five groups"] = ordinary_in_five_groups(sweeps)
    for setting in OTHER_SETTINGS:
        with suppress(UndecidedError):
            tables[setting.label] = of_setting(sweeps, setting, setting.pairs)
    return tables
