"""`make bench`: measures the rows of the table on the machine at hand, writes JSON, prints the table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import sweeps_whole, throughput
from benchmarks.rows import Row, table
from pipeline.numerics.compiler import toolchain
from pipeline.planning.open_sweep import provenance

FOLDER = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
_BEGIN, _END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    "S1": throughput.s1,
    "S2": throughput.s2,
    "S3": throughput.s3,
    "S4": throughput.s4,
    "S5": throughput.s5,
    "S6": sweeps_whole.s6,
    "S7": sweeps_whole.s7,
    "S8": sweeps_whole.s8,
    "S9": sweeps_whole.s9,
    "S10": throughput.s10,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="which rows (default: all)")
    parser.add_argument("--out", type=Path, default=FOLDER / "cpu.json", help="rows measured now replace those in it")
    options = parser.parse_args()
    for name in options.rows or ROWS:
        begin = time.perf_counter()
        measured = [row.document() for row in ROWS[name]()]
        document = read(options.out)
        kept = [row for row in document["rows"] if row["name"] != name]
        now = provenance_of(time.perf_counter() - begin)
        rows = [*kept, *({**row, "measured": now} for row in measured)]
        rows.sort(key=lambda row: list(ROWS).index(row["name"]))
        document = {"rows": rows}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(document, indent=1) + "\n")
        print("\n".join(table(measured)[2:]), flush=True)
    if options.out == FOLDER / "cpu.json":
        README.write_text(with_table(README.read_text(), read(options.out)["rows"]))
    print("\n".join(table(read(options.out)["rows"])))


def with_table(text: str, rows: list[dict[str, Any]]) -> str:
    """A page with these rows in the place that it has for them."""
    before, _, rest = text.partition(_BEGIN)
    measured = rows[-1]["measured"]
    where = f"{measured['hardware']['cores']} cores of {measured['hardware']['processor']}"
    versions = ", ".join(f"{name} {measured['versions'][name]}" for name in ("torch", "jax", "lightning", "ray"))
    lines = [*table(rows), "", f"On {where}, {versions}, {measured['versions']['compiler']}."]
    return "\n".join([before + _BEGIN, "", *lines, "", _END + rest.partition(_END)[2]])


def read(path: Path) -> dict[str, Any]:
    """What was measured before; nothing where there is no such file."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"rows": []}
    return found


def provenance_of(took_s: float) -> dict[str, Any]:
    """When, on what, with which versions, from which commit."""
    known = provenance()
    peers = {}
    for package in ("jax", "optax"):
        try:
            peers[package] = version(package)
        except PackageNotFoundError:
            continue
    hardware = {**known["hardware"], "cores": len(os.sched_getaffinity(0))}
    versions = {**known["versions"], **peers, "compiler": toolchain()}
    return {**known, "hardware": hardware, "versions": versions, "took_s": round(took_s, 1)}


if __name__ == "__main__":
    sys.exit(main())
