"""The analysis of a sweep: outcomes, incidence per setting, and forecasts, from its history alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from analysis.forecasting.evaluation import PRIMARY, Evaluation, WindowEvaluation, evaluate
from analysis.forecasting.folds import held_out_seeds
from analysis.forecasting.live import forecast_running
from analysis.forecasting.run_forecasts import RunForecasts
from analysis.outcomes.incidence import Incidence, incidence
from analysis.outcomes.outcomes import DEFAULT_CRITERION, Outcomes, decide_outcomes
from analysis.outcomes.settings import runs_by_setting
from analysis.predictors.base import Predictor
from analysis.summary.setting_table import WIDTH
from analysis.summary.settings import SettingSummary, summarise_settings
from analysis.summary.text import OF_FITTED, summary_text
from analysis.uncertainty.intervals import json_safe
from pipeline.arrays import Floats
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History


@dataclass(frozen=True)
class Analysis:
    """Everything that the summary, the figures and the report show.

    `incidence` is by setting_id. `evaluation` is None where forecasts cannot be scored, and `problem` then says why.
    `provenance` says where the history came from; `git_commit` and `sweep_id` are printed on every figure.
    `forecasts` are of the runs in training, None without any; `ceiling` has a row (`WindowCeiling.to_json`) for each
    window at which the best possible forecast was measured, if it was.
    """

    history: History
    outcomes: Outcomes
    settings: tuple[SettingSummary, ...]
    incidence: Mapping[str, Incidence]
    evaluation: Evaluation | None
    problem: str
    provenance: Mapping[str, Any]
    forecasts: RunForecasts | None = None
    ceiling: tuple[Mapping[str, Any], ...] = ()

    def summary(self, with_scores: bool = False, width: int = WIDTH) -> str:
        """The analysis as text, at most `width` columns wide; the score tables of every predictor take up to 100."""
        return summary_text(
            self.history, self.outcomes, self.settings, self.evaluation, self.problem, self.provenance,
            self.forecasts, with_scores=with_scores, width=width,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, text and finite numbers; None where a figure is undefined.

        A run's `p_converged` is the primary predictor's held-out P(converged) at each window of `evaluation`, to four
        digits; None where the run was not scored, and `fold` the fold that it was held out in. `forecasts` are of the
        runs in training.
        """
        outcomes = self.outcomes
        document = {
            "sweep": self.history.name,
            "provenance": dict(self.provenance),
            "criterion": str(outcomes.criterion),
            "budget": self.history.budget,
            "num_runs": len(self.history.runs),
            "num_failed": sum(end.reason == "failed" for end in self.history.ends),
            "settings": [setting.to_json() for setting in self.settings],
            "runs": [
                {"run_id": run.run_id, "outcome": str(kind), "after": lower, "by": upper, "p_converged": list(p_W)}
                | ({} if self.evaluation is None else {"fold": int(self.evaluation.fold_R[r])})
                for r, (run, kind, lower, upper, p_W) in enumerate(zip(
                    self.history.runs, outcomes.kind_R, outcomes.lower_R, outcomes.upper_R, self._held_out_RW(),
                    strict=True,
                ))
            ],
            "evaluation": None if self.evaluation is None else _evaluation_json(self.evaluation),
            "evaluation_problem": self.problem or None,
            "forecasts": None if self.forecasts is None else self.forecasts.to_json(),
            "ceiling": [{name: row[name] for name in row if name != "q"} for row in self.ceiling],
        }  # fmt: skip
        plain = json_safe(document)
        assert isinstance(plain, dict)
        return plain

    def _held_out_RW(self) -> Floats:
        """(R, W) the primary predictor's forecast by models that saw none of the run's seeds; NaN where not scored."""
        windows = () if self.evaluation is None else self.evaluation.windows
        held_out_RW = np.full((len(self.history.runs), len(windows)), np.nan)
        for number, window in enumerate(windows):
            if PRIMARY in window.probability_N:
                held_out_RW[window.scored_R, number] = window.probability_N[PRIMARY].round(4)
        return held_out_RW


def analyse(
    history: History,
    criterion: Criterion = DEFAULT_CRITERION,
    provenance: Mapping[str, Any] | None = None,
    *,
    windows: Sequence[float] | None = None,
    predictors: Mapping[str, Predictor] | None = None,
    seed: int = 0,
    folds: int = 5,
    bootstrap: int = 1000,
    outcomes: Outcomes | None = None,
    copies_R: Floats | None = None,
    ceiling: Sequence[Mapping[str, Any]] = (),
) -> Analysis:
    """Outcomes, incidence and summary per setting, and scored forecasts of a history. Deterministic in `seed`.

    `outcomes`, where they are decided already, take the place of the criterion's. Runs in training are forecast.
    `copies_R` says how many runs each run stands for where a rule stopped some (see `stopping_weights`).
    A sweep whose seeds leave nothing to train on (one run, one init seed) gets no evaluation, and `problem` says so.
    Raises ValueError when the history lacks the criterion's metric, has no run, or a window is not in [0, 1].
    """
    if not history.runs:
        raise ValueError(f"history {history.name!r} holds no run: nothing to analyse")
    outcomes = decide_outcomes(history, criterion) if outcomes is None else outcomes
    by_setting = {
        setting: incidence(outcomes, history.runs, member_R, copies_R=copies_R, bootstrap=bootstrap, seed=seed)
        for setting, member_R in runs_by_setting(history).items()
    }
    settings = summarise_settings(history, outcomes, by_setting, bootstrap, seed)
    evaluation, problem = None, ""
    try:
        held_out_seeds(history.runs, folds, seed)
    except ValueError as error:
        problem = str(error)
    else:
        evaluation = evaluate(
            history, outcomes, windows, predictors, seed=seed, folds=folds, bootstrap=bootstrap, copies_R=copies_R
        )
    forecasts = forecast_running(history, outcomes, windows=windows, copies_R=copies_R, seed=seed, bootstrap=bootstrap)
    return Analysis(
        history, outcomes, settings, by_setting, evaluation, problem, dict(provenance or {}),
        forecasts if forecasts.runs else None, tuple(ceiling),
    )  # fmt: skip


def _evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "primary": PRIMARY,
        "held_out": evaluation.held_out,
        "shared": list(evaluation.shared),
        "own_statistics": evaluation.own_statistics,
        "resampled": evaluation.unit,
        "intervals": OF_FITTED,
        "brier_reference": evaluation.reference,
        "bootstrap": evaluation.bootstrap,
        "windows": [_window_json(window) for window in evaluation.windows],
    }


def _window_json(window: WindowEvaluation) -> dict[str, Any]:
    counts = (
        "fraction last_step num_at_risk num_censored num_not_started problem note num_scored num_converged "
        "num_diverged base_rate num_settings num_mixed_settings pairs_pooled pairs_within num_unscored_folds "
        "extra_compute"
    )
    return {name: getattr(window, name) for name in counts.split()} | {
        "scores": {
            predictor: {field.name: getattr(scores, field.name).to_json() for field in fields(scores)}
            for predictor, scores in window.scores.items()
        },
        "calibration": [
            {"forecast": one.forecast, "share": one.share.to_json(), "num_runs": one.num_runs}
            for one in (window.calibration(PRIMARY) if PRIMARY in window.probability_N else ())
        ],
    }
