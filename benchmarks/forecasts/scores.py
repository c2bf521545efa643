"""`make benchmark`: keeps the scores of a run of `seedbed benchmark`, and writes the tables in docs/forecast_scores.md.

    python -m benchmarks.forecasts.scores results/benchmark

Without a folder the tables are made from the kept scores alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.benchmark.halves import RANKING
from analysis.benchmark.rows import BenchmarkRow, task_means
from analysis.forecasting.evaluation import PRIMARY
from analysis.uncertainty.intervals import short
from benchmarks.bench import FOLDER, between, read

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "forecast_scores.md"
KEPT = FOLDER / "forecast_scores.json"
MARKERS, MEAN_MARKERS = (
    (f"<!-- {name}: begin -->", f"<!-- {name}: end -->") for name in ("benchmark", "benchmark means")
)
DIGITS = 4
# Shown task by task, and kept with all of SCORES; of other predictors the scores in MAIN_SCORES are kept.
SHOWN = (PRIMARY, "best_statistic", "last_loss")
MAIN_SCORES = (RANKING, "brier_skill")
SCORES = (
    *MAIN_SCORES,
    "calibration_slope",
    "debiased_error",
    "concordance",
    "concordance_converged",
    "coverage",
)

Row = Mapping[str, Any]


def main() -> None:
    """Keep the rows of a results folder, and write the tables of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="results of `seedbed benchmark`")
    folder: Path | None = parser.parse_args().folder
    if folder is not None:
        rows = json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))
        kept = [row for row in rows if row["row"] in (SCORES if row["predictor"] in SHOWN else MAIN_SCORES)]
        lines = ",\n".join(json.dumps(_rounded(row)) for row in kept)
        KEPT.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), read(KEPT)), encoding="utf-8")


def with_table(text: str, rows: Sequence[Row]) -> str:
    """The page with the tables of these rows between their markers."""
    return between(between(text, MEAN_MARKERS, mean_lines(rows)), MARKERS, table_lines(rows))


def mean_lines(rows: Sequence[Row]) -> list[str]:
    """Means over tasks of AUROC between seeds of one setting: a line for each predictor, a column for each window."""
    means = task_means(map(BenchmarkRow.from_json, rows), RANKING)
    windows = sorted({window for _, window in means})
    lines = ["| | " + " | ".join(f"{window:.0%}" for window in windows) + " |", "|---|" + "---|" * len(windows)]
    for name in dict.fromkeys(name for name, _ in means):
        lines.append(f"| {name} | " + " | ".join(means[name, window].text() for window in windows) + " |")
    return lines


def table_lines(rows: Sequence[Row]) -> list[str]:
    """AUROC between seeds of one setting: a line for each task and predictor, a column for each window."""
    ranking = [row for row in rows if row["row"] == RANKING]
    windows = sorted({row["window"] for row in ranking})
    found = {(row["task"], row["predictor"], row["window"]): row for row in ranking}
    lines = [
        "| task (test runs) | | " + " | ".join(f"{window:.0%}" for window in windows) + " |",
        "|---|---|" + "---|" * len(windows),
    ]
    for task in dict.fromkeys(row["task"] for row in ranking):
        size = max(row["n"] for row in ranking if row["task"] == task)
        for place, predictor in enumerate(SHOWN):
            cells = [_cell(found.get((task, predictor, window))) for window in windows]
            lines.append(f"| {f'{task} ({size})' if not place else ''} | {predictor} | {' | '.join(cells)} |")
        ceilings = [found.get((task, PRIMARY, window), {}).get("ceiling") for window in windows]
        if any(ceiling is not None for ceiling in ceilings):
            cells = ["" if ceiling is None else short(ceiling, 3) for ceiling in ceilings]
            lines.append(f"| | attainable | {' | '.join(cells)} |")
    return lines


def _cell(row: Row | None) -> str:
    return "" if row is None else BenchmarkRow.from_json(row).estimate.text()


def _rounded(row: Row) -> dict[str, Any]:
    """Without what is undefined or costs nothing, so that the file stays small."""
    known = {name: value for name, value in row.items() if value is not None and (name != "extra_compute" or value)}
    return {name: round(value, DIGITS) if isinstance(value, float) else value for name, value in known.items()}


if __name__ == "__main__":
    main()
