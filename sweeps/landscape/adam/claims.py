"""Questions on Adam's eps. Known beforehand: the first phase in all features under gradient descent on fresh contexts.

And all phases in .34 of features under Adam at eps 1e-8. With two other seeds a point the first phase was found in .78
of features at eps 1e2 and in .39 at 1e-8.
"""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from sweeps.landscape.adam.measures import share_at, share_gained

_SHARE = "share of rare features whose weight on the dominant feature falls first"

CLAIMS = (
    Claim(
        name="large_eps_has_the_first_phase",
        statement=f"Adam with a large eps goes through the phases of gradient descent: {_SHARE}, at eps 1e2",
        value="",
        region=Region(low=0.6),
        figure="adam_epsilon",
        measure=partial(share_at, eps=1e2),
        least_runs=8,
        stated_by="us",
    ),
    Claim(
        name="small_eps_takes_the_first_phase_away",
        statement=f"Adam's normalisation takes the first phase away: {_SHARE}, at eps 1e2 less at 1e-8",
        value="",
        region=Region(low=0.2),
        figure="adam_epsilon",
        measure=partial(share_gained, small=1e-8, large=1e2),
        least_runs=16,
        stated_by="us",
    ),
)
