"""Signals at random moments, launches that stand still for a while, clocks that are wrong, and a second driver."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.faults.cases import RESUME, Case, committed
from tests.faults.checking import Verdict, judge
from tests.faults.commands import seedbed, start
from tests.faults.shim import Fault

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU, signal.SIGKILL, signal.SIGSTOP)
_STOPPED_S, _REFUSED_S = 0.1, 2.0
_HOUR_S, _YEAR_S = 3600.0, 365 * 86400.0
# What a process takes for the time of day: how many seconds later it is, and how fast that goes.
CLOCKS = {
    "clock an hour ahead": (_HOUR_S, 1.0),
    "clock an hour behind": (-_HOUR_S, 1.0),
    "clock a year ahead": (_YEAR_S, 1.0),
    "clock a year behind": (-_YEAR_S, 1.0),
    "clock frozen": (0.0, 0.0),
    "clock going backwards": (0.0, -1.0),
}


def try_signal(case: Case, number: int, share: float, cwd: Path) -> Verdict:
    """Send a signal after this share of the time that the launch takes; after SIGSTOP, SIGCONT a little later."""
    after_s = share * case.took_s
    send = [(number, after_s)]
    if number == signal.SIGSTOP:
        send.append((signal.SIGCONT, after_s + _STOPPED_S))
    ended = seedbed(case.command, case.begun(cwd), cwd / "r", send=send)
    name = signal.Signals(number).name
    verdict = Verdict(f"{name} at a random moment", f"{case.name}, after {after_s:.2f} s")
    if number == signal.SIGSTOP and ended.code:
        verdict.problems.append(f"stopped and continued, it ended with {ended.code}")
    return judge(verdict, cwd, ended, case)


def try_clock(case: Case, name: str, first: int, call: int, cwd: Path) -> Verdict:
    """Kill a launch under a wrong clock, give all files wrong times, and complete it under the opposite clock."""
    shift_s, rate = CLOCKS[name]
    ended = seedbed(case.command, case.begun(cwd), cwd / "r", Fault("kill before", call, (first, shift_s, rate)))
    for path in (cwd / "r").rglob("*"):
        time_s = path.stat().st_mtime - shift_s * (hash_of(path) % 3 - 1)
        os.utime(path, (time_s, time_s), follow_symlinks=False)
    verdict = Verdict(name, f"{case.name}, from look {first} on, killed at call {call}")
    return judge(verdict, cwd, ended, case, Fault("", 0, (1, -shift_s, rate)))


def hash_of(path: Path) -> int:
    """A number that depends on the name alone, in every process."""
    return sum(path.name.encode())


def try_second_driver(case: Case, call: int, is_lock_deleted: bool, cwd: Path) -> Verdict:
    """Freeze a launch before a call and resume its sweep: refused at once; or, without its lock file, to the end.

    The frozen one then goes on. It may end as it likes, but what it does must not harm what the other has done.
    """
    first = start(case.command, case.begun(cwd), cwd / "r", Fault("SIGSTOP", call))
    what = "its lock deleted" if is_lock_deleted else "its lock held"
    verdict = Verdict(f"second driver, {what}", f"{case.name}, frozen before call {call} ({case.calls[call - 1]})")
    try:
        assert first.is_frozen()
        lock = cwd / "r" / "driver.lock"
        is_locked = lock.exists()
        if is_lock_deleted:
            lock.unlink(missing_ok=True)
        second = seedbed(RESUME, cwd, cwd / "r")
        if is_locked and not is_lock_deleted and (second.code != 2 or second.took_s > _REFUSED_S):
            verdict.problems.append(f"not refused: {second.code} after {second.took_s:.1f} s, {second.output[-200:]}")
        before = committed(cwd / "r")[0]
    finally:
        os.kill(first.pid, signal.SIGCONT)
    ended = first.ended()
    verdict.lost += len(before.keys() - committed(cwd / "r")[0].keys())
    # An attempt that was overtaken says so.
    return judge(verdict, cwd, ended, case)


def plan_signals(cases: tuple[Case, ...], chance: random.Random) -> Iterator[partial[Verdict]]:
    """The signals in turn, at random moments."""
    while True:
        for number in SIGNALS:
            yield partial(try_signal, chance.choice(cases), number, chance.uniform(0, 1.1))


def plan_clocks(cases: tuple[Case, ...], chance: random.Random) -> Iterator[partial[Verdict]]:
    """The clocks in turn, wrong from one of the first looks on."""
    while True:
        for name in CLOCKS:
            case = chance.choice(cases)
            yield partial(try_clock, case, name, chance.randint(1, 6), chance.randint(1, len(case.calls)))


def plan_second_drivers(cases: tuple[Case, ...], chance: random.Random) -> Iterator[partial[Verdict]]:
    """Random calls, with the lock and without it in turn."""
    while True:
        for is_lock_deleted in (False, True):
            case = chance.choice(cases)
            yield partial(try_second_driver, case, chance.randint(1, len(case.calls)), is_lock_deleted)
