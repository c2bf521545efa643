"""What forecasts of one task say of another, as it is kept, and the tables of docs/forecast_scores.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.uncertainty.intervals import Estimate, short
from benchmarks.bench import FOLDER, between

PAGE = Path(__file__).parents[2] / "docs" / "forecast_scores.md"
KEPT = FOLDER / "transfer.json"
OTHERS, WHOLE_TASK = "all other tasks", "all sweeps of its task"
_RANKS, _AFTER = ((f"<!-- {name}: begin -->", f"<!-- {name}: end -->") for name in ("transfer", "adapted"))
_KEY = ("window", "units", "source")
_CELLS = ("n", "columns", "agreement", "given", "value", "low", "high")
_DIGITS = 3

Row = dict[str, Any]


def kept_document(rows: Sequence[Row], targets: Sequence[str]) -> dict[str, Any]:
    """The rows as they are kept: of AUROCs one for each window, unit and source, with a number for each target."""
    lines: dict[tuple[Any, ...], Row] = {}
    for row in (row for row in rows if row["row"] == "auroc"):
        key = tuple(row[name] for name in _KEY)
        line = lines.setdefault(key, dict(zip(_KEY, key, strict=True)))
        for name in _CELLS:
            line.setdefault(name, [None] * len(targets))[targets.index(row["target"])] = _rounded(row.get(name))
    after = [{name: _rounded(value) for name, value in row.items()} for row in rows if row["row"] != "auroc"]
    return {"targets": list(targets), "auroc": list(lines.values()), "after": after}


def kept_text(kept: Mapping[str, Sequence[Any]]) -> str:
    """JSON with a line for each row."""
    parts = [f"{json.dumps(name)}: [\n" + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in kept.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def with_tables_of_transfer(text: str, kept: Mapping[str, Any]) -> str:
    """The page with the tables of these scores between their markers."""
    return between(between(text, _RANKS, list(ranks_lines(kept))), _AFTER, list(after_lines(kept)))


def ranks_lines(kept: Mapping[str, Any]) -> Iterator[str]:
    """AUROC on the test half of each sweep of ranks learned elsewhere: other settings of its task, and other tasks."""
    lines = {(line["units"], line["source"], line["window"]): line for line in kept["auroc"]}
    windows = sorted({line["window"] for line in kept["auroc"]})
    yield "| ranked (test runs) | learned from | " + " | ".join(f"{window:.0%}" for window in windows) + " |"
    yield "|---|---|" + "---|" * len(windows)
    sources = [source for source in dict.fromkeys(line["source"] for line in kept["auroc"]) if source != OTHERS]
    singles = [source for source in sources if source != WHOLE_TASK]
    for place, target in enumerate(kept["targets"]):
        for source in sources:
            if lines["relative", source, windows[0]]["given"][place] and is_other_setting(source, target):
                found = [lines["relative", source, window] for window in windows]
                cells = [_estimate(line, place).text() for line in found]
                yield f"| {target} ({found[0]['n'][place]}) | {source} | {' | '.join(cells)} |"
    others = [_over_others(lines, singles, window) for window in windows]
    yield f"| every sweep | one of another task | {' | '.join(others)} |"
    pooled = [_spread(lines["relative", OTHERS, window]["value"]) for window in windows]
    yield f"| every sweep | {OTHERS} at once | {' | '.join(pooled)} |"


def after_lines(kept: Mapping[str, Any]) -> Iterator[str]:
    """Brier skill after some finished runs, of these alone and with the ranks of another sweep of the task."""
    rows = [row for row in kept["after"] if row["row"] == "skill" and row["model"] != "ranks"]
    found = {(row["target"], row["source"], row["window"], row["num_own"]): row for row in rows}
    columns = sorted({(row["window"], row["num_own"]) for row in rows})
    yield "| sweep | with ranks by | " + " | ".join(f"{window:.0%}, {number} runs" for window, number in columns) + " |"
    yield "|---|---|" + "---|" * len(columns)
    for target in kept["targets"]:
        sources = dict.fromkeys(row["source"] for row in rows if row["target"] == target and row["source"] != OTHERS)
        for source in sources:
            cells = [Estimate(*_numbers(found[target, source, *column])).text() for column in columns]
            yield f"| {target} | {source or 'own runs alone'} | {' | '.join(cells)} |"


def is_other_setting(source: str, target: str) -> bool:
    """Whether the training half of the one sweep has other settings than the test half of the other."""
    return source != target or target.endswith("_settings")


def _over_others(lines: Mapping[tuple[str, str, float], Row], sources: Sequence[str], window: float) -> str:
    found = [lines["relative", source, window] for source in sources]
    cells = [
        (line["value"][place], line["high"][place])
        for line in found
        for place in range(len(line["given"]))
        if not line["given"][place]
    ]
    backwards = sum(high < 0.5 for _, high in cells)
    return f"{_spread([value for value, _ in cells])}; {backwards} of {len(cells)} backwards"


def _spread(values: Sequence[float]) -> str:
    """`.53 (.41 to .62)`: median, least and largest."""
    return f"{short(float(np.median(values)))} ({short(min(values))} to {short(max(values))})"


def _estimate(line: Row, place: int) -> Estimate:
    return Estimate(line["value"][place], line["low"][place], line["high"][place])


def _numbers(row: Row) -> tuple[float, float, float]:
    return row["value"], row["low"], row["high"]


def _rounded(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value
