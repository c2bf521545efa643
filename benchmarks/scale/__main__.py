"""`make bench-scale`: what a sweep of many runs costs beside its training, in processor time, memory and bytes.

    python -m benchmarks.scale [STAGE ...] [--label after] [--runs N]

Each stage runs in a process of its own, which counts its own processor time, so other load on the machine matters
little; but `cores_*` and `launch_*` go by the clock, and need a machine with nothing else to do. Results are kept under
their label, so that two versions stand side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.bench import FOLDER, provenance_of, write_speed_page
from benchmarks.measure import alone
from benchmarks.scale.stages import STAGES
from benchmarks.seedbed_side import ENVIRONMENT

KEPT = FOLDER / "scale.json"


def main() -> None:
    """Measure the stages that are asked for, and keep them under a label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], help="which stages (default: all)")
    parser.add_argument("--label", default="now")
    parser.add_argument("--runs", type=int, help="this number of runs alone")
    given = parser.parse_args()
    for name in given.stages or STAGES:
        stage, sizes = STAGES[name]
        for num_runs in sizes if given.runs is None else (given.runs,):
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as scratch:
                found = alone(partial(stage, num_runs, Path(scratch) / "sweep"), given=ENVIRONMENT)
            _keep(given.label, name, num_runs, found, time.perf_counter() - began)
            write_speed_page()
            print(name, num_runs, json.dumps({key: round(value, 4) for key, value in found.items()}), flush=True)


def _keep(label: str, name: str, num_runs: int, found: dict[str, float], wall_s: float) -> None:
    rows = json.loads(KEPT.read_text())["rows"] if KEPT.exists() else []
    rows = [row for row in rows if (row["label"], row["stage"], row["runs"]) != (label, name, num_runs)]
    measured = provenance_of(wall_s) | {"load": os.getloadavg()[0]}
    rows.append({"label": label, "stage": name, "runs": num_runs, "found": found, "measured": measured})
    KEPT.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
