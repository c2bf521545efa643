"""The rows of all papers, read without running anything."""

from __future__ import annotations

import re

import pytest

from analysis.claims.claims import Region
from sweeps.papers import papers_of

BOOKS = [paper.claims_module().CLAIMS for paper in papers_of()]
CLAIMS = [claim for book in BOOKS for claim in book.claims.values()]
# A statement that begins so, or says so, leans on the row above it.
LEANS_ON_ANOTHER = r"^(And|So|It|They|This|These|Both|All do|The same)\b|\bthe same share\b|\blikewise\b|\bthat:"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_every_field_of_every_row_can_be_read_without_a_sweep(claim):
    assert claim.name.isidentifier()
    assert isinstance(claim.region, Region)
    assert claim.stated_by in ("paper", "us")
    assert claim.stated
    assert callable(claim.measure)
    assert 5 <= claim.least_runs <= 30
    assert claim.version >= 1


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_statement_can_be_read_alone(claim):
    sentence, _, quantity = claim.statement.rpartition(": ")
    assert re.match(r"[A-Z0-9]", sentence)
    assert len(sentence.split()) >= 4
    assert quantity
    assert not re.search(LEANS_ON_ANOTHER, claim.statement)


def test_no_claim_is_stated_twice():
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    assert len({claim.statement for claim in CLAIMS}) == len(CLAIMS)


def test_the_docstring_of_a_measure_says_what_it_measures():
    measures = {getattr(claim.measure, "func", claim.measure) for claim in CLAIMS}
    assert [measure.__name__ for measure in measures if not measure.__doc__] == []
