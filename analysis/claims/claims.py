"""Claims: what a paper states, beside what our runs show, and whether that holds.

Every paper has a book of its own, `sweeps/PAPER/claims.py`. To add a claim, write a function of the sweeps that returns
Evidence, under `@CLAIMS.claim(...)`, and a test of it:

    CLAIMS = ClaimBook()

    @CLAIMS.claim(paper="Zhao 2023", statement="Accuracy changes abruptly", value="yes", figure="phase_change")
    def accuracy_jumps(sweeps: Sweeps) -> Evidence:
        history = sweeps["zhao_a"].history
        ...
        return Evidence(share.value, share.low, share.high, num_runs, holds_if=Region(low=0.8))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.uncertainty.intervals import Estimate

HOLDS, DOES_NOT, UNDECIDED = VERDICTS = ("holds", "does not", "undecided")


@dataclass(frozen=True)
class Region:
    """The values for which a statement is true: from `low` to `high`, ends included. Raises ValueError when empty."""

    low: float = -np.inf
    high: float = np.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high or (np.isinf(self.low) and np.isinf(self.high)):
            raise ValueError(f"a region needs a bound, and its low may not exceed its high, got {self}")

    def __str__(self) -> str:
        if np.isinf(self.high):
            return f"at least {self.low:g}"
        if np.isinf(self.low):
            return f"at most {self.high:g}"
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Evidence:
    """Our estimate with its 95% interval, NaN where undefined, from `num_runs` runs; `holds_if` is set beforehand.

    `note` is a sentence on what the estimate is, or what it rests on.
    """

    estimate: float
    low: float
    high: float
    num_runs: int
    holds_if: Region
    note: str = ""

    @classmethod
    def of(cls, estimate: Estimate, num_runs: int, holds_if: Region, note: str = "") -> Evidence:
        """From an estimate with its interval."""
        return cls(estimate.value, estimate.low, estimate.high, num_runs, holds_if, note)


def judge(evidence: Evidence, least_runs: int) -> tuple[str, str]:
    """The verdict, and the reason where it is undecided.

    Holds when the whole interval lies in the region, does not when no part of it does, else undecided; undecided too
    with fewer than `least_runs` runs or without an interval. The verdict is of the interval, not of the estimate.
    """
    if evidence.num_runs < least_runs:
        return UNDECIDED, f"{evidence.num_runs} run(s), needs {least_runs}"
    if not np.all(np.isfinite([evidence.estimate, evidence.low, evidence.high])):
        return UNDECIDED, "no estimate" if not np.isfinite(evidence.estimate) else "no interval"
    region = evidence.holds_if
    if region.low <= evidence.low and evidence.high <= region.high:
        return HOLDS, ""
    if evidence.high < region.low or region.high < evidence.low:
        return DOES_NOT, ""
    return UNDECIDED, f"the interval is neither inside nor outside of {region}"


@dataclass(frozen=True)
class Claim:
    """A paper's statement, judged. `value` is the paper's figure in its own words, `figure` names ours.

    `evidence` is None where the sweeps could not tell, and `reason` says why; it is empty unless undecided.
    """

    name: str
    paper: str
    statement: str
    value: str
    figure: str
    verdict: str
    reason: str
    evidence: Evidence | None

    @property
    def estimate(self) -> Estimate:
        """Our figure with its interval; NaN without evidence."""
        if self.evidence is None:
            return Estimate(np.nan)
        return Estimate(self.evidence.estimate, self.evidence.low, self.evidence.high)

    @property
    def num_runs(self) -> int:
        """Number of runs behind it; 0 without evidence."""
        return 0 if self.evidence is None else self.evidence.num_runs

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where undefined."""
        evidence = self.evidence
        return {
            "name": self.name,
            "paper": self.paper,
            "statement": self.statement,
            "paper_value": self.value,
            "estimate": self.estimate.to_json(),
            "num_runs": self.num_runs,
            "holds_if": None if evidence is None else str(evidence.holds_if),
            "verdict": self.verdict,
            "reason": self.reason or None,
            "note": None if evidence is None else evidence.note or None,
            "figure": self.figure,
        }


Measure = Callable[[Sweeps], Evidence]


@dataclass(frozen=True)
class Stated:
    """A registered claim, not judged yet: what the paper states, and how it is measured."""

    name: str
    paper: str
    statement: str
    value: str
    figure: str
    least_runs: int
    measure: Measure

    def judged(self, sweeps: Sweeps) -> Claim:
        """The claim on these sweeps. Only what a function raises as undecided is caught: mistakes stay mistakes."""
        fixed = (self.name, self.paper, self.statement, self.value, self.figure)
        try:
            evidence = self.measure(sweeps)
        except UndecidedError as error:
            return Claim(*fixed, UNDECIDED, str(error), None)
        return Claim(*fixed, *judge(evidence, self.least_runs), evidence)


class ClaimBook:
    """Claims in the order in which they were registered."""

    def __init__(self) -> None:
        self.stated: dict[str, Stated] = {}

    @classmethod
    def of(cls, *books: ClaimBook) -> ClaimBook:
        """The claims of several books, in their order. Raises ValueError where two have one name."""
        found = cls()
        for book in books:
            if shared := found.stated.keys() & book.stated.keys():
                raise ValueError(f"two claims are named {', '.join(sorted(shared))}")
            found.stated.update(book.stated)
        return found

    def claim(
        self, *, paper: str, statement: str, value: str, figure: str, least_runs: int = 10
    ) -> Callable[[Measure], Measure]:
        """Registers a function of the sweeps under its own name; gives it back as it was.

        Raises ValueError where a text is empty, `least_runs` is below 1, or another function has this name.
        """
        texts = {"paper": paper, "statement": statement, "value": value, "figure": figure}
        if least_runs < 1 or not all(text.strip() for text in texts.values()):
            raise ValueError(f"a claim needs its four texts, and least_runs of 1 or more, got {texts}, {least_runs}")

        def register(measure: Measure) -> Measure:
            name = str(measure.__name__)
            if name in self.stated:
                raise ValueError(f"two claims are named {name!r}")
            self.stated[name] = Stated(name, paper, statement, value, figure, least_runs, measure)
            return measure

        return register

    def judged(self, sweeps: Sweeps) -> list[Claim]:
        """Every claim, none dropped, in order."""
        return [stated.judged(sweeps) for stated in self.stated.values()]
