"""What the page quotes on other settings: the shares of each, and their times."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.uncertainty.intervals import Estimate
from analysis.uncertainty.student import mean_over_units
from sweeps.landscape.measures import Factorial
from sweeps.landscape.settings.measures import (
    RETURNS,
    SHARES,
    factorials_by_setting,
    has_orders,
    setting_shares_by_pair,
)


def details_of_settings(sweeps: Sweeps) -> dict[str, Any]:
    """By setting, A first: pairs, factors, runs, times, and the mean of each share over pairs."""
    tables = factorials_by_setting(sweeps)
    if not tables:
        raise UndecidedError("no setting is there")
    return {
        label: {
            "pairs": len(found),
            "factors": len(found[0].factors),
            "runs": sum(each.values_DC.size for each in found),
            "runs that did not converge": sum(each.num_late for each in found),
            "fastest, median and slowest": np.exp(
                np.quantile(np.stack([each.values_DC for each in found]), [0, 0.5, 1])
            ).tolist(),
            "shares": {which: _mean(found, which).to_json() for which in SHARES},
        }
        for label, found in tables.items()
    }


def _mean(found: list[Factorial], which: str) -> Estimate:
    if which != RETURNS and not has_orders(found):
        return Estimate(np.nan)
    return mean_over_units(setting_shares_by_pair(found, which))
