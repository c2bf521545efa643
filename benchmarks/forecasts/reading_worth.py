"""What each reading brings to forecasts.

`python -m benchmarks.forecasts.reading_worth RESULTS` takes a quarter of an hour of one core.

RESULTS holds the results of the benchmark's sweeps of the tasks below, each under its name, with all readings:

    seedbed read RESULTS/lookup_a --readings forces,interventions,gradients

The primary predictor is fitted to curves alone, and to curves and some of the readings: inside the training half, on
held-out seeds, by which one would choose; then in all of it for the test half. The table is in docs/forecast_scores.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from analysis.benchmark.halves import evaluate_halves
from analysis.forecasting.evaluation import Evaluation, WindowEvaluation, evaluate
from analysis.forecasting.scoring.scores import auroc
from analysis.outcomes.outcomes import decide_outcomes
from analysis.outcomes.settings import setting_R
from analysis.outcomes.subsets import joined
from analysis.predictors.base import Cases, Fitted, Forecast, Predictor, Targets
from analysis.predictors.ridge_time import RidgeTime
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from analysis.uncertainty.resampling import resample
from benchmarks.bench import FOLDER, between, read
from benchmarks.forecasts.scores import PAGE
from pipeline.arrays import Floats
from pipeline.planning.packs import stored_spec
from pipeline.store.history import History
from pipeline.store.sweep_store import SweepStore

KEPT = FOLDER / "reading_worth.json"
MARKERS = ("<!-- reading worth: begin -->", "<!-- reading worth: end -->")
TASKS = ("lookup_a", "pair_tokens", "repeated_sequence", "linear_plateaus")
KINDS = ("circuits", "forces", "interventions", "gradients")
# Beside curves; the first is nothing but curves, the second what is recorded by default.
DEFAULT = "circuits"
SETS: Mapping[str, tuple[str, ...]] = {
    "curves": (),
    **{kind: (kind,) for kind in KINDS},
    **{f"{DEFAULT}, {kind}": (DEFAULT, kind) for kind in KINDS if kind != DEFAULT},
    "all": KINDS,
}
SHOWN = ("curves", *KINDS, "all")
BOOTSTRAP, DIGITS = 1000, 4

Row = Mapping[str, Any]


@dataclass(frozen=True)
class OfReadings(Predictor):
    """The primary predictor, which sees curves and these readings alone."""

    kinds: tuple[str, ...]
    name: ClassVar[str] = "of_readings"

    def fit(self, cases: Cases, targets: Targets, weight_R: Floats | None = None) -> Fitted:
        """The predictor fitted to what it sees."""
        return _Seeing(self, RidgeTime().fit(self.seen(cases), targets, weight_R))

    def seen(self, cases: Cases) -> Cases:
        """The cases without the other readings."""
        return replace(cases, statistics=cases.statistics.keep(lambda name: kind_of(name) in ("", *self.kinds)))


@dataclass(frozen=True)
class _Seeing:
    predictor: OfReadings
    fitted: Fitted

    def forecast(self, cases: Cases) -> Forecast:
        """That of the fitted predictor."""
        return self.fitted.forecast(self.predictor.seen(cases))


def kind_of(statistic: str) -> str:
    """The reading of a statistic's name, `last_value(circuits.unembedding_norm)`; empty for one of a curve."""
    kind = statistic.partition("(")[2].partition(".")[0]
    return kind if kind in KINDS else ""


def main() -> None:
    """Score the tasks that are asked for, keep the others, and write the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="results; without it the table is made of what is kept")
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []], help="which (default: all)")
    options = parser.parse_args()
    for task in options.tasks or TASKS if options.folder else ():
        kept = [row for row in read(KEPT)["rows"] if row["task"] != task]
        rows = sorted([*kept, *rows_of(task, options.folder)], key=lambda row: TASKS.index(row["task"]))
        lines = ",\n".join(json.dumps(row) for row in rows)
        KEPT.write_text(f'{{"rows": [\n{lines}\n]}}\n', encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), read(KEPT)["rows"]), encoding="utf-8")


def rows_of(task: str, folder: Path) -> Iterator[Row]:
    """AUROC between seeds of one setting of every set of columns, at every window, in both ways of holding out."""
    stores = [SweepStore(folder / name) for name in (task, f"{task}_test")]
    train, test = (store.history() for store in stores)
    criterion = stored_spec(stores[0]).criterion
    kinds = {name.partition(".")[0] for name in train.readings & test.readings}
    predictors = {name: OfReadings(of) for name, of in SETS.items() if name == "all" or kinds.issuperset(of)}
    held_out = evaluate(train, decide_outcomes(train, criterion), predictors=predictors, bootstrap=BOOTSTRAP)
    yield from score_rows(task, "training", train, held_out)
    tested = evaluate_halves(train, test, criterion, predictors, bootstrap=BOOTSTRAP)
    yield from score_rows(task, "test", joined([train, test]), tested)


def score_rows(task: str, half: str, history: History, evaluation: Evaluation) -> Iterator[Row]:
    """The rows of an evaluation of `history`; gains over the default on a test half alone, which is one fold."""
    weight_BR = resample(history.runs, BOOTSTRAP, 0).with_estimate()
    for window in evaluation.windows:
        for name, scores in window.scores.items():
            own = {"task": task, "half": half, "columns": name, "window": window.fraction, "n": window.num_scored}
            gain = _gain(window, name, history, weight_BR)
            yield own | _numbers("", scores.auroc_within) | ({} if half == "training" else _numbers("gain_", gain))


def _gain(window: WindowEvaluation, name: str, history: History, weight_BR: Floats) -> Estimate:
    """AUROC less that of the default readings, on the same resamples of runs that were not fitted."""
    group_N = np.unique(setting_R(history.runs)[window.scored_R], return_inverse=True)[1]
    ours_B, theirs_B = (
        auroc(window.probability_N[one], window.converged_N, group_N, weight_BR[:, window.scored_R])
        for one in (name, DEFAULT)
    )
    return from_bootstrap(ours_B - theirs_B)


def _numbers(prefix: str, estimate: Estimate) -> dict[str, float | None]:
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {f"{prefix}{name}": round(float(x), DIGITS) if np.isfinite(x) else None for name, x in numbers.items()}


def with_table(text: str, rows: Sequence[Row]) -> str:
    """The page with the table of these rows between its markers."""
    return between(text, MARKERS, table_lines(rows))


def table_lines(rows: Sequence[Row]) -> list[str]:
    """AUROC on the test half: a line for each task and set of columns that is shown, a column for each window."""
    found = {(row["task"], row["columns"], row["window"]): row for row in rows if row["half"] == "test"}
    windows = sorted({window for *_, window in found})
    lines = [
        "| task (test runs) | columns | " + " | ".join(f"{window:.0%}" for window in windows) + " |",
        "|---|---|" + "---|" * len(windows),
    ]
    for task in dict.fromkeys(task for task, *_ in found):
        size = max(row["n"] for (own, *_), row in found.items() if own == task)
        shown = [name for name in SHOWN if any((task, name, window) in found for window in windows)]
        for place, name in enumerate(shown):
            cells = [_cell(found.get((task, name, window))) for window in windows]
            lines.append(f"| {f'{task} ({size})' if not place else ''} | {name} | {' | '.join(cells)} |")
    return lines


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    numbers = (float("nan") if row[name] is None else row[name] for name in ("value", "low", "high"))
    return Estimate(*numbers).text()


if __name__ == "__main__":
    main()
