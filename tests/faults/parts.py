"""The parts of the fault test: what each tries, as an endless plan that a seed alone determines."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.faults import calls, damaging, disks, moments, power, tracked
from tests.faults.cases import Cases
from tests.faults.checking import Verdict
from tests.faults.shim import KINDS, SIGNALS, WRITES, Fault

Try = Callable[[Path], Verdict]


def _launches(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    for case, fault in calls.in_turn(cases.launches, random.Random(seed)):
        yield partial(calls.try_call, case, fault)


def _commands(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    for case, fault in calls.in_turn(cases.others, random.Random(seed)):
        yield partial(calls.try_call, case, fault)


def _twice(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    chance = random.Random(seed)
    kinds = [kind for kind in KINDS if kind not in (*SIGNALS, *WRITES, "delay")]
    for case, fault in calls.in_turn(cases.launches, chance):
        second = Fault(chance.choice(kinds), chance.randint(1, len(cases.resume.calls)))
        yield partial(calls.try_call, case, fault, second=second)


def _damages(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    case = cases.launches[0]
    stopped = damaging.stopped_sweep(base / "stopped", case, library)
    for kind, chosen in damaging.plan_damages(seed):
        yield partial(damaging.try_damage, kind, chosen, stopped=stopped, case=case)


def _signals(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    yield from moments.plan_signals(cases.launches, random.Random(seed))


def _clocks(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    yield from moments.plan_clocks((*cases.launches, cases.resume), random.Random(seed))


def _drivers(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    yield from moments.plan_second_drivers(cases.launches, random.Random(seed))


def _disks(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    yield from disks.plan_disks(cases.launches, cases.others, base, random.Random(seed))


def _power(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    traced, chance = power.trace_of(cases, base), random.Random(seed)
    for number, missing, state in traced.states(random.Random(seed)):
        is_completed = chance.random() < power.COMPLETED
        yield partial(power.try_state, traced, number, missing, state, is_completed)


def _tracked(cases: Cases, base: Path, library: Path, seed: int) -> Iterator[Try]:
    yield from tracked.plan_tracked(tracked.tracked_launch(cases, base), random.Random(seed))


# Name -> its plan, and how many of 10,000 tries are its own.
PARTS: dict[str, tuple[Callable[[Cases, Path, Path, int], Iterator[Try]], int]] = {
    "launches": (_launches, 2340),
    "tracked": (_tracked, 60),
    "commands": (_commands, 1800),
    "twice": (_twice, 400),
    "damages": (_damages, 600),
    "power": (_power, 4000),
    "signals": (_signals, 280),
    "clocks": (_clocks, 180),
    "drivers": (_drivers, 100),
    "disks": (_disks, 240),
}
