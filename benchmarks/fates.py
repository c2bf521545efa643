"""`make benchmark`: keeps the scores of a run of `seedbed benchmark`, and writes the table in docs/forecasting.md.

    python -m benchmarks.fates results/benchmark

Without a folder the table is made from the kept scores alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.benchmark.halves import RANKING
from analysis.forecasting.evaluation import PRIMARY
from analysis.uncertainty.intervals import Estimate, short
from benchmarks.bench import FOLDER, between, read

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "forecasting.md"
KEPT = FOLDER / "fates.json"
MARKERS = ("<!-- benchmark: begin -->", "<!-- benchmark: end -->")
DIGITS = 4
SHOWN = (PRIMARY, "last_loss")
SCORES = (
    RANKING,
    "brier_skill",
    "calibration_slope",
    "debiased_error",
    "concordance",
    "concordance_converged",
    "coverage",
)

Row = Mapping[str, Any]


def main() -> None:
    """Keep the rows of a results folder, and write the table of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="results of `seedbed benchmark`")
    folder: Path | None = parser.parse_args().folder
    if folder is not None:
        rows = json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))
        lines = ",\n".join(
            json.dumps(_rounded(row)) for row in rows if row["row"] in SCORES and row["predictor"] in SHOWN
        )
        KEPT.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), read(KEPT)), encoding="utf-8")


def with_table(text: str, rows: Sequence[Row]) -> str:
    """The page with the table of these rows between its markers."""
    return between(text, MARKERS, table_lines(rows))


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
    if row is None:
        return ""
    numbers = [float("nan") if row[name] is None else row[name] for name in ("value", "low", "high")]
    return Estimate(*numbers).text()


def _rounded(row: Row) -> dict[str, Any]:
    return {name: round(value, DIGITS) if isinstance(value, float) else value for name, value in row.items()}


if __name__ == "__main__":
    main()
