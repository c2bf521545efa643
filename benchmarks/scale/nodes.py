"""Simulation of workers on 2 to 64 nodes that share a sweep's packs, and of nodes that fail.

`python -m benchmarks.scale.nodes`. Runs have the lengths of 768 recorded ones (`results/landscape_times.csv`), drawn
with replacement. Packs are formed by the rule of `pipeline/planning/packs.py`, ordered by that of `pack_order.py`, and
claimed as by `seedbed work`: a worker's first is any of the first 32 that are free, later ones are the first; for
comparison, also with settings in turn throughout, and the longest first throughout. A node that fails takes its packs
with it; each is free again once its lease has ended, and goes on from its newest commit.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import json
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bench import FOLDER
from pipeline.planning.pack_order import begun_in_order, in_turn

KEPT, RECORDED = FOLDER / "nodes.json", FOLDER / "landscape_times.csv"
PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"
BEGIN, END = "<!-- nodes: begin -->", "<!-- nodes: end -->"
NODES = (2, 4, 8, 16, 32, 64)
_NUM_SIMULATED, _NUM_DRAWN = 40, 4
# Free packs that a worker looks at, a lease, and what a kill loses at most: those of pipeline/workers and training.
_LOOKED_AT, _LEASE_S, _COMMIT_S = 32, 70.0, 60.0


@dataclass(frozen=True)
class Sweep:
    """`num_runs` runs in settings of unlike `step_s`, the seconds of a step of `slots` slots, on `num_gpus` a node.

    A setting has packs of at most `runs_per_slot` runs a slot, as many as a plan for `planned_for` workers makes.
    """

    name: str
    num_runs: int
    slots: int
    step_s: tuple[float, ...]
    num_gpus: int
    planned_for: int
    runs_per_slot: int = 8


@dataclass(frozen=True)
class Faults:
    """A node fails after `mean_h` hours, exponentially, and is back in `back_s`; a worker opens a pack in `open_s`."""

    mean_h: float
    back_s: float = 600.0
    open_s: float = 10.0


SWEEPS = (
    Sweep("alike, planned for 512 workers, 512 slots", 1_000_000, 512, (0.05,), 8, 512),
    Sweep("four sizes, planned for 8 workers, 512 slots", 1_000_000, 512, (0.02, 0.04, 0.08, 0.16), 8, 8),
    Sweep("four sizes, planned for 8 workers, 64 slots", 1_000_000, 64, (0.0025, 0.005, 0.01, 0.02), 8, 8),
    Sweep("four sizes, planned for 8 workers, 16 slots", 1_000_000, 16, (0.000625, 0.00125, 0.0025, 0.005), 8, 8),
)
ORDERS = ("plan", "in turn", "longest first")
# Sweep, rate of failure, and the order in which packs are begun.
CASES = (
    *((sweep, faults, "plan") for sweep in SWEEPS for faults in (Faults(math.inf), Faults(24.0))),
    *((sweep, Faults(24.0), order) for order in ORDERS[1:] for sweep in SWEEPS[1:]),
)


def recorded_steps() -> list[int]:
    """Steps after which each recorded run had ended, by convergence or at its budget."""
    with RECORDED.open() as file:
        rows = list(csv.DictReader(file))
    found = [int(row["by"] or row["not_before"]) for row in rows]
    assert all(found)
    return found


def pack_seconds(sweep: Sweep, steps: Sequence[int], seed: int) -> dict[str, list[float]]:
    """Seconds that each pack of each setting takes without faults: slots take runs in turn as they free."""
    draw = random.Random(seed)
    found = {}
    num_runs = sweep.num_runs // len(sweep.step_s)
    wanted = math.ceil(sweep.planned_for / len(sweep.step_s))
    num_packs = max(
        min(wanted, math.ceil(num_runs / sweep.slots)), math.ceil(num_runs / (sweep.slots * sweep.runs_per_slot))
    )
    for step_s in sweep.step_s:
        lengths = draw.choices(steps, k=num_runs)
        found[str(step_s)] = [step_s * _filled(lengths[pack::num_packs], sweep.slots) for pack in range(num_packs)]
    return found


def ordered(pack_s: Mapping[str, Sequence[float]], order: str) -> list[float]:
    """The packs in one of the `ORDERS`. A plan expects lengths from the cost of a step; longest first knows them."""
    packs = [(setting, seconds) for setting, found in pack_s.items() for seconds in found]
    if order == "longest first":
        return sorted((seconds for _, seconds in packs), reverse=True)
    if order == "in turn":
        return [seconds for _, seconds in in_turn(packs, lambda pair: pair[0])]
    return begun_in_order(pack_s, {setting: float(setting) for setting in pack_s})


def _filled(lengths: Sequence[int], slots: int) -> int:
    """Steps of a block whose slots take the next run when one ends."""
    ends = [0] * min(slots, len(lengths))
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


def makespan_s(
    pack_s: Sequence[float], num_nodes: int, per_node: int, faults: Faults, seed: int, looked_at: int = _LOOKED_AT
) -> float:
    """Seconds until every pack is done, by workers that stay until then; of each the first is any of `looked_at`."""
    draw = random.Random(seed)
    left = list(pack_s)
    waiting = list(range(len(left)))
    # (time, tie, worker) of workers that look for a pack, and of packs that are free again.
    idle = [(0.0, worker) for worker in range(num_nodes * per_node)]
    heapq.heapify(idle)
    freed: list[tuple[float, int]] = []
    fails = [_next_failure(draw, faults, 0.0) for _ in range(num_nodes)]
    last, claimed = 0.0, set[int]()
    while waiting or freed:
        now, worker = heapq.heappop(idle)
        node = worker // per_node
        while freed and freed[0][0] <= now:
            waiting.append(heapq.heappop(freed)[1])
            waiting.sort()
        if fails[node] + faults.back_s <= now:
            fails[node] = _next_failure(draw, faults, now)
        if fails[node] <= now:
            heapq.heappush(idle, (fails[node] + faults.back_s, worker))
            continue
        if not waiting:
            heapq.heappush(idle, (freed[0][0], worker))
            continue
        pack = waiting.pop(0 if worker in claimed else draw.randrange(min(looked_at, len(waiting))))
        claimed.add(worker)
        end = now + faults.open_s + left[pack]
        if end <= fails[node]:
            last = max(last, end)
            heapq.heappush(idle, (end, worker))
            continue
        trained = max(0.0, fails[node] - now - faults.open_s)
        left[pack] -= trained // _COMMIT_S * _COMMIT_S
        heapq.heappush(freed, (fails[node] + _LEASE_S, pack))
        heapq.heappush(idle, (fails[node] + faults.back_s, worker))
    return last


def _next_failure(draw: random.Random, faults: Faults, now: float) -> float:
    return math.inf if math.isinf(faults.mean_h) else now + draw.expovariate(1 / (3600 * faults.mean_h))


def simulated(
    sweep: Sweep, faults: Faults, order: str, packs: Sequence[Mapping[str, Sequence[float]]]
) -> list[dict[str, float]]:
    """A row for each number of nodes: makespan over its bound, max(longest pack, total / workers); 95% of draws.

    `packs` are several draws of `pack_seconds`.
    """
    drawn = [ordered(pack_s, order) for pack_s in packs]
    rows = []
    for num_nodes in NODES:
        workers = num_nodes * sweep.num_gpus
        ratios, shares, hours = [], [], []
        for seed in range(_NUM_SIMULATED):
            pack_s = drawn[seed % len(drawn)]
            looked_at = 1 if order == "longest first" else _LOOKED_AT
            found = makespan_s(pack_s, num_nodes, sweep.num_gpus, faults, seed, looked_at)
            ratios.append(found / max(max(pack_s), sum(pack_s) / workers))
            shares.append(sum(pack_s) / workers / found)
            hours.append(found / 3600)
        ratios.sort()
        cut = _NUM_SIMULATED // 40
        rows.append(
            {
                "nodes": num_nodes,
                "packs": len(drawn[0]),
                "ratio": statistics.median(ratios),
                "lower": ratios[cut],
                "upper": ratios[-1 - cut],
                "busy": statistics.median(shares),
                "hours": statistics.median(hours),
            }
        )
    return rows


def lines(document: Sequence[dict[str, object]]) -> list[str]:
    """Lines of a Markdown table: a row for each sweep and rate of failure, a column for each number of nodes."""
    found = [
        "| sweep | packs | order | a node fails every | " + " | ".join(f"{n} nodes" for n in NODES) + " | busy at 64 |",
        "|" + "---|" * (len(NODES) + 5),
    ]
    for entry in document:
        rows, hours = entry["rows"], entry["mean_h"]
        assert isinstance(rows, list)
        cells = [f"{row['ratio']:.2f} ({row['lower']:.2f}-{row['upper']:.2f})" for row in rows]
        every = "never" if hours is None else f"{hours:.0f} h"
        name, packs, busy = entry["sweep"], rows[0]["packs"], rows[-1]["busy"]
        found.append(f"| {name} | {packs:,} | {entry['order']} | {every} | " + " | ".join(cells) + f" | {busy:.0%} |")
    return found


def main() -> None:
    """Simulate, keep the results, and write the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    steps = recorded_steps()
    packs = {sweep: [pack_seconds(sweep, steps, seed) for seed in range(_NUM_DRAWN)] for sweep in SWEEPS}
    document = []
    for sweep, faults, order in CASES:
        rows = simulated(sweep, faults, order, packs[sweep])
        mean_h = None if math.isinf(faults.mean_h) else faults.mean_h
        case = {"sweep": sweep.name, "order": order, "mean_h": mean_h, "num_simulated": _NUM_SIMULATED}
        document.append({**case, "assumed": asdict(sweep) | {"open_s": faults.open_s}, "rows": rows})
        print(lines(document)[-1], flush=True)
    KEPT.write_text(json.dumps(document, indent=1) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text("\n".join([before + BEGIN, "", *lines(document), "", END + rest.partition(END)[2]]))


if __name__ == "__main__":
    main()
