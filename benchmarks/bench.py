"""`make bench`: measures the rows of the table on the machine at hand, writes JSON, prints the table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import sweeps_whole, throughput
from benchmarks.rows import Row, modules_lines, table
from benchmarks.scale.page import large_sweep_lines
from benchmarks.workloads import workload_table
from pipeline.numerics.compiler import instruction_sets, toolchain
from pipeline.planning.open_sweep import provenance

FOLDER = Path(__file__).parent / "results"
# As compilers name them, the largest first.
INSTRUCTION_SETS = ("x86-64-v4", "x86-64-v3", "x86-64")
PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
_BENCHMARK, _WORKLOADS, _MODULES, _LARGE_SWEEPS = (
    (f"<!-- {name}: begin -->", f"<!-- {name}: end -->")
    for name in ("benchmark", "workloads", "modules", "large sweeps")
)
_VERSIONS = ("torch", "jax", "lightning", "ray")
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
    "S11": throughput.s11,
}


def main() -> None:
    """Measure the rows that are asked for, keep the others, and write the table of docs/speed.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="which rows (default: all)")
    kept_at = stored_at("cpu", instruction_sets()[0])
    parser.add_argument("--out", type=Path, default=kept_at, help="rows measured now replace those in it")
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
    if options.out == kept_at:
        write_speed_page()
    print("\n".join(table(read(options.out)["rows"])))


def write_speed_page(page: Path = PAGE) -> None:
    """Put the committed rows and the definitions of the workloads into docs/speed.md."""
    page.write_text(with_results(page.read_text()))


def with_results(text: str) -> str:
    """The page with the committed measurements of the workloads, of modules and of large sweeps."""
    tables = with_tables(text, [document["rows"] for document in by_instruction_set("cpu")])
    modules = between(tables, _MODULES, modules_lines(by_instruction_set("zoo")))
    return between(modules, _LARGE_SWEEPS, large_sweep_lines(read(FOLDER / "scale.json")["rows"]))


def with_tables(text: str, rows_by_machine: list[list[dict[str, Any]]]) -> str:
    """The page with a table of each machine's rows, and one of the workloads, each between its markers."""
    lines: list[str] = []
    for rows in rows_by_machine:
        lines += ["", *table(rows), "", *_machines(rows)]
    lines = lines[1:]
    return between(between(text, _WORKLOADS, workload_table()), _BENCHMARK, lines)


def _machines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """On what each row was measured: a line for every machine with its versions, and the rows if there are several."""
    names: dict[str, dict[str, None]] = {}
    for row in rows:
        measured = row["measured"]
        versions = ", ".join(f"{name} {measured['versions'].get(name, 'absent')}" for name in _VERSIONS)
        where = f"{measured['hardware']['cores']} cores of {measured['hardware']['processor']}"
        names.setdefault(f"{where}, {versions}, {measured['versions']['compiler']}", {})[row["name"]] = None
    if len(names) == 1:
        return [f"On {next(iter(names))}."]
    return [f"- {', '.join(of)}: on {machine}." for machine, of in names.items()]


def between(text: str, markers: tuple[str, str], lines: Sequence[str]) -> str:
    """The text with these lines in place of those between its markers. Raises ValueError where it lacks one."""
    (before, rest), end = text.split(markers[0]), markers[1]
    return "\n".join([before + markers[0], "", *lines, "", end + rest.split(end)[1]])


def stored_at(name: str, instruction_set: str) -> Path:
    """Where measurements are stored of machines with this instruction set."""
    return FOLDER / f"{name}_{instruction_set}.json"


def by_instruction_set(name: str) -> list[dict[str, Any]]:
    """All stored measurements of this name, those of machines with the largest instruction set first."""
    paths = [stored_at(name, level) for level in INSTRUCTION_SETS]
    return [json.loads(path.read_text()) for path in paths if path.is_file()]


def read(path: Path) -> dict[str, Any]:
    """The document of earlier measurements; one without rows where there is no such file."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"rows": []}
    return found


def provenance_of(took_s: float) -> dict[str, Any]:
    """Time, duration, hardware, versions and commit of a measurement."""
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
