"""Held-out forecasts of a sweep's runs, as the newest analysis of its folder keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.arrays import Floats
from pipeline.spec.criteria.judged_by import JudgedBy
from pipeline.store.files import CorruptFileError, read_file
from pipeline.store.sweep_store import SweepStore

# (kind of outcome, the step after which it came, the step by which it did).
OutcomeRow = tuple[str, float, float]


@dataclass(frozen=True)
class HeldOut:
    """P(converged) of R runs at W windows, by models that were fitted to other seeds; NaN where a run was not scored.

    `windows` are (share of the budget, last step) pairs. `folds` has the number of the fold that a run was held out in,
    None in analyses of earlier versions; only the runs of one fold were forecast by the same models. `outcomes` are
    those that the analysis knew, None likewise.
    """

    run_ids: tuple[str, ...]
    windows: tuple[tuple[float, int], ...]
    converged_RW: Floats
    folds: tuple[int | None, ...]
    outcomes: tuple[OutcomeRow | None, ...]
    predictor: str

    def rows(self, known: Mapping[str, OutcomeRow]) -> dict[str, dict[str, Any]]:
        """run_id -> its columns in the table of runs, of the runs whose outcome is still what the analysis knew."""
        return {
            run_id: {"fold": fold}
            | {held_out_column(share): p for (share, _), p in zip(self.windows, p_W.tolist(), strict=True)}
            for run_id, fold, p_W, outcome in zip(
                self.run_ids, self.folds, self.converged_RW, self.outcomes, strict=True
            )
            if outcome is not None and known.get(run_id) == outcome
        }


def held_out_column(share: float) -> str:
    """The column of the forecasts from a window, such as `held_out_0.25`."""
    return f"held_out_{share:g}"


def analysis_folder(store: SweepStore, budget: int, judged: JudgedBy) -> Path:
    """Where the analysis of the runs of this budget by this criterion is written."""
    whole = store.folder if judged.is_own else store.folder / judged.folder
    return whole / store.folder_of(budget).relative_to(store.folder)


def read_held_out(store: SweepStore, budget: int, judged: JudgedBy) -> HeldOut | None:
    """Of the newest analysis by this criterion; None without one, or of one that this version cannot read.

    An analysis may be older than the newest commits.
    """
    try:
        document = json.loads(read_file(analysis_folder(store, budget, judged) / "analysis.json"))
        found = _held_out(document)
        is_by_it = document.get("criterion") in (None, str(judged.criterion))
    except (CorruptFileError, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return found if is_by_it and found.converged_RW.shape == (len(found.run_ids), len(found.windows)) else None


def _held_out(document: Mapping[str, Any]) -> HeldOut:
    evaluation, runs = document["evaluation"], document["runs"]
    return HeldOut(
        tuple(str(run["run_id"]) for run in runs),
        tuple((float(window["fraction"]), int(window["last_step"])) for window in evaluation["windows"]),
        np.array([run["p_converged"] for run in runs], np.float64),
        tuple(None if run.get("fold") is None else int(run["fold"]) for run in runs),
        tuple(_outcome(run) for run in runs),
        str(evaluation.get("primary", "")),
    )


def _outcome(run: Mapping[str, Any]) -> OutcomeRow | None:
    return (str(run["outcome"]), float(run["after"]), float(run["by"])) if "outcome" in run else None
