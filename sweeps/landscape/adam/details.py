"""What the page quotes on Adam's eps: the share of features with each phase, and where the first is midway."""

from __future__ import annotations

from typing import Any

from analysis.claims.sweeps import Sweeps
from analysis.uncertainty.intervals import from_bootstrap
from sweeps.landscape.adam.measures import PHASES, phases_by_epsilon


def details_of_adam(sweeps: Sweeps) -> dict[str, Any]:
    """By eps the share of rare features with each phase, over seeds; the eps at which the first one is midway."""
    found = phases_by_epsilon(sweeps)
    return {
        "phases": list(PHASES),
        "shares by eps": {
            f"{eps:g}": [found.share(eps, j).to_json() for j in range(len(PHASES))] for eps in found.epsilons
        },
        "midway, common logarithm of eps": from_bootstrap(found.middle_B()).to_json(),
        "seeds": len({run.init_seed for run in found.history.runs}),
    }
