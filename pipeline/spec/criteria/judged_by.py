"""The criteria of a sweep: its own, by which runs are judged and ended, and others that outcomes can be read by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from pipeline.spec.criterion import Criterion
from pipeline.spec.registered import Problem, located
from pipeline.spec.sections import MetricBound

if TYPE_CHECKING:
    from pipeline.spec.sweep import SweepSpec
    from pipeline.tasks.base import Task

# The name of a sweep's own criterion among the others.
OWN = "converged"


def _another(name: str) -> str:
    if name == OWN:
        raise ValueError(f"{OWN} is the sweep's own criterion; name this one otherwise")
    return name


CriterionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$"), AfterValidator(_another)]
Criteria = Annotated[dict[CriterionName, MetricBound], Field(default_factory=dict)]
# As `str(Criterion)` writes it, or shorter.
_WRITTEN = re.compile(
    r"\s*(?P<metric>[^\s<>=]+)\s*(?P<sign><=|>=)\s*(?P<bound>[^\s<>=]+)"
    r"(?:\s+at\s+(?:one evaluation|(?P<times>[1-9][0-9]{0,8})\s+(?:successive\s+)?evaluations))?\s*"
)


@dataclass(frozen=True)
class JudgedBy:
    """The criterion by which the outcomes of a sweep are read.

    `is_own`: it is the one by which the sweep itself judges and ends its runs.
    """

    criterion: Criterion
    name: str
    is_own: bool

    @property
    def folder(self) -> str:
        """The name of the folder that holds what is made by a criterion other than the sweep's own."""
        return f"criterion-{self.name}"


def judged_by(spec: SweepSpec, asked: str | None = None) -> JudgedBy:
    """The criterion of a name among the sweep's `criteria`, or written out, as `train_loss<=0.1`; None: its own.

    Written out it holds at one evaluation unless it says `at 2 evaluations`. Raises ValueError, with the names that
    there are, for a text that is neither.
    """
    known = {OWN: spec.criterion} | {name: given.criterion for name, given in spec.criteria.items()}
    if asked is None or asked in known:
        return _found(known, known[asked or OWN], asked or OWN)
    written = _WRITTEN.fullmatch(asked)
    bound = None if written is None else _number(written["bound"])
    if written is None or bound is None:
        names = ", ".join(known)
        raise ValueError(
            f"{asked!r} is neither a criterion of sweep {spec.name} (there are: {names}) nor a threshold, such as "
            "'train_loss<=0.1' or 'label_accuracy>=0.95 at 2 evaluations'"
        )
    times = int(written["times"] or 1)
    at_most, at_least = (bound, None) if written["sign"] == "<=" else (None, bound)
    return _found(known, Criterion(written["metric"], at_most, at_least, times))


def refuse_unmet(criteria: Mapping[tuple[str, ...], MetricBound], tasks: Iterable[Task], fewest: int) -> None:
    """Raises ValueError, with their places in a spec, for criteria that no run with `fewest` evaluations can meet."""
    wrong: list[Problem] = []
    blind = next((task.name for task in tasks if not task.has_accuracy()), None)
    for place, given in criteria.items():
        if given.metric == "label_accuracy" and blind is not None:
            message = f"task {blind} has no accuracy; use label_excess or label_loss"
            wrong.append(((*place, "metric"), message, given.metric))
        elif given.metric.startswith("label_") and given.evaluations > fewest:
            message = f"asks for {given.evaluations} successive evaluations, the grid has {fewest}"
            wrong.append(((*place, "evaluations"), message, given.evaluations))
    if wrong:
        raise located(wrong)


def _found(known: Mapping[str, Criterion], criterion: Criterion, name: str = "") -> JudgedBy:
    if criterion == known[OWN]:
        return JudgedBy(criterion, OWN, is_own=True)
    named = name or next((each for each, one in known.items() if one == criterion), _in_a_path(criterion))
    return JudgedBy(criterion, named, is_own=False)


def _in_a_path(criterion: Criterion) -> str:
    """`train_loss-at-most-0.1`, of several evaluations `...-times-2`."""
    sign, bound = ("least", criterion.at_least) if criterion.at_most is None else ("most", criterion.at_most)
    times = "" if criterion.evaluations == 1 else f"-times-{criterion.evaluations}"
    return re.sub(r"[^A-Za-z0-9_.-]", "_", criterion.metric)[:128] + f"-at-{sign}-{bound!r}{times}"


def _number(text: str) -> float | None:
    """A finite number, else None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
