"""Forecasts of lookup A by the number of runs learned from: makes the table of docs/forecast_scores.md.

    python -m benchmarks.forecasts.learning_curve results/benchmark

The folder is that of `seedbed benchmark`. Without one the table is made from the kept points alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.benchmark.learning_curve import learning_curve
from analysis.predictors.base import PREDICTORS
from analysis.uncertainty.intervals import Estimate
from benchmarks.bench import FOLDER, between, read
from benchmarks.forecasts.scores import DIGITS, PAGE
from pipeline.planning.packs import stored_spec
from pipeline.store.sweep_store import SweepStore
from sweeps.command.forecasts.benchmarking import finished, halves_of

KEPT = FOLDER / "learning_curve.json"
MARKERS = ("<!-- learning curve: begin -->", "<!-- learning curve: end -->")
TASK = "lookup_a"
SIZES = (40, 80, 160, 320, 640, 1280, 3200)
SHOWN = ("ridge_time", "discrete_hazard", "best_statistic")

Point = Mapping[str, Any]


def main() -> None:
    """Measure the points from a results folder and keep them, and write the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="results of `seedbed benchmark`")
    folder: Path | None = parser.parse_args().folder
    if folder is not None:
        lines = ",\n".join(map(json.dumps, measured(folder)))
        KEPT.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    PAGE.write_text(with_curve(PAGE.read_text(encoding="utf-8"), read(KEPT)), encoding="utf-8")


def measured(folder: Path) -> list[Point]:
    """The points of every size, window and predictor, as they are kept."""
    train, test = (finished(half, folder) for half in halves_of(TASK))
    criterion = stored_spec(SweepStore(folder / TASK)).criterion
    predictors = {name: PREDICTORS[name]() for name in SHOWN}
    points = []
    for point in learning_curve(train, test, criterion, predictors, SIZES):
        points.append({name: round(v, DIGITS) if isinstance(v, float) else v for name, v in point.to_json().items()})
        print(point.predictor, f"{point.window:.0%}", point.num_train, point.estimate.text(), flush=True)
    return points


def with_curve(text: str, points: Sequence[Point]) -> str:
    """The page with the table of these points between its markers."""
    return between(text, MARKERS, curve_lines(points))


def curve_lines(points: Sequence[Point]) -> list[str]:
    """A line for each predictor and number of training runs, a column for each window."""
    windows = sorted({point["window"] for point in points})
    found = {(point["predictor"], point["num_train"], point["window"]): point for point in points}
    lines = [
        "| | trained on | " + " | ".join(f"{window:.0%}" for window in windows) + " |",
        "|---|---|" + "---|" * len(windows),
    ]
    for name in dict.fromkeys(point["predictor"] for point in points):
        sizes = sorted({(point["num_train"], point["num_sets"]) for point in points if point["predictor"] == name})
        for place, (size, num_sets) in enumerate(sizes):
            cells = " | ".join(_cell(found[name, size, window]) for window in windows)
            lines.append(f"| {name if not place else ''} | {num_sets} x {size} | {cells} |")
    return lines


def _cell(point: Point) -> str:
    return Estimate(*(float("nan") if point[name] is None else point[name] for name in ("value", "low", "high"))).text()


if __name__ == "__main__":
    main()
