"""How good a sweep's forecasts are, by its newest analysis, and how its runs ended: tables for wandb. Needs no wandb.

`seedbed analyse` and `report` write analysis.json. The tables stand in the summary of the sweep's tracked run, where
panels of the workspace find them, and are replaced by those of a later analysis.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.store.shapes import ANALYSIS, misfit
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.labels import groups
from pipeline.tracking.names import AUROC_TABLE, CALIBRATION_TABLE, INTERVAL_TABLE
from pipeline.tracking.progress import CommittedProgress, outcome_of

OUTCOMES = ("converged", "unconverged", "diverged", "censored", "failed", "in training", "waiting")
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Table:
    """Rows of a table by its columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class ForecastQuality:
    """Tables by their names in wandb, of one analysis, with the digest of what it says of forecasts."""

    tables: Mapping[str, Table]
    digest: str

    @staticmethod
    def of(store: SweepStore) -> ForecastQuality | None:
        """By the newest analysis of each of the sweep's budgets; None where none scored a forecast.

        An analysis of other runs, a damaged one, and a link count as none.
        """
        of_budget = {f", budget {budget}": _evaluation(store, budget) for budget in store.budgets}
        by_suffix = of_budget if len(of_budget) > 1 else dict.fromkeys([""], *of_budget.values())
        found = {suffix: one for suffix, one in by_suffix.items() if one is not None}
        scores = tuple(row for suffix, one in found.items() for row in _score_rows(one["windows"], suffix))
        lines = tuple(row for suffix, one in found.items() for row in _interval_rows(one, suffix))
        bins = tuple(row for suffix, one in found.items() for row in _bin_rows(one["windows"], suffix))
        if not scores:
            return None
        tables = {
            AUROC_TABLE: Table(("predictor", "window", "auroc", "low", "high", "runs"), scores),
            INTERVAL_TABLE: Table(("line", "window", "auroc"), lines),
            CALIBRATION_TABLE: Table(("window", "forecast", "share", "low", "high", "runs"), bins),
        }
        return ForecastQuality(tables, sha256(json.dumps([scores, lines, bins]).encode()).hexdigest())


def outcome_table(
    plan: Mapping[str, Any], progress_by_run: Mapping[str, CommittedProgress], distinct: Collection[str]
) -> Table:
    """How many runs of every setting ended how, by the newest commits, a row for each setting; equal runs count once.

    `distinct` are the ids of the runs that are counted.
    """
    counts: dict[str, dict[str, int]] = {}
    for row in (row for row in plan["runs"] if row["run_id"] in distinct):
        progress = progress_by_run.get(row["run_id"])
        outcome = "waiting" if progress is None else (outcome_of(progress) or "in training")
        of_setting = counts.setdefault(row["setting_id"], dict.fromkeys(OUTCOMES, 0))
        of_setting[outcome] += 1
    words = groups(plan)
    rows = tuple((words[setting], *(found[name] for name in OUTCOMES)) for setting, found in counts.items())
    return Table(("setting", *OUTCOMES), rows)


def analysis_stamps(store: SweepStore) -> tuple[int, ...]:
    """When the newest analysis of each budget was written, 0 where there is none: whether there is a newer one."""
    paths = [_path(store, budget) for budget in store.budgets]
    return tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in paths)


def _path(store: SweepStore, budget: int) -> Path:
    return store.folder_of(budget) / "analysis.json"


def _evaluation(store: SweepStore, budget: int) -> Mapping[str, Any] | None:
    path = _path(store, budget)
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return None
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return None
    if misfit(document, ANALYSIS) is not None:
        return None
    known = {row["run_id"] for row in store.plan["runs"]}
    evaluation: Mapping[str, Any] | None = document["evaluation"]
    return evaluation if all(row["run_id"] in known for row in document["runs"]) else None


def _score_rows(windows: Sequence[Mapping[str, Any]], suffix: str) -> list[tuple[Any, ...]]:
    """AUROC between the seeds of a setting, of every predictor that has one, with its 95% interval."""
    return [
        (predictor + suffix, window["fraction"], *scores["auroc_within"], window["num_scored"])
        for window in windows
        for predictor, scores in window["scores"].items()
        if scores["auroc_within"][0] is not None
    ]


def _interval_rows(evaluation: Mapping[str, Any], suffix: str) -> list[tuple[Any, ...]]:
    """AUROC of the primary predictor by window, and the ends of its interval: three lines of one chart."""
    primary = evaluation.get("primary")
    return [
        (line, window, end)
        for predictor, window, *ends, _ in _score_rows(evaluation["windows"], "")
        for line, end in zip((f"{primary}{suffix}", f"95% from{suffix}", f"95% to{suffix}"), ends, strict=True)
        if predictor == primary and end is not None
    ]


def _bin_rows(windows: Sequence[Mapping[str, Any]], suffix: str) -> list[tuple[Any, ...]]:
    return [
        (f"{100 * window['fraction']:.3g}%{suffix}", one["forecast"], *one["share"], one["num_runs"])
        for window in windows
        for one in window.get("calibration", ())
    ]
