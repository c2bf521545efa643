"""A contract: the numbered clauses of a docstring, a check or more of each, and what the checks find in a class."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.own_code.places import place_of

Check = Callable[..., None]
_CLAUSE = re.compile(r"^ *(\d+)\. (.*(?:\n(?! *\d+\. )(?! *\n).*)*)", re.M)
_CHECKED = re.compile(r"_check_(\d+)_")


class BrokenClauseError(AssertionError):
    """A clause does not hold; the message says what was found."""


def require(holds: object, told: str) -> None:
    """Raises BrokenClauseError with what is `told` unless it holds."""
    if not holds:
        raise BrokenClauseError(told)


class Case(NamedTuple):
    """What a class is checked in: in words, and the arguments of the checks."""

    label: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Broken:
    """A clause that does not hold: its number (None: the class cannot be checked) and sentence, and what was found.

    `place` is FILE:LINE, the line of the class's file that raised an error, or that the class begins at.
    """

    number: int | None
    sentence: str
    case: str
    told: str
    place: str


@dataclass(frozen=True)
class Contract:
    """`statement` has the clauses; each check is named by its clause, in their order; `cases` of a class are tried."""

    statement: str
    checks: tuple[Check, ...]
    cases: Callable[[Any], Sequence[Case]]

    def clauses(self) -> dict[int, str]:
        """Number -> sentence."""
        return {int(number): " ".join(text.split()) for number, text in _CLAUSE.findall(self.statement)}

    def broken(self, cls: type) -> Iterator[Broken]:
        """The clauses that the class breaks, each told once, in the first case that shows it."""
        try:
            cases = self.cases(cls)
            require(cases, "no registered task and model go with it, so there is nothing to try it on")
        except Exception as error:
            yield Broken(None, "", "", told_of(error), place_of(cls, error))
            return
        clauses, found = self.clauses(), set()
        for case in cases:
            for check in self.checks:
                number = clause_of(check)
                if number in found:
                    continue
                # Whatever code of a user's own raises is what is to be told.
                try:
                    check(*case.arguments)
                except Exception as error:
                    found.add(number)
                    yield Broken(number, clauses[number], case.label, told_of(error), place_of(cls, error))


def clause_of(check: Check) -> int:
    """The number of the clause that a check is of, from its name."""
    found = _CHECKED.match(check.__name__)
    assert found is not None, check.__name__
    return int(found[1])


def told_of(error: Exception) -> str:
    """What an error says, in one line; errors that are no broken clause with their kind."""
    text = ", ".join([" ".join(str(error).split()) or "no message", *getattr(error, "__notes__", ())])
    return text if isinstance(error, AssertionError) else f"{type(error).__name__}: {text}"
