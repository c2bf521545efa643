"""Questions on the landscape of an initialisation. Regions and seeds were fixed before any run that judges.

What was known: in setting A init seeds explain .9 of the variance of log time, and in small trials in which one group
of matrices was exchanged between random runs, hardly any of it was the group's own. Three factorials of groups between
chosen parents, under other data streams than those judged here, had half of their variance in order 1. What single
matrices, ordinary parents, other widths and other rates do was not known.
"""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, ClaimBook, Region
from sweeps.landscape.adam.claims import CLAIMS as OF_ADAM
from sweeps.landscape.adam.figures import adam_epsilon
from sweeps.landscape.fates.claims import CLAIMS as OF_FATES
from sweeps.landscape.fates.figures import commitment, mixtures
from sweeps.landscape.figures import combinations, spectrum
from sweeps.landscape.matrix_figures import interactions
from sweeps.landscape.pair_figures import parent_pairs
from sweeps.landscape.settings.claims import CLAIMS as OF_SETTINGS
from sweeps.landscape.settings.figures import settings
from sweeps.landscape.sizes.claims import CLAIMS as OF_SIZES
from sweeps.landscape.sizes.figures import rates, widths
from sweeps.landscape.spectra import (
    chosen_less_ordinary,
    largest_main_effect,
    mean_share_of_orders,
    products_against_others,
    returning_share,
    share_of_few,
    share_of_orders,
)
from sweeps.landscape.study import BY_MATRIX, LATER

FIGURES = (
    *(spectrum, combinations, interactions, parent_pairs, widths, rates),
    *(commitment, mixtures, settings, adam_epsilon),
)
_LOG_TIME = "share of the variance of log time"
# Two parents, two data streams, and every combination of seven groups, or of ten matrices.
_LEAST, _LEAST_BY_MATRIX = 256, 2048
NUM_FEW = 32

_CHOSEN = (
    Claim(
        name="combinations_decide",
        statement=(
            f"The combination of initial matrices decides when a run converges: {_LOG_TIME} that returns under "
            "another data stream"
        ),
        value="",
        region=Region(low=0.5),
        figure="combinations",
        measure=returning_share,
        least_runs=_LEAST,
        stated_by="us",
        family="combinations_decide",
    ),
    Claim(
        name="main_effects_are_a_minor_part",
        statement=f"Matrices do not act by themselves: {_LOG_TIME} that is of order 1",
        value="",
        region=Region(high=0.5),
        figure="spectrum",
        measure=partial(share_of_orders, first=1, last=1),
        least_runs=_LEAST,
        stated_by="us",
        family="main_effects",
    ),
    Claim(
        name="pairs_of_matrices_do_not_suffice",
        statement=f"Interactions of two do not suffice: {_LOG_TIME} that is of order 3 and above",
        value="",
        region=Region(low=0.2),
        figure="spectrum",
        measure=partial(share_of_orders, first=3, last=None),
        least_runs=_LEAST,
        stated_by="us",
        family="higher_orders",
    ),
    Claim(
        name="no_group_decides_alone",
        statement=f"No factor decides alone: largest {_LOG_TIME} that is the main effect of one, in any chosen pair",
        value="",
        region=Region(high=0.25),
        figure="spectrum",
        measure=largest_main_effect,
        least_runs=_LEAST,
        stated_by="us",
    ),
)

_MATRICES = (
    Claim(
        name="combinations_of_single_matrices_decide",
        statement=(
            f"The combination of ten single matrices decides when a run converges: {_LOG_TIME} that returns under "
            "another data stream"
        ),
        value="",
        region=Region(low=0.5),
        figure="interactions",
        measure=partial(returning_share, pairs=(BY_MATRIX,)),
        least_runs=_LEAST_BY_MATRIX,
        stated_by="us",
        family="combinations_decide",
    ),
    Claim(
        name="single_matrices_are_a_minor_part",
        statement=f"Single matrices do not act by themselves: {_LOG_TIME} that is of order 1",
        value="",
        region=Region(high=0.5),
        figure="spectrum",
        measure=partial(share_of_orders, first=1, last=1, pairs=(BY_MATRIX,)),
        least_runs=_LEAST_BY_MATRIX,
        stated_by="us",
        family="main_effects",
    ),
    Claim(
        name="pairs_of_single_matrices_do_not_suffice",
        statement=f"Interactions of two single matrices do not suffice: {_LOG_TIME} that is of order 3 and above",
        value="",
        region=Region(low=0.2),
        figure="spectrum",
        measure=partial(share_of_orders, first=3, last=None, pairs=(BY_MATRIX,)),
        least_runs=_LEAST_BY_MATRIX,
        stated_by="us",
        family="higher_orders",
    ),
    Claim(
        name="few_coefficients_suffice",
        statement=(
            f"The landscape is sparse: {_LOG_TIME} in the {NUM_FEW} largest of 1,023 coefficients, chosen under one "
            "data stream and measured under the other"
        ),
        value="",
        region=Region(low=0.5),
        figure="interactions",
        measure=partial(share_of_few, num_sets=NUM_FEW),
        version=2,
        least_runs=_LEAST_BY_MATRIX,
        stated_by="us",
    ),
    Claim(
        name="multiplied_matrices_interact_more",
        statement=(
            "Matrices that the model multiplies (queries with keys, values with outputs) interact more than others: "
            "mean joint effect of those three pairs over that of the other 42"
        ),
        value="",
        region=Region(low=1.5),
        figure="interactions",
        measure=products_against_others,
        least_runs=_LEAST_BY_MATRIX,
        stated_by="us",
    ),
)

_PAIRS = (
    Claim(
        name="main_effects_between_ordinary_parents",
        statement=f"Between ordinary parents, too, matrices do not act by themselves: mean {_LOG_TIME} of order 1",
        value="",
        region=Region(high=0.5),
        figure="parent_pairs",
        measure=partial(mean_share_of_orders, first=1, last=1),
        least_runs=3 * _LEAST,
        stated_by="us",
        family="main_effects",
    ),
    Claim(
        name="higher_orders_between_ordinary_parents",
        statement=f"Between ordinary parents, too, two do not suffice: mean {_LOG_TIME} of order 3 and above",
        value="",
        region=Region(low=0.2),
        figure="parent_pairs",
        measure=partial(mean_share_of_orders, first=3, last=None),
        least_runs=3 * _LEAST,
        stated_by="us",
        family="higher_orders",
    ),
    Claim(
        name="distance_favours_main_effects",
        statement=(
            f"Parents that lie far apart favour main effects: mean {_LOG_TIME} of order 1 between chosen parents, less "
            "that between ordinary ones"
        ),
        value="",
        region=Region(low=0.0),
        figure="parent_pairs",
        measure=partial(chosen_less_ordinary, first=1, last=1),
        least_runs=6 * _LEAST,
        stated_by="us",
    ),
)

# The regions are the intervals over the five ordinary pairs.
_LATER = tuple(
    Claim(
        name=name,
        statement=f"As between the five ordinary pairs, so between eight later ones: mean {_LOG_TIME} of {of_what}",
        value="",
        region=region,
        figure="parent_pairs",
        measure=partial(mean_share_of_orders, first=first, last=last, pairs=LATER),
        least_runs=8 * _LEAST,
        stated_by="us",
        family=family,
    )
    for name, of_what, region, first, last, family in (
        ("main_effects_between_later_parents", "order 1", Region(0.14, 0.45), 1, 1, "main_effects"),
        ("higher_orders_between_later_parents", "order 3 and above", Region(0.26, 0.56), 3, None, "higher_orders"),
    )
)

CLAIMS = ClaimBook(
    "The landscape of an initialisation",
    _CHOSEN + _MATRICES + _PAIRS + _LATER + OF_SIZES + OF_FATES + OF_SETTINGS + OF_ADAM,
)
