"""One process that tries its share of the faults and appends a line of JSON for each: started by `run.py`."""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from tests.faults.cases import Cases, prepare
from tests.faults.parts import PARTS, Try
from tests.faults.table import append, tried_before


def evenly(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    """(part, index) of all tries, each part in its order and spread over the whole."""
    placed = [((index + 0.5) / number, part, index) for part, number in numbers.items() for index in range(number)]
    return [(part, index) for _, part, index in sorted(placed)]


class Plans:
    """The tries of each part by their index, each part begun when it is first asked for."""

    def __init__(self, cases: Cases, base: Path, library: Path, seed: int) -> None:
        self._arguments = (cases, base, library, seed)
        self._plans: dict[str, Iterator[tuple[int, Try]]] = {}

    def get(self, part: str, index: int) -> Try:
        """The try of this index, which must be greater than that of any call before for the part."""
        if part not in self._plans:
            self._plans[part] = zip(count(), PARTS[part][0](*self._arguments), strict=False)
        return next(found for number, found in self._plans[part] if number == index)


def cpu_s() -> float:
    """CPU seconds of this process and of all children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Try this process's share, until it is done or the time is over."""
    given = _parsed()
    prepare()
    started = time.monotonic()
    numbers = {part: int(number) for part, number in (one.split("=") for one in given.tries)}
    cases = Cases(given.base)
    plans = Plans(cases, given.base, given.shim, given.seed)
    done = tried_before(given.to, given.seed)
    for place, (part, index) in enumerate(evenly(numbers)):
        if place % given.share[1] != given.share[0] or (part, index) in done:
            continue
        if time.monotonic() - started > given.seconds:
            print("the time is over", flush=True)
            return
        append(given.to, _tried(plans, part, index, given) | {"seed": given.seed, "part": part, "index": index})


def _tried(plans: Plans, part: str, index: int, given: argparse.Namespace) -> dict[str, Any]:
    attempt, cwd = plans.get(part, index), given.base / "try"
    before_s = cpu_s()
    verdict = attempt(cwd)
    shutil.rmtree(cwd)
    return asdict(verdict) | {"survived": verdict.survived, "cpu_s": round(cpu_s() - before_s, 3)}


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=int, nargs=2, required=True, help="which share, of how many")
    parser.add_argument("--tries", nargs="+", required=True, help="PART=NUMBER ...")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--base", type=Path, required=True, help="an empty folder")
    parser.add_argument("--shim", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True, help="the file of verdicts")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
