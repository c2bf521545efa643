"""Keeps the results of `make landscape` and renders them into docs/landscape.md.

    python -m benchmarks.landscape results/landscape    keep what `python -m sweeps.landscape` found there, then refresh
    python -m benchmarks.landscape --refresh            rewrite the page from what is kept, without training

Kept are the judged claims with the details that the page quotes (results/landscape.json), the steps between which every
run converged (results/landscape_runs.parquet), and the figures. What a later run of a part could judge, and the sweeps
that it trained, take the place of earlier records.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.landscape.page import keep, refresh
from sweeps.landscape.study import STUDY


def main() -> None:
    """Keeps the folder that is given, if any, and refreshes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("folder", type=Path, nargs="?", help="what `python -m sweeps.landscape --results` was given")
    what.add_argument("--refresh", action="store_true", help="rewrite the page alone")
    folder: Path | None = parser.parse_args().folder
    if folder is not None:
        keep(folder / STUDY.name)
    refresh()


if __name__ == "__main__":
    main()
