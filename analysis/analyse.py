"""The analysis of a sweep: outcomes, incidence per setting, and forecasts, from its history alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from analysis.evaluation import WINDOWS, Evaluation, WindowEvaluation, evaluate
from analysis.folds import held_out_seeds
from analysis.incidence import Incidence, incidence
from analysis.intervals import Estimate, finite, wilson
from analysis.outcomes import DEFAULT_CRITERION, KINDS, Outcomes, decide
from analysis.predictors.base import Predictor
from analysis.settings import members, setting_labels
from analysis.summary import summary_text
from pipeline.criterion import Criterion
from pipeline.history import History


@dataclass(frozen=True)
class SettingSummary:
    """What became of the runs of one setting.

    `converged` is the share that converged by the budget: a Wilson interval where every outcome is known, else the
    Aalen-Johansen estimate at the last step seen with its bootstrap band (`is_estimated`). `half_by` is the first
    evaluation by which at least half of the runs are estimated to have converged, in steps; NaN where that is never.
    """

    setting_id: str
    label: str
    num_runs: int
    num_converged: int
    num_diverged: int
    num_unconverged: int
    num_censored: int
    converged: Estimate
    is_estimated: bool
    half_by: float


@dataclass(frozen=True)
class Analysis:
    """Everything that the summary, the figures and the report show.

    `incidence` is by setting_id. `evaluation` is None where forecasts cannot be scored, and `problem` then says why.
    `provenance` says where the history came from; `git_commit` and `sweep_id` are printed on every figure.
    """

    history: History
    outcomes: Outcomes
    settings: tuple[SettingSummary, ...]
    incidence: Mapping[str, Incidence]
    evaluation: Evaluation | None
    problem: str
    provenance: Mapping[str, Any]

    def summary(self) -> str:
        """The analysis as text, at most 100 columns wide."""
        return summary_text(self)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, text and finite numbers; None where a figure is undefined."""
        outcomes = self.outcomes
        document = {
            "sweep": self.history.name,
            "provenance": dict(self.provenance),
            "criterion": str(outcomes.criterion),
            "budget": self.history.budget,
            "num_runs": len(self.history.runs),
            "settings": [_setting_json(setting) for setting in self.settings],
            "runs": [
                {"run_id": run.run_id, "outcome": str(kind), "after": lower, "by": upper}
                for run, kind, lower, upper in zip(
                    self.history.runs, outcomes.kind_R, outcomes.lower_R, outcomes.upper_R, strict=True
                )
            ],
            "forecasts": None if self.evaluation is None else _evaluation_json(self.evaluation),
            "forecast_problem": self.problem or None,
        }
        plain = finite(document)
        assert isinstance(plain, dict)
        return plain


def analyse(
    history: History,
    criterion: Criterion = DEFAULT_CRITERION,
    provenance: Mapping[str, Any] | None = None,
    *,
    windows: Sequence[float] = WINDOWS,
    predictors: Mapping[str, Predictor] | None = None,
    seed: int = 0,
    folds: int = 5,
    bootstrap: int = 200,
) -> Analysis:
    """Judge, count and forecast. Deterministic in `seed`.

    A sweep whose seeds leave nothing to train on (one run, one init seed) gets no evaluation, and `problem` says so.
    Raises ValueError when the history lacks the criterion's metric, has no run, or a window is not in (0, 1].
    """
    if not history.runs:
        raise ValueError(f"history {history.name!r} holds no run: nothing to analyse")
    outcomes = decide(history, criterion)
    init_seed_R = np.array([run.init_seed for run in history.runs], dtype=np.int64)
    by_setting = {
        setting: incidence(outcomes, init_seed_R, member_R, bootstrap=bootstrap, seed=seed)
        for setting, member_R in members(history).items()
    }
    labels = setting_labels(history)
    settings = tuple(
        _summarise(setting, labels[setting], outcomes.kind_R[member_R], by_setting[setting])
        for setting, member_R in members(history).items()
    )
    evaluation, problem = None, ""
    try:
        held_out_seeds(history.runs, folds, seed)
    except ValueError as error:
        problem = str(error)
    else:
        evaluation = evaluate(history, outcomes, windows, predictors, seed=seed, folds=folds, bootstrap=bootstrap)
    return Analysis(history, outcomes, settings, by_setting, evaluation, problem, dict(provenance or {}))


def _summarise(setting: str, label: str, kind_N: np.ndarray, curves: Incidence) -> SettingSummary:
    converged, diverged, unconverged, censored = (int((kind_N == kind).sum()) for kind in KINDS)
    share = wilson(converged, len(kind_N))
    if censored:
        share = Estimate(float(curves.converged_T[-1]), float(curves.low_T[-1]), float(curves.high_T[-1]))
    # 1e-9: sums of products such as 1/3 + 1/6 may fall a rounding error short of one half.
    reached = np.flatnonzero(curves.converged_T >= 0.5 - 1e-9)
    half_by = float(curves.steps_T[reached[0]]) if len(reached) else float("nan")
    return SettingSummary(
        setting, label, len(kind_N), converged, diverged, unconverged, censored, share, censored > 0, half_by
    )


def _setting_json(setting: SettingSummary) -> dict[str, Any]:
    plain = {field.name: getattr(setting, field.name) for field in fields(setting)}
    return plain | {"converged": setting.converged.to_json()}


def _evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "held_out": evaluation.held_out,
        "bootstrap": evaluation.bootstrap,
        "windows": [_window_json(window) for window in evaluation.windows],
    }


def _window_json(window: WindowEvaluation) -> dict[str, Any]:
    counts = (
        "fraction last_step num_at_risk num_censored num_scored num_converged num_diverged base_rate num_settings "
        "num_mixed_settings pairs_pooled pairs_within num_unscored_folds"
    )
    return {name: getattr(window, name) for name in counts.split()} | {
        "scores": {
            predictor: {field.name: getattr(scores, field.name).to_json() for field in fields(scores)}
            for predictor, scores in window.scores.items()
        }
    }
