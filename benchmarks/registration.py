"""Registers the terms of claims, and the seeds of their sweeps, as they stand in the code: papers and the landscape.

    python -m benchmarks.registration "REASON"    adds an entry to each registration.json that what stands differs from

To be run, and its files committed, before the runs that judge the claims are trained.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from sweeps.landscape.study import STUDY
from sweeps.papers import papers_of
from sweeps.registered import registration_of, registration_path, seeds_by_sweep


def main() -> None:
    """Adds the entries, and prints how many claims and sweeps each has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("why", help="why terms are registered or changed, in a sentence")
    why: str = parser.parse_args().why
    today = datetime.now(UTC).date().isoformat()
    for paper in (*papers_of(), STUDY):
        before = registration_of(paper)
        after = before.followed_by(today, why, paper.claims_module().CLAIMS, seeds_by_sweep(paper))
        if after != before:
            after.write(registration_path(paper))
            entry = after.entries[-1]
            print(f"{paper.name}: {len(entry.claims)} claims, {len(entry.sweeps)} sweeps, {entry.sha256}")


if __name__ == "__main__":
    main()
