"""Faults at single calls on files: every pair of call and kind, in launches and other commands; two in one sweep."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.cases import Case
from tests.faults.checking import Verdict, judge
from tests.faults.commands import seedbed
from tests.faults.shim import COUNT, Fault, applicable


def plan_calls(calls: Sequence[str], chance: random.Random) -> Iterator[Fault]:
    """Every pair of call and kind that it can meet, shuffled, so that every call comes once before any comes twice.

    When all have come, they come again, in another order.
    """
    while True:
        kinds = [chance.sample(applicable(call), len(applicable(call))) for call in calls]
        for turn in range(max(map(len, kinds))):
            for number in chance.sample(range(len(calls)), len(calls)):
                if turn < len(kinds[number]):
                    yield Fault(kinds[number][turn], number + 1)


def in_turn(cases: Sequence[Case], chance: random.Random) -> Iterator[tuple[Case, Fault]]:
    """The faults of every case, a case after the other."""
    plans = [plan_calls(case.calls, chance) for case in cases]
    while True:
        for case, plan in zip(cases, plans, strict=True):
            yield case, next(plan)


def try_call(case: Case, fault: Fault, cwd: Path, second: Fault = COUNT) -> Verdict:
    """Run the case with this fault, complete it without one (or after a `second`), and judge."""
    ended = seedbed(case.command, case.begun(cwd), cwd / "r", fault)
    place = f"{case.name}, call {fault.call} ({case.calls[fault.call - 1]})"
    if second != COUNT:
        place += f", then {second.kind} at call {second.call}"
    return judge(Verdict(fault.kind, place), cwd, ended, case, second)
