"""Terms of claims that are fixed before the runs that judge them, in a list that only grows.

A registration is a file of entries. Each holds the terms of claims and the seeds of sweeps that it fixes, the day, and
the reason; the first fixes all, and each later one what it adds or changes. Every entry has the SHA-256 of its content
and of the entry before it, so an entry that is edited, taken out or put in between breaks all hashes after it, and the
last hash stands for the whole list. Claims print whether their terms are the registered ones and when they were fixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.claims.claims import Claim, ClaimBook, JudgedClaim
from pipeline.store.files import write_file

NOT_REGISTERED = "not registered"
_REGISTERED, _LATE = "registered", ", after training began"


class RegistrationError(ValueError):
    """A registration whose hashes do not fit its entries, or that cannot be read."""


def terms_of(claim: Claim) -> dict[str, Any]:
    """What a claim's verdict depends on, as plain values; its wording is not part of it."""
    bounds = (claim.region.low, claim.region.high)
    return {
        "region": [float(bound) if np.isfinite(bound) else None for bound in bounds],
        "paper_figure": claim.paper_figure,
        "margin": claim.margin,
        "least_runs": claim.least_runs,
        "version": claim.version,
        "stated_by": claim.stated_by,
        "is_check": claim.is_check,
    }


@dataclass(frozen=True)
class RegisteredTerms:
    """One entry: `at` is a day, YYYY-MM-DD; terms by claim, and seeds by sweep, None where withdrawn."""

    at: str
    why: str
    claims: Mapping[str, Any]
    sweeps: Mapping[str, Any]
    sha256: str = ""

    def hashed(self, before: str) -> str:
        """The SHA-256 of the entry after one with the hash `before`."""
        content = {"before": before, "at": self.at, "why": self.why, "claims": self.claims, "sweeps": self.sweeps}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Registration:
    """The entries of one paper, oldest first."""

    entries: tuple[RegisteredTerms, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Registration:
        """From a file; without entries where there is none. Raises RegistrationError where a hash does not fit."""
        if not path.is_file():
            return cls()
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))["entries"]
            found = cls(tuple(RegisteredTerms(**entry) for entry in entries))
        except (ValueError, KeyError, TypeError) as error:
            raise RegistrationError(f"{path} is no registration: {error}") from None
        before = ""
        for number, entry in enumerate(found.entries, start=1):
            if entry.hashed(before) != entry.sha256:
                raise RegistrationError(
                    f"{path}: entry {number} of {entry.at} has been altered, or one before it; its hash should be "
                    f"{entry.hashed(before)} and is {entry.sha256}"
                )
            before = entry.sha256
        return found

    def write(self, path: Path) -> None:
        """Writes the file, replacing it."""
        document = {"entries": [vars(entry) for entry in self.entries]}
        write_file(path, (json.dumps(document, indent=1) + "\n").encode())

    @property
    def sha256(self) -> str:
        """The last hash; empty without an entry."""
        return self.entries[-1].sha256 if self.entries else ""

    def in_force(self, what: str) -> dict[str, Any]:
        """What the entries together fix of "claims" or "sweeps": the last entry that names one counts."""
        found: dict[str, Any] = {}
        for entry in self.entries:
            found |= getattr(entry, what)
        return {name: terms for name, terms in found.items() if terms is not None}

    def followed_by(self, at: str, why: str, book: ClaimBook, sweeps: Mapping[str, Any]) -> Registration:
        """With one more entry, of all that differs from what is in force; without one where nothing does."""
        claims = {name: terms_of(claim) for name, claim in book.claims.items()}
        changed = _differences(self.in_force("claims"), claims)
        other_seeds = _differences(self.in_force("sweeps"), sweeps)
        if not changed and not other_seeds:
            return self
        entry = RegisteredTerms(at, why, changed, other_seeds)
        return Registration((*self.entries, replace(entry, sha256=entry.hashed(self.sha256))))

    def status(self, claim: Claim, begun_under: Sequence[str] = ()) -> str:
        """`registered 2026-11-22`, `changed 2026-12-01: REASON` or NOT_REGISTERED; of terms that are in force.

        `begun_under` are the last hashes when the training of each sweep that judges the claim began, empty strings
        where there was no registration then: where one of them is older than the terms, the day is followed by "after
        training began".
        """
        history = [entry for entry in self.entries if claim.name in entry.claims]
        if not history or history[-1].claims[claim.name] != terms_of(claim):
            return NOT_REGISTERED
        last = history[-1]
        hashes = [entry.sha256 for entry in self.entries]
        num_before = [hashes.index(begun) + 1 if begun in hashes else 0 for begun in begun_under]
        late = _LATE if any(self.entries.index(last) >= num for num in num_before) else ""
        return f"{_REGISTERED} {last.at}{late}" if len(history) == 1 else f"changed {last.at}{late}: {last.why}"

    def told(self, claims: Sequence[JudgedClaim], begun_under: Mapping[str, str] | None = None) -> list[JudgedClaim]:
        """The claims with their status; `begun_under` is by sweep, and those that a claim was judged by count."""
        given = begun_under or {}
        return [
            replace(
                judged, registered=self.status(judged.claim, [given[name] for name in judged.sweeps if name in given])
            )
            for judged in claims
        ]


def is_as_registered(status: str) -> bool:
    """Whether a status says that the terms were registered once, before training began.

    >>> is_as_registered("registered 2026-11-22"), is_as_registered("registered 2026-11-22, after training began")
    (True, False)
    """
    return status.startswith(_REGISTERED) and not status.endswith(_LATE)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What is new or changed, and None for what is gone."""
    changed = {name: terms for name, terms in now.items() if before.get(name) != terms}
    return changed | {name: None for name in before if name not in now}
