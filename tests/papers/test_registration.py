"""Registered terms of claims: a list whose hashes hold, and what it says of a claim that was changed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from analysis.claims.claims import Claim, ClaimBook, Evidence, JudgedClaim, Region
from analysis.claims.registration import NOT_REGISTERED, Registration, RegistrationError, is_as_registered
from analysis.claims.sweeps import JudgedSweep, Sweeps
from sweeps.papers import papers_of
from sweeps.registered import registration_of, seeds_by_sweep

CLAIM = Claim("jumps", "Losses jump: share of runs", "all", Region(low=0.5), "losses", lambda sweeps: None)
OTHER = replace(CLAIM, name="other")
SEEDS = {"small": {"budget": 10, "seeds": {"together": {"range": [0, 4]}}}}
FIRST = Registration().followed_by("2026-01-01", "All terms.", ClaimBook("P", [CLAIM, OTHER]), SEEDS)
STRICTER = replace(CLAIM, region=Region(low=0.6))
SECOND = FIRST.followed_by("2026-02-01", "Too lenient.", ClaimBook("P", [STRICTER, OTHER]), SEEDS)


def test_a_later_entry_holds_what_was_changed_alone():
    assert [sorted(entry.claims) for entry in SECOND.entries] == [["jumps", "other"], ["jumps"]]
    assert [entry.sweeps for entry in SECOND.entries] == [SEEDS, {}]
    assert SECOND.in_force("claims")["jumps"]["region"] == [0.6, None]
    assert SECOND.followed_by("2026-03-01", "Nothing.", ClaimBook("P", [STRICTER, OTHER]), SEEDS) == SECOND
    gone = SECOND.followed_by("2026-03-01", "Withdrawn.", ClaimBook("P", [OTHER]), SEEDS)
    assert gone.entries[-1].claims == {"jumps": None}
    assert "jumps" not in gone.in_force("claims")


def test_a_claim_says_when_its_terms_were_registered_and_whether_that_was_after_training_began():
    assert SECOND.status(OTHER, [SECOND.sha256]) == "registered 2026-01-01"
    assert SECOND.status(STRICTER, [SECOND.sha256]) == "changed 2026-02-01: Too lenient."
    assert SECOND.status(STRICTER, [FIRST.sha256]) == "changed 2026-02-01, after training began: Too lenient."
    assert SECOND.status(OTHER, [""]) == "registered 2026-01-01, after training began"
    assert SECOND.status(CLAIM) == NOT_REGISTERED
    assert Registration().status(CLAIM) == NOT_REGISTERED
    (told,) = SECOND.told([JudgedClaim(OTHER, "P", "holds", "", Evidence(0.9, 0.8, 1, 9))])
    assert is_as_registered(told.registered)
    assert not is_as_registered(SECOND.status(STRICTER, [SECOND.sha256]))


def test_the_sweeps_that_judge_a_claim_say_whether_training_had_begun():
    """A claim on one sweep is as registered, whatever other sweeps were trained before its terms."""
    read = replace(STRICTER, measure=lambda sweeps: sweeps["new"].history)
    history = Evidence(0.9, 0.8, 1, 9)
    sweeps = Sweeps({name: JudgedSweep(history) for name in ("old", "new")})
    begun = {"old": FIRST.sha256, "new": SECOND.sha256}
    (judged,) = ClaimBook("P", [read]).judged(sweeps)
    assert judged.sweeps == ("new",)
    assert SECOND.told([judged], begun)[0].registered == "changed 2026-02-01: Too lenient."
    (late,) = ClaimBook("P", [replace(read, measure=lambda sweeps: (sweeps["new"], sweeps["old"].history)[1])]).judged(
        sweeps
    )
    assert late.sweeps == ("new", "old")
    assert ClaimBook("P", [read]).judged(sweeps)[0].sweeps == ("new",)
    assert "after training began" in SECOND.told([late], begun)[0].registered


def altered(entries):
    entries[0]["claims"]["other"]["region"] = [0.1, None]


@pytest.mark.parametrize(
    "change", [altered, lambda entries: entries.pop(0), lambda entries: entries.reverse()], ids=["edit", "drop", "swap"]
)
def test_a_list_that_was_altered_is_refused(change, tmp_path):
    path = tmp_path / "registration.json"
    SECOND.write(path)
    assert Registration.read(path) == SECOND
    document = json.loads(path.read_text())
    change(document["entries"])
    path.write_text(json.dumps(document))
    with pytest.raises(RegistrationError, match="has been altered"):
        Registration.read(path)


def test_a_file_that_is_none_is_refused_and_a_missing_one_has_no_entry(tmp_path):
    assert Registration.read(tmp_path / "none.json") == Registration()
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(RegistrationError, match="is no registration"):
        Registration.read(tmp_path / "a.json")


@pytest.mark.parametrize("paper", papers_of(), ids=lambda paper: paper.name)
def test_the_terms_in_the_code_are_those_that_are_registered(paper):
    """Fails where `python -m benchmarks.registration REASON` is left to be run."""
    registration, book = registration_of(paper), paper.claims_module().CLAIMS
    assert {claim.name for claim in book.claims.values() if registration.status(claim) == NOT_REGISTERED} == set()
    assert registration.in_force("sweeps") == seeds_by_sweep(paper)
