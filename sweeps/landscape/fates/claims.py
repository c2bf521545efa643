"""Questions on fates. Regions, parents and data streams were fixed before any run that judges.

What was known: of fresh init seeds .9 of the variance of log time, and two pairs of other runs, between which parts
were exchanged at four steps.
"""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from sweeps.landscape.fates.measures import (
    change_of_slow_down,
    mean_main_effect,
    mean_share_of_mixtures,
    share_by_state,
    share_committed,
)
from sweeps.landscape.fates.study import FURTHER_FATES, PARTS

_FORKS, _MORE_FORKS, _MIXTURES = 1536, 2304, 1536
_SHARE = "mean share of the variance of log time over mixtures of a fast and a slow run's states"

CLAIMS = (
    Claim(
        name="fates_are_sealed_early",
        statement="Fates are sealed early: share of parents that are committed from step 200 or before",
        value="",
        region=Region(low=0.5),
        figure="commitment",
        measure=partial(share_committed, by=200),
        least_runs=_FORKS,
        stated_by="us",
    ),
    Claim(
        name="state_fixes_time",
        statement=(
            "A state at step 200 fixes the time: share of the variance of log time, over parents and fresh data "
            "streams, that is between parents"
        ),
        value="",
        region=Region(low=0.8),
        figure="commitment",
        measure=partial(share_by_state, step=200),
        least_runs=_FORKS,
        stated_by="us",
    ),
    Claim(
        name="initial_mixtures_interact",
        statement=f"Of initial states, parts do not act by themselves: {_SHARE} that is of order 1, at step 0",
        value="",
        region=Region(high=0.5),
        figure="mixtures",
        measure=partial(mean_share_of_mixtures, step=0, first=1, last=1),
        least_runs=_MIXTURES,
        stated_by="us",
        family="exchange_order_1",
    ),
    Claim(
        name="fate_does_not_move_into_embeddings",
        statement=f"Fate does not move into the embeddings: {_SHARE} that is their main effect, at step 600",
        value="",
        region=Region(high=0.5),
        figure="mixtures",
        measure=partial(mean_main_effect, part="embeddings", step=600),
        least_runs=_MIXTURES,
        stated_by="us",
    ),
    Claim(
        name="late_mixtures_interact",
        statement=f"Parts of late states do not act by themselves: {_SHARE} that is of order 2 and above, at step 400",
        value="",
        region=Region(low=0.3),
        figure="mixtures",
        measure=partial(mean_share_of_mixtures, step=400, first=2, last=len(PARTS)),
        least_runs=_MIXTURES,
        stated_by="us",
        family="exchange_order_1",
    ),
    Claim(
        name="mixtures_grow_slower",
        statement=(
            "The later states are mixed, the slower the mixtures: mean log time of mixtures less that of the two "
            "unmixed runs, at step 400 less at step 0"
        ),
        value="",
        region=Region(low=0.0),
        figure="mixtures",
        measure=partial(change_of_slow_down, step=400),
        least_runs=_MIXTURES,
        stated_by="us",
    ),
    Claim(
        name="two_thirds_are_sealed_early",
        statement="Of 48 further parents, two thirds are: share that is committed from step 200 or before",
        value="",
        region=Region(low=2 / 3),
        figure="commitment",
        measure=partial(share_committed, by=200, of=FURTHER_FATES),
        least_runs=_MORE_FORKS,
        stated_by="us",
    ),
    Claim(
        name="state_fixes_time_again",
        statement=(
            "Of 48 further parents, a state at step 200 fixes the time: share of the variance of log time, over "
            "parents and fresh data streams, that is between parents"
        ),
        value="",
        region=Region(low=0.8),
        figure="commitment",
        measure=partial(share_by_state, step=200, of=FURTHER_FATES),
        least_runs=_MORE_FORKS,
        stated_by="us",
    ),
)
