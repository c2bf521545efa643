"""How often a forecast's 90% interval holds the number of runs that converge: makes the table of docs/forecasting.md.

    python -m benchmarks.forecasts.expected_counts results/benchmark

The folder is that of `seedbed benchmark`. Seeds of lookup A are dealt into disjoint subsets. In each, some runs have
finished, and the others stand at a window and are forecast from these, as `seedbed forecast` does in a sweep that
trains. Without a folder the table is made from the kept counts alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.forecasting.live import forecast_running
from analysis.outcomes.outcomes import CONVERGED, Outcomes, decide_outcomes
from analysis.outcomes.subsets import chosen_runs
from analysis.uncertainty.expected_count import ExpectedCount
from benchmarks.bench import FOLDER, between, read
from pipeline.arrays import Ints
from pipeline.planning.packs import stored_spec
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History, RunEnd
from pipeline.store.stored_forecast import fewest_learned
from pipeline.store.sweep_store import SweepStore
from sweeps.command.forecasts.benchmarking import finished

PAGE = Path(__file__).parents[2] / "docs" / "forecasting.md"
KEPT = FOLDER / "expected_counts.json"
MARKERS = ("<!-- expected counts: begin -->", "<!-- expected counts: end -->")
TASK = "lookup_a"
# Finished runs and runs in training of a subset; of 3,200 seeds that makes 20, 10, 8, 8 and 4 subsets.
DESIGNS = ((60, 100), (120, 200), (100, 300), (200, 200), (400, 400))
WINDOWS = (0.1, 0.25, 0.5)

Row = Mapping[str, Any]


def main() -> None:
    """Count the intervals from a results folder and keep the counts, and write the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="results of `seedbed benchmark`")
    folder: Path | None = parser.parse_args().folder
    if folder is not None:
        criterion = stored_spec(SweepStore(folder / TASK)).criterion
        rows = [*counted_rows(finished(TASK, folder), criterion)]
        KEPT.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
    PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), MARKERS, lines(read(KEPT))), encoding="utf-8")


def counted_rows(
    history: History,
    criterion: Criterion,
    designs: Sequence[tuple[int, int]] = DESIGNS,
    windows: Sequence[float] = WINDOWS,
) -> Iterator[Row]:
    """For each design and window: intervals, and how many hold the number, also with probabilities taken as exact."""
    outcomes = decide_outcomes(history, criterion)
    for num_finished, num_running in designs:
        subsets = dealt(len(history.runs), num_finished + num_running)
        for window in windows:
            found = [
                intervals_hold(chosen_runs(history, rows), outcomes.rows(rows), criterion, num_finished, window)
                for rows in subsets
            ]
            yield {
                "finished": num_finished,
                "in training": num_running,
                "window": window,
                "intervals": len(found),
                "hold": sum(holds for holds, _ in found),
                "hold with exact probabilities": sum(holds for _, holds in found),
            }


def dealt(num_runs: int, size: int) -> list[Ints]:
    """As many disjoint random subsets of this size as there are, by the same random numbers each time."""
    shuffled_R = np.random.default_rng(size).permutation(num_runs)
    return [shuffled_R[start : start + size] for start in range(0, num_runs - size + 1, size)]


def intervals_hold(
    history: History, truth: Outcomes, criterion: Criterion, num_finished: int, window: float
) -> tuple[bool, bool]:
    """Whether the interval of the expected number holds the true one; and that of probabilities taken as exact.

    All runs after the first `num_finished` are cut at the window. Those that have an outcome by then are not forecast.
    """
    cut = cut_at(history, num_finished, history.window_step(window))
    found = forecast_running(cut, decide_outcomes(cut, criterion), windows=(window,), bootstrap=1)
    known = {run.run_id: run.converged for run in found.runs if not run.problem}
    learned = fewest_learned((source.fraction, source.num_finished) for source in found.windows)[window]
    converged = {run.run_id for run, kind in zip(history.runs, truth.kind_R, strict=True) if kind == CONVERGED}
    number, probabilities = len(converged & known.keys()), list(known.values())
    widened = ExpectedCount.of(probabilities, [learned] * len(known))
    exact = ExpectedCount.of(probabilities)
    return widened.low <= number <= widened.high, exact.low <= number <= exact.high


def cut_at(history: History, num_finished: int, step: int) -> History:
    """The history as it is while all runs after the first `num_finished` stand at `step`, if they come that far."""
    is_cut_R = np.array([r >= num_finished and end.step > step for r, end in enumerate(history.ends)])
    ends = tuple(RunEnd("running", step) if is_cut else end for is_cut, end in zip(is_cut_R, history.ends, strict=True))
    is_unseen_RT = is_cut_R[:, None] & (history.steps_T > step)
    values = {name: np.where(is_unseen_RT, np.nan, values_RT) for name, values_RT in history.values.items()}
    return replace(history, ends=ends, values=values)


def lines(rows: Sequence[Row]) -> list[str]:
    """A line for each design, a column for each window, and a sentence on all of them."""
    windows = sorted({row["window"] for row in rows})
    found = {(row["finished"], row["in training"], row["window"]): row for row in rows}
    table = [
        "| finished runs | runs in training | " + " | ".join(f"at {window:.0%}" for window in windows) + " |",
        "|---|---|" + "---|" * len(windows),
    ]
    for sizes in dict.fromkeys(key[:2] for key in found):
        cells = [found[*sizes, window] for window in windows]
        counts = [f"{cell['hold']} of {cell['intervals']}" for cell in cells]
        table.append("| " + " | ".join([*map(str, sizes), *counts]) + " |")
    held, exact, number = (
        sum(row[name] for row in rows) for name in ("hold", "hold with exact probabilities", "intervals")
    )
    return [*table, "", f"Together {held} of {number}. With the probabilities taken as exact, {exact} would have."]


if __name__ == "__main__":
    main()
