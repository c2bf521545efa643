"""`make fault-test`: faults injected into the real command, with a printed seed; exit code 1 if one was not survived.

    python -m tests.faults.run --calls 1500 --damages 240 --signals 60

SEEDBED_FAULTS is the number of failing calls where `--calls` does not say it. The table of docs/reliability.md is
written with `--write`.
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
from typing import Any

from tests.faults import table
from tests.faults.shim import build, preloaded

ROOT = Path(__file__).resolve().parents[2]


def start(share: int, num_shares: int, given: argparse.Namespace, base: Path, library: Path) -> subprocess.Popen[bytes]:
    """The process that tries one share, with the library loaded."""
    folder = base / f"share-{share}"
    folder.mkdir()
    tries = map(str, (given.calls, given.damages, given.signals))
    values = {"SEEDBED_COMMIT_S": "0", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    options = ["--share", str(share), str(num_shares), "--tries", *tries, "--seed", str(given.seed)]
    options += ["--seconds", str(given.minutes * 60), "--base", str(folder), "--shim", str(library)]
    # A file, not a pipe, which would be full while another share is waited for.
    with printed_by(base, share).open("wb") as printed:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker", *options],
            env=preloaded(library, {**os.environ, **values}),
            stdout=printed,
        )


def printed_by(base: Path, share: int) -> Path:
    """The file with the verdicts of one share, a line of JSON each."""
    return base / f"share-{share}.jsonl"


def tried(given: argparse.Namespace, base: Path, library: Path) -> list[dict[str, Any]]:
    """Try all shares at once; what they printed. Raises RuntimeError if one of them fails."""
    processes = [start(share, given.processes, given, base, library) for share in range(given.processes)]
    try:
        codes = [process.wait() for process in processes]
        if any(codes):
            raise RuntimeError("a process of the fault test failed; standard error says why")
    finally:
        for process in processes:
            process.kill()
    texts = [printed_by(base, share).read_text() for share in range(given.processes)]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def parsed() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=int(os.environ.get("SEEDBED_FAULTS", "1500")))
    parser.add_argument("--damages", type=int, default=240)
    parser.add_argument("--signals", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=25.0, help="no try starts later than this")
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 2))
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    parser.add_argument("--to", type=Path, help="a file for the verdicts, as JSON")
    return parser.parse_args()


def main() -> int:
    """Try everything, print and keep the table, and name what was not survived."""
    given, started = parsed(), time.monotonic()
    print(
        f"seed {given.seed}: {given.calls} failing calls, {given.damages} damages, {given.signals} signals", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="seedbed-faults-") as temporary:
        base = Path(temporary).resolve()
        found = tried(given, base, build(base))
    verdicts = [line for line in found if "kind" in line]
    num_calls = next(line["calls"] for line in found if "calls" in line)
    print("\n".join(table.lines(verdicts, num_calls, given.seed)))
    for verdict in verdicts:
        if not verdict["survived"]:
            print(f"not survived: {json.dumps(verdict)}")
    if any("stopped" in line for line in found):
        print(f"the time of {given.minutes:g} minutes was over before all were tried")
    print(f"{time.monotonic() - started:.0f} s")
    if given.to is not None:
        given.to.write_text(json.dumps(verdicts, indent=1))
    if given.write:
        table.write(verdicts, num_calls, given.seed)
    return int(not all(verdict["survived"] for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
