"""Keeps the results of `make landscape` and renders them into docs/landscape.md.

    python -m benchmarks.landscape results/landscape/fast    keep what `python -m sweeps.landscape` found there

Kept are the judged claims with the details that the page quotes (results/landscape.json), the steps between which every
run converged (results/landscape_times.csv), and the figures.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from analysis.claims.records import restored
from analysis.claims.sweeps import Sweeps
from analysis.claims.text import claims_markdown
from analysis.outcomes.outcomes import decide_outcomes
from benchmarks.papers import with_part
from sweeps.landscape.claims import CLAIMS, FIGURES
from sweeps.landscape.measures import KEPT_ACCURACY
from sweeps.landscape.study import MATRICES, PAIRS, STUDY

RESULTS = Path(__file__).parent / "results"
KEPT, TIMES = RESULTS / "landscape.json", RESULTS / "landscape_times.csv"
PAGE = Path(__file__).parents[1] / "docs" / "landscape.md"


def main() -> None:
    """Keeps the folder that is given, and refreshes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what `python -m sweeps.landscape --results` was given")
    keep(parser.parse_args().folder / STUDY.name)
    refresh()


def keep(folder: Path) -> None:
    """Copies what was judged, and writes the times of every run."""
    document = json.loads((folder / "claims.json").read_text())
    document["details"] = json.loads((folder / "details.json").read_text())
    KEPT.write_text(json.dumps(document, indent=1) + "\n")
    with TIMES.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("pair", "data_seed", *MATRICES, "outcome", "not_before", "by"))
        writer.writerows(_times(Sweeps({pair.name: folder / pair.name for pair in PAIRS})))
    for draw in FIGURES:
        name = draw.__name__
        shutil.copyfile(folder / "figures" / f"{name}.svg", PAGE.parent / f"landscape_{name}.svg")


def _times(sweeps: Sweeps) -> Iterator[tuple[object, ...]]:
    """A row for each run: the seed of each matrix, and the evaluations between which it converged."""
    for pair in PAIRS:
        history = sweeps[pair.name].history
        outcomes = decide_outcomes(history, KEPT_ACCURACY)
        for run, kind, low, high in zip(history.runs, outcomes.kind_R, outcomes.lower_R, outcomes.upper_R, strict=True):
            seeds = [run.hyperparameters[f"streams.init/{name}"] for name in MATRICES]
            yield pair.name, run.data_seed, *seeds, kind, int(low), int(high)


def refresh() -> None:
    """Rewrites the part of the page that is made from the kept claims and the rows of today."""
    claims = restored(CLAIMS, json.loads(KEPT.read_text())["claims"])
    PAGE.write_text(with_part(PAGE.read_text(), claims_markdown(claims)))


if __name__ == "__main__":
    main()
