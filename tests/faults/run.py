"""`make fault-test`: faults injected into the real command, with a printed seed; exit code 1 if one was not survived.

    python -m tests.faults.run --tries 10000 --seed 0 --to verdicts.jsonl

SEEDBED_FAULTS is the number of tries where `--tries` does not say it; `--part NAME=NUMBER` (repeatable) asks for these
parts alone. The verdicts are appended to the file as they come: the same call again tries what it lacks, other seeds
add to it. `--write` writes the table of all that it holds into docs/reliability.md, unless that has one of more faults.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import table
from tests.faults.parts import PARTS
from tests.faults.shim import build, preloaded

ROOT = Path(__file__).resolve().parents[2]
# In memory where that is possible: what a disk does when it is asked to sync is none of the faults.
_MEMORY = Path("/dev/shm")


def numbers(given: argparse.Namespace) -> dict[str, int]:
    """How many tries of each part: those asked for, or the shares of all."""
    if given.part:
        return {name: int(number) for name, _, number in (one.partition("=") for one in given.part)}
    total = sum(number for _, number in PARTS.values())
    return {name: round(given.tries * number / total) for name, (_, number) in PARTS.items()}


def start(share: int, given: argparse.Namespace, base: Path, library: Path) -> subprocess.Popen[bytes]:
    """The process that tries one share, with the library loaded."""
    folder = base / f"share-{share}"
    folder.mkdir()
    values = {"SEEDBED_COMMIT_S": "0", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    options = ["--share", str(share), str(given.processes), "--seed", str(given.seed), "--to", str(given.to)]
    options += ["--seconds", str(given.minutes * 60), "--base", str(folder), "--shim", str(library)]
    tries = [f"{name}={number}" for name, number in numbers(given).items()]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.worker", *options, "--tries", *tries],
        env=preloaded(library, {**os.environ, **values}),
    )


def try_all(given: argparse.Namespace, base: Path) -> None:
    """Try all shares at once. Raises RuntimeError if a process fails."""
    library = build(base)
    processes = [start(share, given, base, library) for share in range(given.processes)]
    try:
        codes = [process.wait() for process in processes]
        if any(codes):
            raise RuntimeError("a process of the fault test failed; standard error says why")
    finally:
        for process in processes:
            process.kill()


def parsed() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=int(os.environ.get("SEEDBED_FAULTS", "10000")))
    parser.add_argument("--part", action="append", help="PART=NUMBER, of " + ", ".join(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0, help="no try starts later than this")
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 2))
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the table into docs/reliability.md, unless it has one of more faults",
    )
    parser.add_argument("--to", type=Path, help="the file of verdicts; a temporary one by default")
    return parser.parse_args()


def main() -> int:
    """Try everything, print and keep the table, and name what was not survived."""
    given, started = parsed(), time.monotonic()
    print(f"seed {given.seed}: " + ", ".join(f"{number} {name}" for name, number in numbers(given).items()), flush=True)
    with tempfile.TemporaryDirectory(prefix="seedbed-faults-", dir=_MEMORY if _MEMORY.is_dir() else None) as temporary:
        base = Path(temporary).resolve()
        given.to = (given.to or base / "verdicts.jsonl").resolve()
        try_all(given, base)
        found = table.read(given.to)
    print("\n".join(table.lines(found)))
    failed = [verdict for verdict in found if not verdict["survived"]]
    for verdict in failed:
        print(f"not survived: {json.dumps(verdict)}")
    print(f"{time.monotonic() - started:.0f} s")
    if given.write and (kept := table.write(found)):
        print(kept)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
