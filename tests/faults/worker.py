"""One process that tries its share of the faults and prints a line of JSON for each: started by `run.py`."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from tests.faults.checking import LAUNCH, Reference, Verdict, fresh_folder, judge, prepare, reference, try_call
from tests.faults.commands import seedbed
from tests.faults.damaging import plan_damages, stopped_sweep, try_damage
from tests.faults.shim import Fault, applicable

Try = Callable[[Path], Verdict]
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU, signal.SIGKILL)


def plan_calls(calls: tuple[str, ...], seed: int) -> Iterator[Fault]:
    """Every pair of call and kind that it can meet, shuffled, so that every call comes once before any comes twice."""
    chance = random.Random(seed)
    kinds = [chance.sample(applicable(call), len(applicable(call))) for call in calls]
    for turn in range(max(map(len, kinds))):
        for number in chance.sample(range(len(calls)), len(calls)):
            if turn < len(kinds[number]):
                yield Fault(kinds[number][turn], number + 1)


def try_signal(number: int, after_s: float, cwd: Path, expected: Reference) -> Verdict:
    """Launch, send a signal after so many seconds, complete the sweep, and judge."""
    fresh_folder(cwd)
    ended = seedbed(LAUNCH, cwd, cwd / "r", send=(number, after_s))
    verdict = Verdict(f"{signal.Signals(number).name} at a random moment", f"after {after_s:.2f} s")
    return judge(verdict, cwd, ended, expected)


def plan(
    share: int, num_shares: int, tries: tuple[int, int, int], seed: int, base: Path, library: Path
) -> Iterator[Try]:
    """This share of the tries: so many failing calls, damages and signals in all, mixed evenly."""
    expected = reference(base)
    stopped = stopped_sweep(base / "stopped", expected, library)
    print(json.dumps({"calls": len(expected.calls)}), flush=True)
    num_calls, num_damages, num_signals = tries
    calls = [
        partial(try_call, fault, expected=expected) for fault in islice(plan_calls(expected.calls, seed), num_calls)
    ]
    damages = [
        partial(try_damage, kind, chosen, stopped=stopped, expected=expected)
        for kind, chosen in plan_damages(num_damages, seed)
    ]
    chance = random.Random(seed)
    signals = [
        partial(try_signal, number, chance.uniform(0, 1.1) * expected.took_s, expected=expected)
        for number in islice(cycle(SIGNALS), num_signals)
    ]
    yield from evenly(*(part[share::num_shares] for part in (calls, damages, signals)))


def evenly(*parts: Sequence[Try]) -> list[Try]:
    """The items of all parts in one list, each part in its order and spread over the whole of it."""
    placed = [((index + 0.5) / len(part), item) for part in parts for index, item in enumerate(part)]
    return [item for _, item in sorted(placed, key=lambda pair: pair[0])]


def main() -> None:
    """Try this process's share, until it is done or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=int, nargs=2, required=True, help="which share, of how many")
    parser.add_argument("--tries", type=int, nargs=3, required=True, help="failing calls, damages, signals")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--base", type=Path, required=True, help="an empty folder")
    parser.add_argument("--shim", type=Path, required=True)
    given = parser.parse_args()
    prepare()
    started = time.monotonic()
    tries = plan(*given.share, tuple(given.tries), given.seed, given.base, given.shim)
    for index, attempt in enumerate(tries):
        if time.monotonic() - started > given.seconds:
            print(json.dumps({"stopped": "time"}), flush=True)
            return
        verdict = attempt(given.base / f"try-{index}")
        print(json.dumps(asdict(verdict) | {"survived": verdict.survived}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
