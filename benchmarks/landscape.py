"""Keeps the results of `make landscape` and renders them into docs/landscape.md.

    python -m benchmarks.landscape results/landscape    keep what `python -m sweeps.landscape` found there, then refresh
    python -m benchmarks.landscape --refresh            rewrite the page from what is kept, without training

Kept are the judged claims with the details that the page quotes (results/landscape.json), the steps between which every
run converged (results/landscape_runs.csv), and the figures. What a later run of a part could judge takes the place of
earlier records.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from analysis.claims.records import merged, restored
from analysis.claims.sweeps import Sweeps
from analysis.claims.text import claims_markdown, with_figures
from analysis.outcomes.outcomes import decide_outcomes
from analysis.uncertainty.intervals import Estimate, short
from benchmarks.papers import with_part
from pipeline.spec.criterion import Criterion
from sweeps.command.reproducing import Reproduction
from sweeps.landscape import measures
from sweeps.landscape.adam.study import EPSILON
from sweeps.landscape.claims import CLAIMS, FIGURES
from sweeps.landscape.fates.study import EXCHANGED
from sweeps.landscape.matrix_figures import matrix_label
from sweeps.landscape.settings.study import OTHER_SETTINGS
from sweeps.landscape.sizes import spreads
from sweeps.landscape.study import BY_MATRIX, MATRICES, PAIRS, STUDY

RESULTS = Path(__file__).parent / "results"
KEPT, RUNS = RESULTS / "landscape.json", RESULTS / "landscape_runs.csv"
PAGE = Path(__file__).parents[1] / "docs" / "landscape.md"
_PATHS = ("model.width", "model.head_width", "optimiser.lr", "optimiser.eps")
_COLUMNS = (
    "sweep",
    "parents",
    "combination",
    "width",
    "head_width",
    "lr",
    "eps",
    "init_seed",
    "data_seed",
    "fork_step",
)
_ORDER = (*MATRICES, "layer0.projection")
_MIXED = {pair.name for pair in EXCHANGED}
# The metric and the step between evaluations are not the same in all sweeps.
_CRITERIA: dict[str, Criterion] = {"widths": spreads.KEPT_ACCURACY_25} | {
    pair.name: setting.criterion for setting in OTHER_SETTINGS for pair in setting.pairs
}
_CRITERIA[EPSILON] = Criterion("label_excess", at_most=0.02, evaluations=2)
_NUM_LISTED = 10
_LARGEST_TWO = "embeddings and layer 2"


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


def keep(folder: Path) -> None:
    """Copies what was judged and the figures that were drawn, and writes the times of every run that is there."""
    kept, found = json.loads(KEPT.read_text()), json.loads((folder / "claims.json").read_text())
    told = json.loads((folder / "details.json").read_text())
    details = kept.get("details", {}) | {name: part for name, part in told.items() if "not there" not in part}
    document = merged(kept, found)
    KEPT.write_text(json.dumps(document | {"details": details}, indent=1) + "\n")
    sweeps = Reproduction(STUDY, "full", folder).for_claims()
    with RUNS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*_COLUMNS, "outcome", "not_before", "by"))
        writer.writerows(_times(sweeps))
    for draw in FIGURES:
        drawn = folder / "figures" / f"{draw.__name__}.svg"
        if drawn.is_file():
            shutil.copyfile(drawn, PAGE.parent / f"landscape_{draw.__name__}.svg")


def _times(sweeps: Sweeps) -> Iterator[tuple[object, ...]]:
    """A row for each run of the sweeps that have ended: its settings, and the evaluations between which it converged.

    A combination has a figure for each matrix that the model has, in the order of MATRICES: 1 for the first parent's, 2
    for the second's; of mixtures of states, 2 for the slow run's.
    """
    for name in sweeps:
        history = sweeps[name].history
        outcomes = decide_outcomes(history, _CRITERIA.get(name, measures.KEPT_ACCURACY))
        for run, kind, low, high in zip(history.runs, outcomes.kind_R, outcomes.lower_R, outcomes.upper_R, strict=True):
            given = run.hyperparameters
            parents = PARENTS.get(name, ())
            seeds = [given[path] for matrix in _ORDER if (path := f"streams.init/{matrix}") in given]
            combination = "".join(str(1 + parents.index(seed)) for seed in seeds)
            if run.fork_step is not None and name in _MIXED:
                combination = "".join("2" if matrix in run.taken else "1" for matrix in MATRICES)
            of_run = [given.get(path, "") for path in _PATHS]
            row = (name, " ".join(map(str, parents)), combination, *of_run, run.init_seed, run.data_seed)
            yield (*row, "" if run.fork_step is None else run.fork_step, kind, int(low), int(high))


def refresh() -> None:
    """Rewrites the parts of the page that are made from what is kept and the rows of today."""
    document = json.loads(KEPT.read_text())
    claims = restored(CLAIMS, document["claims"])
    by_name = {claim.name: claim for claim in claims}
    details, text = document["details"], PAGE.read_text()
    for number, finding in enumerate(STUDY.findings, start=1):
        text = with_part(text, f"finding {number}", with_figures(finding, by_name) + "\n")
    for name, (part, table) in TABLES.items():
        text = with_part(text, name, table(details[part]) if part in details else NOT_TRAINED)
    PAGE.write_text(with_part(text, "claims", claims_markdown(claims)))


def _rows(rows: list[list[str]]) -> str:
    header, *rest = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, ["---"] * len(header), *rest])


def _text(estimate: list[float | None]) -> str:
    return Estimate(*(float("nan") if number is None else number for number in estimate)).text()


def pairs_table(part: dict[str, Any]) -> str:
    """A row for each factorial: parents, their times, shares of the orders, and combinations beyond both of them."""
    rows = [["parents", "factors", "times", "late runs", "returns", "order 1", "order 2", "3 and above", "beyond both"]]
    for found in part["log"].values():
        log_times = found["mean of first parent, second parent, fastest, median and slowest combination"]
        times = " and ".join(f"{math.exp(time):,.0f}" for time in log_times[:2])
        num_factors, first, second = len(found["main effects"]), *found["by order"][:2]
        faster, slower = found["combinations faster than both parents"], found["combinations slower than both parents"]
        late = f"{found['runs that did not converge']} of {found['runs']:,}"
        shares = (found["returning"], first, second, found["order 3 and above"])
        beyond = f"{faster} faster, {slower} slower"
        rows.append(["{} and {}".format(*found["parents"]), str(num_factors), times, late, *map(_text, shares), beyond])
    return _rows(rows)


def coefficients_table(part: dict[str, Any]) -> str:
    """The largest coefficients of the factorial of matrices, with their values under each data stream."""
    rows = [["set of matrices", "order", "coefficient in log time", "under each data stream"]]
    for found in part["largest coefficients"][:_NUM_LISTED]:
        names = ", ".join(matrix_label(name) for name in found["factors"])
        by_stream = " and ".join(short(value, 3) for value in found["by data stream"])
        rows.append([names, str(len(found["factors"])), short(found["value"], 3), by_stream])
    return _rows(rows)


def widths_table(part: dict[str, Any]) -> str:
    """The standard deviation of log time at each width, of both arms."""
    rows = [["learning rate", "width", "sd of log time", "did not converge"]]
    for arm, found in part.items():
        columns = ("widths", "standard deviations of log time", "runs that did not converge")
        for width, spread, late in zip(*(found[column] for column in columns), strict=True):
            rows.append([arm, f"{width:g}", _text(spread), str(late)])
    return _rows(rows)


def rates_table(part: dict[str, Any]) -> str:
    """The share that converges in time at each point, and the boundary of one half."""
    rows = [["width of a head", *(f"rate {rate:g}" for rate in part["rates"]), "half converge from", "to"]]
    for width, shares in part["share that converged in time, by head width"].items():
        bounds = (part[f"{side} boundary"][width] for side in ("lower", "upper"))
        shown = ["none" if value is None else f"{value:.2g} ({low:.2g}-{high:.2g})" for value, low, high in bounds]
        rows.append([width, *(short(share[0]) for share in shares), *shown])
    return _rows(rows)


def commits_table(part: dict[str, Any]) -> str:
    """A row for each parent: its time, the share of its forks in time by step, and when it commits."""
    steps = [f"step {step}" for step in part["steps"]]
    rows = [["parent", "own time", *steps, "committed from"]]
    for number, found in enumerate(part["parents"], start=1):
        step, low, high = found["committed from"]
        ends = ["later" if end is None else f"{end:,.0f}" for end in (step, low, high)]
        shares = [short(share) for share in found["share in time"]]
        rows.append([str(number), f"{found['time']:,.0f}", *shares, f"{ends[0]} ({ends[1]} to {ends[2]})"])
    return _rows(rows)


def exchanges_table(part: list[dict[str, Any]]) -> str:
    """A row for each step: what returns, each part alone, two and more together, and how slow mixtures are."""
    names = list(part[0]["main effects"])
    header = ["step", "returns", *names, "two together", "of these " + _LARGEST_TWO, "three or four"]
    rows = [[*header, "mixtures / unmixed", "slower than both"]]
    for found in part:
        shares = [found["returns"], *(found["main effects"][name] for name in names)]
        shares += [found["order 2"], found["interactions of two"][_LARGEST_TWO], found["order 3 and 4"]]
        shares.append(found["time of mixtures / of unmixed runs"])
        rows.append([str(found["step"]), *map(_text, shares), _text(found["mixtures slower than both"])])
    return _rows(rows)


def settings_table(part: dict[str, Any]) -> str:
    """A row for each setting: its parents and times, and the shares of the claims."""
    shares = list(next(iter(part.values()))["shares"])
    rows = [["setting", "pairs", "factors", "times", "late runs", *shares]]
    for label, found in part.items():
        times = "{:,.0f}, {:,.0f}, {:,.0f}".format(*found["fastest, median and slowest"])
        late = f"{found['runs that did not converge']} of {found['runs']:,}"
        means = [_text(found["shares"][which]) for which in shares]
        rows.append([label, str(found["pairs"]), str(found["factors"]), times, late, *means])
    return _rows(rows)


def epsilons_table(part: dict[str, Any]) -> str:
    """A row for each eps: the share of rare features with each phase; and where the first one is midway."""
    rows = [["eps", *part["phases"]]]
    rows += [[eps, *map(_text, shares)] for eps, shares in part["shares by eps"].items()]
    middle, low, high = (f"{10**end:.1e}" for end in part["midway, common logarithm of eps"])
    sentence = (
        f"The share of features with the first phase is midway between its ends at eps {middle} ({low} to {high})."
    )
    return f"{_rows(rows)}\n{sentence}\n"


OF_SETTINGS = tuple(pair for setting in OTHER_SETTINGS for pair in setting.pairs)
PARENTS = {pair.name: (pair.first, pair.second) for pair in (*PAIRS, BY_MATRIX, *OF_SETTINGS)}
NOT_TRAINED = "Not trained yet.\n"
# Part of the page -> what of the details it is made of, and how.
TABLES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "pairs": ("factorials", pairs_table),
    "coefficients": ("matrices", coefficients_table),
    "widths": ("widths", widths_table),
    "rates": ("rates", rates_table),
    "commits": ("fates", commits_table),
    "exchanges": ("exchanges", exchanges_table),
    "settings": ("settings", settings_table),
    "epsilons": ("adam_epsilon", epsilons_table),
}


if __name__ == "__main__":
    main()
