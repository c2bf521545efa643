"""The sweeps on fates: parents, their forks under fresh data, and exchanges of matrices between a fast and a slow one.

Parents are every fourth of the 64 init seeds that the sweep `widths` trained at width 16, by their times there. Of the
first eight, the fast ones, each is paired with the slow one eight places further on, so that the two of every pair are
32 of 64 ranks apart. The other 48 of the 64 are parents of a second sweep, under half as many data streams: how far
parents differ decides how exact their distribution is, not how many forks each has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.spec.sweep import load_spec
from sweeps.papers import PaperSweep

FATE_PARENTS, FATES = "fate_parents", "fates"
MORE_PARENTS, MORE_FATES = "more_parents", "more_fates"
FIRST_FATES, FURTHER_FATES = (FATE_PARENTS, FATES), (MORE_PARENTS, MORE_FATES)
_RANKED, _MORE_STREAMS = range(200, 264), (6000, 6006)
_ROOM = "landscape/fates"
_FOLDER = Path(__file__).resolve().parent
# What is exchanged together: all that a run adds to its residual stream at one place, or reads from it.
PARTS = {
    "embeddings": ("embedding", "position"),
    "layer 1": ("layer0.query", "layer0.key", "layer0.value", "layer0.output"),
    "layer 2": ("layer1.query", "layer1.key", "layer1.value", "layer1.output"),
    "unembedding": ("unembedding",),
}
_NUM_PAIRS = 8


@dataclass(frozen=True)
class ExchangedPair:
    """A fast and a slow run of the sweep `fate_parents`, by id, and the name of the sweep of their exchanges."""

    name: str
    fast: str
    slow: str

    def overrides(self) -> tuple[str, ...]:
        """The fast run with every subset of parts from the slow one; the first alternative takes nothing."""
        alternatives: list[dict[str, dict[str, str]]] = [{}]
        for place in range(1, 2 ** len(PARTS)):
            taken = [names for g, names in enumerate(PARTS.values()) if place >> g & 1]
            alternatives.append({"weights": {name: self.slow for names in taken for name in names}})
        fork = (f"fork.runs={json.dumps([self.fast])}", f"fork.alternatives={json.dumps(alternatives)}")
        return (f"name=landscape_{self.name}", *fork)


def exchanged_pairs() -> tuple[ExchangedPair, ...]:
    """The pairs, by the rank of the fast run."""
    ids = [run.run_id for run in load_spec(_FOLDER / "parents.yaml").runs()]
    return tuple(ExchangedPair(f"exchange_{p + 1}", ids[p], ids[p + _NUM_PAIRS]) for p in range(_NUM_PAIRS))


def _more_parents() -> tuple[str, ...]:
    """The init seeds of the 64 that are no parents of the first sweep."""
    known = {run.init_seed for run in load_spec(_FOLDER / "parents.yaml").runs()}
    others = [seed for seed in _RANKED if seed not in known]
    return ("name=landscape_more_parents", f"seeds.crossed.init_seed={others}")


def _more_forks() -> tuple[str, ...]:
    first, stop = _MORE_STREAMS
    return ("name=landscape_more_fates", f"fork.data_seed.range=[{first}, {stop}]")


EXCHANGED = exchanged_pairs()
FATE_SWEEPS = (
    PaperSweep(FATE_PARENTS, f"{_ROOM}/parents.yaml", fast=None),
    PaperSweep(FATES, f"{_ROOM}/forks.yaml", fast=None, forks_of=FATE_PARENTS),
    *(PaperSweep(pair.name, f"{_ROOM}/exchange.yaml", None, pair.overrides(), FATE_PARENTS) for pair in EXCHANGED),
    PaperSweep(MORE_PARENTS, f"{_ROOM}/parents.yaml", None, _more_parents()),
    PaperSweep(MORE_FATES, f"{_ROOM}/forks.yaml", None, _more_forks(), forks_of=MORE_PARENTS),
)
