"""Shares of runs that converged in the benchmark's sweeps.

`python -m benchmarks.forecasts.shares RESULTS`, from the root.

RESULTS is a folder that holds the results of the sweeps of `sweeps/benchmark`, each under its name. The table goes
into the README there, between its markers; a sweep that is not complete has no share.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.uncertainty.intervals import wilson
from benchmarks.bench import between
from pipeline.spec.sweep import SweepSpec, load_spec
from pipeline.store.history import History
from pipeline.store.sweep_store import SweepStore

FOLDER = Path(__file__).resolve().parents[2] / "sweeps" / "benchmark"
MARKERS = ("<!-- shares: begin -->", "<!-- shares: end -->")
HEADER = ["| sweep | setting | training seeds | test seeds |", "|---|---|---|---|"]
# Above this number of settings a sweep has one row.
_MOST_ROWS = 4


def settings_of(history: History) -> dict[str, str]:
    """Setting id -> the hyperparameters in which the settings differ, in words; of many settings their number."""
    found = {run.setting_id: run.hyperparameters for run in history.runs}
    paths = [
        path for path in next(iter(found.values())) if len({str(values.get(path)) for values in found.values()}) > 1
    ]
    if len(found) > _MOST_ROWS:
        return dict.fromkeys(found, f"{len(found)} settings")
    return {setting: ", ".join(f"{path} {values.get(path)}" for path in paths) for setting, values in found.items()}


def shares(history: History, outcomes: Outcomes) -> dict[str, str]:
    """Setting in words -> the share of its runs that converged, with a 95% Wilson interval and the number of runs.

    Of many settings: the share of all runs, and the least and largest share of a setting. Raises ValueError when a run
    is censored, since whether it would have converged is unknown.
    """
    if outcomes.count("censored"):
        raise ValueError(f"{outcomes.count('censored')} runs are censored; train the sweep to its end")
    names, settings_R = settings_of(history), np.array([run.setting_id for run in history.runs])
    converged_R = outcomes.is_kind_R("converged")
    found = {}
    for name in dict.fromkeys(names.values()):
        members_R = np.isin(settings_R, [setting for setting in names if names[setting] == name])
        count, total = int(converged_R[members_R].sum()), int(members_R.sum())
        found[name] = f"{wilson(count, total).text()} of {total}"
    if len(names) > len(found):
        means = [float(converged_R[settings_R == setting].mean()) for setting in names]
        found = {name: f"{text}; of a setting {min(means):.2f} to {max(means):.2f}" for name, text in found.items()}
    return found


def shares_of(spec: SweepSpec, results: Path) -> dict[str, str]:
    """`shares` of a sweep's results in a folder; none where they are not there or not complete."""
    if not (results / spec.name).is_dir():
        return {}
    history = SweepStore(results / spec.name).history()
    if len(history.runs) < len(spec.runs()) or any(end.reason == "running" for end in history.ends):
        return {}
    return shares(history, decide_outcomes(history, spec.criterion))


def rows(results: Path) -> Iterator[str]:
    """The rows of the table: a setting of a sweep each, training seeds beside test seeds."""
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.stem.endswith("_test"):
            continue
        both = [shares_of(load_spec(FOLDER / f"{path.stem}{suffix}.yaml"), results) for suffix in ("", "_test")]
        for name in dict.fromkeys([*both[0], *both[1]]):
            yield f"| {path.stem} | {name} | {both[0].get(name, '')} | {both[1].get(name, '')} |"


def main(results: Path) -> None:
    """Writes the table into the README of the benchmark."""
    page = FOLDER / "README.md"
    text = between(page.read_text(encoding="utf-8"), MARKERS, [*HEADER, *rows(results)])
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
