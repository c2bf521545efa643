"""`make cluster-test`: kills under Ray, two nodes, signals, races; exit code 1 if a try was not survived.

    python -m tests.cluster.run --tries 20 --write

Every try starts a Ray of its own, which takes a quarter of a minute on idle cores, so they go one after another.
`--tries` is how many workers are killed; everything else is tried in proportion. Verdicts are added to the file of
`--to` as they come, and `--write` writes the tables of docs/reliability.md from all that it holds.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tests.cluster import bars, kills, page, races, two_nodes
from tests.cluster.sweeps import Reference, reference
from tests.faults.checking import Verdict

PARTS = ("kills", "nodes", "signals", "cost", "races")
NUM_ROUNDS, NUM_PACKS = 20, 1000
Found = Iterator[Verdict | tuple[str, float]]


def kill_tries(share: float, chance: random.Random, base: Path, expected: Reference) -> Found:
    """Every kind of process, in turn."""
    rounds = {kind: max(1, round(share * number)) // each for kind, (number, each) in kills.TRIES.items()}
    for turn in range(max(rounds.values())):
        for kind, number in rounds.items():
            if turn < max(number, 1):
                yield from kills.try_kills(kind, kills.TRIES[kind][1], chance, base / f"kill-{turn}", expected)


def node_tries(share: float, chance: random.Random, base: Path, expected: Reference) -> Found:
    """Every scenario of two nodes, in turn."""
    compiled: Reference | None = None
    for turn in range(max(1, round(2 * share))):
        for name in two_nodes.SCENARIOS:
            wanted = expected
            if name.startswith("no compiler"):
                wanted = compiled = compiled or reference(base / "compiled", **two_nodes.COMPILED)
            yield two_nodes.try_scenario(name, chance, base / f"nodes-{turn}", wanted)


def signal_tries(share: float, chance: random.Random, base: Path, expected: Reference) -> Found:
    """SIGTERM and SIGINT in turn."""
    for turn in range(max(2, round(10 * share))):
        number = (signal.SIGTERM, signal.SIGINT)[turn % 2]
        verdict, took_s = bars.signal_under_ray(number, chance, base / f"signal-{turn}", expected)
        yield verdict
        yield page.SIGNALLED, took_s


def cost_tries(share: float, chance: random.Random, base: Path, expected: Reference) -> Found:
    """What a kill throws away, and what resuming costs."""
    for turn in range(max(1, round(5 * share))):
        lost_s, _ = bars.work_lost(chance, base / f"lost-{turn}")
        yield page.LOST, lost_s
        for name, options in ((page.INLINE, ("--inline",)), (page.UNDER_RAY, ())):
            folder = bars.stopped(base / f"cpu-{turn}-{len(options)}", **bars.LONG)
            ours, everything = bars.cpu_to_first_step(folder, *options)
            yield name, ours
            if not options:
                yield page.ALL_OF_RAY, everything


def race_tries(share: float, chance: random.Random, base: Path, expected: Reference) -> Found:
    """Pairs of launches, and one crowd of processes that claim attempts."""
    races.prepare()
    small = {"vary": [], "seeds": {"together": [0, 1]}, "budget": 200, "snapshots": {}}
    wanted = reference(base / "small", **small)
    for turn in range(max(1, round(NUM_ROUNDS * min(share, 1)))):
        verdict, took_s = races.race_launches(chance, base / f"race-{turn}", wanted, **small)
        yield verdict
        yield page.REFUSED, took_s
    yield races.race_claims(base / "claims", NUM_PACKS)


def parsed() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20, help="workers to kill; the rest in proportion")
    parser.add_argument("--only", choices=PARTS, nargs="*", default=PARTS, help="parts to run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=90.0, help="no try starts later than this")
    parser.add_argument("--to", type=Path, help="a file of JSON lines, to which every verdict is added")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/reliability.md")
    return parser.parse_args()


def main() -> int:
    """Try everything, print what was found, and name what was not survived."""
    given, started = parsed(), time.monotonic()
    tried: list[dict[str, Any]] = [] if given.to is None or not given.to.exists() else page.read(given.to)
    first = len(tried)
    with tempfile.TemporaryDirectory(prefix="sbc", dir="/tmp") as name:
        base, share = Path(name), given.tries / 20
        expected = reference(base / "reference")
        parts = {
            "kills": kill_tries,
            "nodes": node_tries,
            "signals": signal_tries,
            "cost": cost_tries,
            "races": race_tries,
        }
        for part in given.only:
            tries = partial(parts[part], share, random.Random(given.seed), base, expected)
            for found in tries():
                tried.append(line := _line(found))
                print(json.dumps(line), flush=True)
                if given.to is not None:
                    with given.to.open("a") as stream:
                        stream.write(json.dumps(line) + "\n")
                if time.monotonic() - started > 60 * given.minutes:
                    print(f"the time of {given.minutes:g} minutes was over before all were tried")
                    break
    print("\n".join(page.lines(tried)))
    if given.write:
        page.write(tried)
    return int(not all(line.get("survived", True) for line in tried[first:]))


def _line(found: Verdict | tuple[str, float]) -> dict[str, Any]:
    if isinstance(found, Verdict):
        return asdict(found) | {"survived": found.survived}
    return {"figure": found[0], "seconds": found[1]}


if __name__ == "__main__":
    sys.exit(main())
