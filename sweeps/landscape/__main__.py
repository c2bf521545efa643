"""Trains the sweeps on the landscape, judges the claims and draws the figures: `python -m sweeps.landscape`.

The same command continues where it was stopped. `--only matrices` trains that sweep alone; claims are judged by all
that are trained. What is judged goes to the results folder: `landscape/claims.json`, `details.json` and `figures`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from analysis.claims.text import claims_table
from pipeline.planning.open_sweep import provenance
from pipeline.store.files import write_file
from sweeps.command.exit_codes import COMPLETE
from sweeps.command.reproducing import (
    Reproduction,
    begun_under,
    judged,
    print_estimate,
    registration_lines,
    train,
    verified,
    write_table,
)
from sweeps.landscape.details import details
from sweeps.landscape.study import STUDY
from sweeps.papers import PROFILES


def main() -> int:
    """The exit code, as of a launch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="fast")
    parser.add_argument(
        "--only", nargs="+", default=(), choices=[sweep.name for sweep in STUDY.sweeps], metavar="SWEEP"
    )
    parser.add_argument("--results", type=Path, default=Path("results") / "landscape")
    parser.add_argument("--inline", action="store_true", help="train in this process, without Ray")
    given = parser.parse_args()
    out = Console()
    part = Reproduction(STUDY, given.profile, given.results / STUDY.name, given.inline, tuple(given.only))
    registration = verified(STUDY)
    begun_under(part, registration)
    print_estimate([part], out)
    code = train(part, out)
    if code == COMPLETE:
        write_file(part.folder / "details.json", json.dumps(details(part.for_claims()), indent=1).encode())
        claims = judged(part, registration, out)
        write_table(claims, part.folder, dict(provenance()) | {"profile": given.profile})
        out.print("\n".join([*claims_table(claims), *registration_lines(claims)]), markup=False)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
