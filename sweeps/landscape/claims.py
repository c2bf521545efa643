"""Questions on the landscape of an initialisation. Regions and seeds were fixed before any factorial was examined.

What was known: in setting A init seeds explain .9 of the variance of log time, and in small trials in which one group
of matrices was exchanged between random runs, hardly any of it was the group's own. Whether this holds between a fast
and a slow parent, where every group may have a direction, was not known. Intervals are over data streams, with the
pairs of parents given.
"""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, ClaimBook, Evidence, Region
from analysis.claims.sweeps import Sweeps
from analysis.dynamics.walsh import WalshSpectrum, main_effects, walsh_spectrum
from analysis.uncertainty.intervals import Estimate
from sweeps.landscape.figures import combinations, spectrum
from sweeps.landscape.measures import Factorial, factorials

FIGURES = (spectrum, combinations)
_LOG_TIME = "share of the variance of log time"
# Two parents, 2^7 combinations, two data streams.
_LEAST = 256


def total_spectrum(found: list[Factorial]) -> WalshSpectrum:
    """The spectra of several factorials, added up. They have equally many factors."""
    first, *others = (walsh_spectrum(each.values_DC) for each in found)
    total = first
    for other in others:
        total = total + other
    return total


def _evidence(found: list[Factorial], estimate: Estimate, of_each: list[Estimate]) -> Evidence:
    num_runs, num_late = sum(each.num_runs for each in found), sum(each.num_late for each in found)
    by_pair = zip(found, of_each, strict=True)
    shares = "; ".join(f"{each.pair.name} {estimate.text()}" for each, estimate in by_pair)
    note = (
        f"{len(found)} pair(s) of parents, {len(found[0].factors)} factors, {len(found[0].values_DC)} data streams; "
        f"{shares}; {num_late} of {num_runs} runs count with the budget."
    )
    num_streams = sum(len(each.values_DC) for each in found)
    return Evidence(
        *(estimate.value, estimate.low, estimate.high), num_runs, note, "data streams of pairs of parents", num_streams
    )


def returning_share(sweeps: Sweeps) -> Evidence:
    """Share of the variance over combinations that returns under another data stream."""
    found = factorials(sweeps)
    return _evidence(
        found, total_spectrum(found).returning(), [walsh_spectrum(each.values_DC).returning() for each in found]
    )


def share_of_orders(sweeps: Sweeps, *, first: int, last: int | None) -> Evidence:
    """Share of what returns that is of the orders `first` to `last` (None: the highest)."""
    found = factorials(sweeps)
    highest = len(found[0].factors) if last is None else last
    of_each = [walsh_spectrum(each.values_DC).share(first, highest) for each in found]
    return _evidence(found, total_spectrum(found).share(first, highest), of_each)


def largest_main_effect(sweeps: Sweeps) -> Evidence:
    """The largest share of a single factor's main effect in any of the pairs, with its own interval."""
    found = factorials(sweeps)
    of_each = [max(main_effects(each.values_DC), key=lambda effect: effect.value) for each in found]
    return _evidence(found, max(of_each, key=lambda effect: effect.value), of_each)


CLAIMS = ClaimBook(
    "The landscape of an initialisation",
    (
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
        ),
        Claim(
            name="no_group_decides_alone",
            statement=f"No factor decides alone: the largest {_LOG_TIME} that is the main effect of one, in any pair",
            value="",
            region=Region(high=0.25),
            figure="spectrum",
            measure=largest_main_effect,
            least_runs=_LEAST,
            stated_by="us",
        ),
    ),
)
