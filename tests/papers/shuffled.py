"""Checks that a claim fails on shuffled data."""

from __future__ import annotations

from analysis.claims.claims import HOLDS, ClaimBook, JudgedClaim
from tests.papers.negative_controls import shuffled


def judged_on_shuffled(book: ClaimBook, name: str, sweeps, how: str, *, num_seeds: int = 3) -> list[JudgedClaim]:
    """One claim of a book, on the sweeps shuffled in `num_seeds` ways; `how` as in `negative_controls`."""
    return [book.judged_claim(name, shuffled(sweeps, how, seed)) for seed in range(num_seeds)]


def assert_holds_only_unshuffled(book: ClaimBook, name: str, sweeps, how: str, *, num_seeds: int = 3) -> None:
    """The claim holds on the sweeps and on no shuffled ones, and at least once the data themselves decided that."""
    claim = book.judged_claim(name, sweeps)
    assert claim.verdict == HOLDS, f"{name} does not hold before shuffling: {claim.verdict} {claim.reason}"
    controls = judged_on_shuffled(book, name, sweeps, how, num_seeds=num_seeds)
    assert all(control.verdict != HOLDS for control in controls), f"{name} holds on data shuffled by {how}"
    assert any(control.evidence is not None for control in controls), f"{name} had no evidence on shuffled data"
