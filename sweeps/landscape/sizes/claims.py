"""Questions on sizes. Regions and seeds were fixed before any run that judges; fresh seeds ask again what was found."""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from sweeps.landscape.sizes.phase_diagram import ratio_of_boundaries, share_lost
from sweeps.landscape.sizes.spreads import exponent_of_spread
from sweeps.landscape.sizes.study import RATES_LOW, WIDER

CLAIMS = (
    Claim(
        name="spread_falls_with_width",
        statement=(
            "Wide models average their initialisation: exponent of the standard deviation of log time in the width, at "
            "one learning rate"
        ),
        value="",
        region=Region(high=-0.1),
        figure="widths",
        measure=partial(exponent_of_spread, arm="one rate"),
        least_runs=192,
        stated_by="us",
        family="self_averaging",
    ),
    Claim(
        name="spread_falls_with_width_at_scaled_rates",
        statement=(
            "Wide models average their initialisation: exponent of the standard deviation of log time in the width, at "
            "learning rates that fall as 1/width"
        ),
        value="",
        region=Region(high=-0.1),
        figure="widths",
        measure=partial(exponent_of_spread, arm="rate by 1/width"),
        least_runs=192,
        stated_by="us",
        family="self_averaging",
    ),
    Claim(
        name="spread_falls_as_of_independent_parts",
        statement=(
            "The spread falls as that of a mean of independent parts: exponent of the standard deviation of log time "
            "in the width, at one learning rate, where such a mean has -1/2"
        ),
        value="",
        region=Region(-0.65, -0.35),
        figure="widths",
        measure=partial(exponent_of_spread, arm="one rate"),
        least_runs=192,
        stated_by="us",
    ),
    Claim(
        name="narrow_heads_need_higher_rates",
        statement=(
            "Narrow heads need higher rates: learning rate at which half of the runs converge by step 2,700 with heads "
            "of width 2, over that with heads of width 8"
        ),
        value="",
        region=Region(low=1.0),
        figure="rates",
        measure=partial(ratio_of_boundaries, narrow=2, wide=8),
        least_runs=192,
        stated_by="us",
    ),
    Claim(
        name="high_rates_fail",
        statement=(
            "High rates fail, too: share of runs with heads of width 4 that converge by step 2,700 at the rate 5e-2, "
            "less that at 5e-3"
        ),
        value="",
        region=Region(high=-0.3),
        figure="rates",
        measure=partial(share_lost, head_width=4, rate=5e-3, higher=5e-2),
        least_runs=64,
        stated_by="us",
    ),
    Claim(
        name="independent_parts_again",
        statement=(
            "Fresh seeds at widths 16 to 128, the spread falls as that of a mean of independent parts: exponent of the "
            "standard deviation of log time in the width, at one learning rate, where such a mean has -1/2"
        ),
        value="",
        region=Region(-0.65, -0.35),
        figure="widths",
        measure=partial(exponent_of_spread, arm="one rate", names=(WIDER,)),
        least_runs=512,
        stated_by="us",
    ),
    Claim(
        name="spread_falls_at_scaled_rates_again",
        statement=(
            "Fresh seeds at widths 16 to 128, wide models average their initialisation: exponent of the standard "
            "deviation of log time in the width, at learning rates that fall as 1/width"
        ),
        value="",
        region=Region(high=-0.1),
        figure="widths",
        measure=partial(exponent_of_spread, arm="rate by 1/width", names=(WIDER,)),
        least_runs=512,
        stated_by="us",
        family="self_averaging",
    ),
    Claim(
        name="narrow_heads_need_twice_the_rate",
        statement=(
            "Fresh seeds, narrow heads need twice the rate: learning rate at which half of the runs converge by step "
            "2,700 with heads of width 2, over that with heads of width 8"
        ),
        value="",
        region=Region(low=2.0),
        figure="rates",
        measure=partial(ratio_of_boundaries, narrow=2, wide=8, names=(RATES_LOW,)),
        least_runs=240,
        stated_by="us",
    ),
)
