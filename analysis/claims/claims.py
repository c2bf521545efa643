"""Claims: what a paper states, the region in which that is true, and the verdicts on our runs.

A claim is one row, a `Claim`: all that is fixed beforehand can be read without running anything, and `measure`, a
function of the sweeps, says what they show. `judge` alone turns both into a verdict, so no claim is lenient by itself.
It is read twice: whether it is of practical size, which `region` says, and, where the paper prints a figure, whether
ours equals it within the margin. Checks are rows of the same kind that could not have come out otherwise, such as
identities; they are judged and listed apart. The rows of a paper are its book, `CLAIMS` in `sweeps/PAPER/claims.py`:

    CLAIMS = ClaimBook("Zhao 2023", [
        Claim(
            name="accuracy_jumps",
            statement="Test accuracy rises abruptly: share of runs with a phase change",
            value="clear indications",
            region=Region(low=0.8),
            figure="phase_change",
            measure=share_of_abrupt_runs,
        ),
    ])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.uncertainty.detectable import smallest_deviation, smallest_deviation_of_share
from analysis.uncertainty.intervals import Estimate
from analysis.uncertainty.resampling import independent_units
from pipeline.store.history import RunInfo

HOLDS, DOES_NOT, UNDECIDED = VERDICTS = ("holds", "does not", "undecided")
EQUAL, DIFFERENT = "equal", "different"


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
    """What the sweeps show: an estimate with its 95% interval, NaN where undefined, from `num_runs` runs.

    `note` is a sentence on what the estimate is, or what it rests on. `unit` names in the plural what is independent in
    them, and there are `num_units`; both are empty where that was not recorded.
    """

    estimate: float
    low: float
    high: float
    num_runs: int
    note: str = ""
    unit: str = ""
    num_units: int | None = None

    @classmethod
    def of(
        cls, estimate: Estimate, runs: Sequence[RunInfo], note: str = "", *, num_runs: int | None = None
    ) -> Evidence:
        """From an estimate with its interval, over `num_runs` of these runs (default: all)."""
        units = independent_units(runs)
        counted = len(runs) if num_runs is None else num_runs
        # Of independent runs that are not all used, those that are used are the units.
        num_units = counted if units.num == len(runs) else units.num
        return cls(estimate.value, estimate.low, estimate.high, counted, note, units.name, num_units)


def judge(evidence: Evidence, region: Region, least_runs: int) -> tuple[str, str]:
    """The verdict, one of VERDICTS, and the reason where it is undecided.

    Holds when the whole interval lies in the region, does not when no part of it does, else undecided; undecided too
    with fewer than `least_runs` runs or without an interval. The verdict is of the interval, not of the estimate:

    >>> judge(Evidence(0.9, 0.84, 0.95, num_runs=64), Region(low=0.8), least_runs=10)
    ('holds', '')
    >>> judge(Evidence(0.6, 0.55, 0.66, num_runs=64), Region(low=0.8), least_runs=10)
    ('does not', '')
    >>> judge(Evidence(0.9, 0.78, 0.97, num_runs=12), Region(low=0.8), least_runs=10)
    ('undecided', 'the interval is partly inside and partly outside of the region')
    >>> judge(Evidence(0.9, 0.84, 0.95, num_runs=8), Region(low=0.8), least_runs=10)
    ('undecided', '8 run(s), needs 10')
    """
    if evidence.num_runs < least_runs:
        return UNDECIDED, f"{evidence.num_runs} run(s), needs {least_runs}"
    if not np.all(np.isfinite([evidence.estimate, evidence.low, evidence.high])):
        return UNDECIDED, "no estimate" if not np.isfinite(evidence.estimate) else "no interval"
    if region.low <= evidence.low and evidence.high <= region.high:
        return HOLDS, ""
    if evidence.high < region.low or region.high < evidence.low:
        return DOES_NOT, ""
    return UNDECIDED, "the interval is partly inside and partly outside of the region"


ClaimFunction = Callable[[Sweeps], Evidence]


@dataclass(frozen=True)
class Claim:
    """One row of a paper's book.

    `statement`: one sentence that can be read alone, and after a colon the quantity that is measured.
    `value`: the quantity as the paper gives it, in its own words; may be empty where `stated_by` is "us".
    `region`: where the quantity must lie for the statement to be true in practice. Fixed before the judged runs are
        looked at, as are the next two.
    `paper_figure`: the number that the paper gives or states, such as 1 of a ratio that it says is 1. None without one.
    `margin`: how far from it a quantity equals it, above 0. None where there is no number.
    `figure`: the name of the figure that shows it.
    `measure`: the quantity in the sweeps. Raises UndecidedError where they cannot tell.
    `least_runs`: with fewer runs the claim is undecided.
    `stated_by`: "paper", or "us" for a question of our own.
    `version`: raised with any change of `measure` that changes what it returns, so that older verdicts do not count.
    `is_check`: it could not come out otherwise unless the code is wrong, as of an identity; not counted as a claim.
    `is_share`: the quantity is a share of independent units.
    `family`: statements of one name are one statement under several conditions, and count once. Default: `name`.

    Raises ValueError where a text is empty, `least_runs` or `version` is below 1, or a margin lacks its figure.
    """

    name: str
    statement: str
    value: str
    region: Region
    figure: str
    measure: ClaimFunction
    least_runs: int = 10
    stated_by: Literal["paper", "us"] = "paper"
    version: int = 1
    paper_figure: float | None = None
    margin: float | None = None
    is_check: bool = False
    is_share: bool = False
    family: str = ""

    def __post_init__(self) -> None:
        texts = {"name": self.name, "statement": self.statement, "figure": self.figure}
        if self.stated_by == "paper":
            texts["value"] = self.value
        if empty := [field for field, text in texts.items() if not text.strip()]:
            raise ValueError(f"claim {self.name!r} has no {', '.join(empty)}")
        if min(self.least_runs, self.version) < 1:
            raise ValueError(f"claim {self.name!r} needs least_runs and version of 1 or more")
        if (self.paper_figure is None) != (self.margin is None) or not (self.margin is None or self.margin > 0):
            raise ValueError(f"claim {self.name!r} needs a figure of the paper with a margin above 0, or neither")

    @property
    def stated(self) -> str:
        """The paper's value, or that the paper states none."""
        if self.stated_by == "paper":
            return self.value
        return f"not in the paper; {self.value}" if self.value else "not in the paper"

    @property
    def equivalence(self) -> Region | None:
        """The values that equal the paper's figure within the margin; None where it gives none."""
        if self.paper_figure is None or self.margin is None:
            return None
        return Region(self.paper_figure - self.margin, self.paper_figure + self.margin)


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its verdict.

    `evidence` is None where the sweeps could not tell, and `reason` says why; it is empty unless undecided. `remark`
    says how the row has changed since it was judged; empty where it has not. `registered` says when its terms were
    registered, and whether they were changed after that; empty where nobody asked. `sweeps` are those that it was
    judged by.
    """

    claim: Claim
    paper: str
    verdict: str
    reason: str
    evidence: Evidence | None
    remark: str = ""
    registered: str = ""
    sweeps: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the claim."""
        return self.claim.name

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

    @property
    def equality(self) -> str:
        """Whether ours equals the paper's figure within the margin: EQUAL, DIFFERENT, UNDECIDED; empty without one."""
        region = self.claim.equivalence
        if region is None or self.evidence is None:
            return ""
        verdict, _ = judge(self.evidence, region, self.claim.least_runs)
        return {HOLDS: EQUAL, DOES_NOT: DIFFERENT}.get(verdict, UNDECIDED)

    @property
    def would_catch(self) -> float:
        """The smallest deviation beyond the region's border that this design catches in 80% of repetitions; or NaN.

        Of a share, from the number of independent units alone; of others, from that and their spread.
        """
        if self.evidence is None:
            return np.nan
        region, num_units = self.claim.region, self.evidence.num_units
        if not self.claim.is_share:
            return smallest_deviation(self.estimate)
        if num_units is None:
            return np.nan
        is_upper = np.isinf(region.low)
        border = region.high if is_upper else region.low
        return smallest_deviation_of_share(border, num_units, is_upper=is_upper)


class ClaimBook:
    """The claims of one paper by name, in the order of its rows. Raises ValueError where two have one name."""

    def __init__(self, paper: str, claims: Iterable[Claim]) -> None:
        self.paper = paper
        self.claims: dict[str, Claim] = {}
        for claim in claims:
            if claim.name in self.claims:
                raise ValueError(f"two claims are named {claim.name!r}")
            self.claims[claim.name] = claim

    def judged(self, sweeps: Sweeps) -> list[JudgedClaim]:
        """Every claim, none dropped, in order."""
        return [self.judged_claim(name, sweeps) for name in self.claims]

    def judged_claim(self, name: str, sweeps: Sweeps) -> JudgedClaim:
        """One claim. Only what its measure raises as undecided is caught: mistakes stay mistakes."""
        claim, noted = self.claims[name], sweeps.noted()
        try:
            evidence = claim.measure(noted)
        except UndecidedError as error:
            return JudgedClaim(claim, self.paper, UNDECIDED, str(error), None)
        verdict, reason = judge(evidence, claim.region, claim.least_runs)
        return JudgedClaim(claim, self.paper, verdict, reason, evidence, sweeps=tuple(noted.asked_for))
