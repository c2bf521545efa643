"""What recording each reading adds to the time of training.

`python -m benchmarks.forecasts.reading_cost` takes half an hour.

The runs are those of sweeps/benchmark/lookup_a.yaml with readings at its five windows, against the same runs without:
CPU time of the process and of its children, from the first chunk to the commit, pair by pair. The table goes into
docs/forecast_scores.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bench import FOLDER, between, provenance_of, read
from benchmarks.forecasts.scores import PAGE
from benchmarks.measure import Pairs, in_turns
from pipeline.launch.planned import plan_for
from pipeline.planning.open_sweep import open_results
from pipeline.planning.packs import Machine
from pipeline.spec.sweep import load_spec
from pipeline.training.open_pack import open_pack

ROOT = Path(__file__).parents[2]
KEPT = FOLDER / "reading_cost.json"
MARKERS = ("<!-- reading cost: begin -->", "<!-- reading cost: end -->")
# Reading -> runs in a measurement, pairs: dearer ones need fewer for the same relative error.
DESIGN = {"circuits": (256, 20), "forces": (64, 5), "interventions": (64, 5), "gradients": (64, 5)}

Row = Mapping[str, Any]


def main() -> None:
    """Measure the readings that are asked for, keep the others, and write the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readings", nargs="*", choices=[*DESIGN, []], help="which (default: all)")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the table of what is kept")
    options = parser.parse_args()
    for name in () if options.table else options.readings or DESIGN:
        begin = time.perf_counter()
        row = measured(name, *DESIGN[name]) | {"measured": provenance_of(time.perf_counter() - begin)}
        rows = {kept["reading"]: kept for kept in read(KEPT)["rows"]} | {name: row}
        document = {"rows": [rows[known] for known in DESIGN if known in rows]}
        KEPT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print("\n".join(table_lines([row])[2:]), flush=True)
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), read(KEPT)["rows"]), encoding="utf-8")


def with_table(text: str, rows: Sequence[Row]) -> str:
    """The page with the table of these rows between its markers."""
    return between(text, MARKERS, table_lines(rows))


def table_lines(rows: Sequence[Row]) -> list[str]:
    """A line for each reading: how many numbers it gives, what it adds to a run, and to training as a share of it."""
    lines = ["| reading | numbers | ms of a run | share of training |", "|---|---|---|---|"]
    for row in rows:
        low, high = row["interval"]
        added = f"{row['added_ms']:.2g} of {row['plain_ms']:.0f}"
        share = f"{row['share']:.1%} ({low:.1%} to {high:.1%}); {len(row['ratios'])} pairs of {row['num_runs']} runs"
        lines.append(f"| {row['reading']} | {row['num_numbers']} | {added} | {share} |")
    return lines


def measured(name: str, num_runs: int, num_pairs: int) -> dict[str, Any]:
    """The row of one reading."""
    # Beyond the first runs nothing is compiled or imported.
    assert not _trained((), 2)[1]
    num_numbers = len(_trained((name,), 2)[1])
    pairs = in_turns(partial(_cpu_s, (name,), num_runs), partial(_cpu_s, (), num_runs), num_pairs)
    return row_of(name, num_numbers, num_runs, pairs)


def row_of(name: str, num_numbers: int, num_runs: int, pairs: Pairs) -> dict[str, Any]:
    """The row of CPU seconds with a reading and without, which take turns."""
    low, high = pairs.interval()
    plain_ms = 1e3 * pairs.medians[1] / num_runs
    return {
        "reading": name,
        "num_numbers": num_numbers,
        "num_runs": num_runs,
        "plain_ms": plain_ms,
        "added_ms": plain_ms * (pairs.ratio - 1),
        "share": pairs.ratio - 1,
        "interval": [low - 1, high - 1],
        "ratios": (pairs.first_N / pairs.second_N).tolist(),
    }


def _cpu_s(names: Sequence[str], num_runs: int) -> float:
    return _trained(names, num_runs)[0]


def _trained(names: Sequence[str], num_runs: int) -> tuple[float, frozenset[str]]:
    """CPU seconds of training, planning apart, and the readings that the history has."""
    changes = [f"seeds={{together: {{range: [0, {num_runs}]}}}}", f"readings=[{', '.join(names)}]"]
    changes += ["snapshots={states: [], weights: [], attention: []}", "tracking={mode: disabled}"]
    spec = load_spec(ROOT / "sweeps" / "benchmark" / "lookup_a.yaml", changes)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        store = open_results(plan_for(spec, results, Machine.cpu(1)), results, spec.to_yaml())
        begin = _cpu_now()
        for pack_id in store.pack_ids():
            loop = open_pack(store, pack_id)
            while not loop.is_done:
                loop.step()
            loop.commit()
        return _cpu_now() - begin, store.history().readings


def _cpu_now() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
