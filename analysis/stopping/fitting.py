"""A policy fitted to finished sweeps: what a rule of `pipeline/stopping` stops runs by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from analysis.outcomes.outcomes import CENSORED, Outcomes
from analysis.predictors.encoding import HyperparameterEncoding
from analysis.stopping.decisions import DecisionWindows
from analysis.stopping.last_values import LastValuesModel
from analysis.stopping.prices import AHEAD_PREFIX
from analysis.stopping.promise import STRICT, Promise
from pipeline.arrays import Bools, Floats
from pipeline.spec.sections import Converged
from pipeline.stopping.policy_file import Policy, PolicyColumn, PolicyWindow
from pipeline.store.history import History


def fit_policy(
    history: History,
    outcomes: Outcomes,
    shares: Sequence[float] | None = None,
    *,
    promise: Promise = STRICT,
    weight_R: Floats | None = None,
    is_free_R: Bools | None = None,
    seed: int = 0,
) -> Policy:
    """The policy fitted to the runs of weight above 0, its threshold calibrated on forecasts of seeds held out in turn.

    Calibrating on forecasts of models that saw four fifths of the runs, for a model that saw all of them, errs on the
    side of losing fewer, since that model ranks better. Of a sweep that ran under such a rule `weight_R` are the
    `stopping_weights`, and `is_free_R` are the control runs: by these alone is calibrated, since the others are those
    that the old rule let pass. Raises ValueError as `stopping_prices` does, and where a run of weight above 0 has no
    outcome.
    """
    if np.any((outcomes.kind_R == CENSORED) & (True if weight_R is None else weight_R > 0)):
        raise ValueError("runs have no outcome and nothing stands for them, so no rule can be calibrated")
    windows = DecisionWindows.of(history, outcomes, shares, weight_R, is_free_R)

    def columns(name: str) -> bool:
        # What is trained ahead beside a sweep is not there while a run trains.
        return not name.startswith(AHEAD_PREFIX)

    everyone_R = np.ones(len(windows.runs), dtype=bool)
    held_out_RW = windows.held_out_RW(everyone_R, columns, seed)
    threshold = windows.threshold(held_out_RW, everyone_R, promise)
    models = windows.fitted(everyone_R, columns)
    criterion = outcomes.criterion
    return Policy(
        source=history.name,
        num_runs=int((windows.weight_R > 0).sum()),
        settings=tuple(sorted({run.setting_id for run in windows.runs})),
        budget=history.budget,
        criterion=Converged(
            metric=criterion.metric,  # type: ignore[arg-type]
            at_most=criterion.at_most,
            at_least=criterion.at_least,
            evaluations=criterion.evaluations,
        ),
        lose_at_most=promise.lose_at_most,
        expect_at_most=promise.expect_at_most,
        is_promised=promise.is_promised,
        num_convergers=threshold.num_convergers,
        num_lost=threshold.num_lost,
        windows=tuple(
            PolicyWindow(
                share=share,
                step=int(step),
                columns=tuple(_columns(model, windows.encodings, history, int(step))),
                intercept=model.intercept,
                threshold=float(level),
            )
            for share, step, model, level in zip(
                windows.shares_W, windows.steps_W, models, windows.thresholds_W(threshold.value), strict=True
            )
        ),
    )


def recorded_last(history: History, metric: str, step: int) -> int | None:
    """The last step up to `step` at which a metric was recorded of most runs in training that have it; None of never.

    Most: a run that diverges is probed where it ends, whatever the grid.
    """
    is_known_RT = np.isfinite(history.values[metric][:, history.steps_T <= step])
    has_any_R = is_known_RT.any(axis=1)
    end_R = np.array([end.step for end in history.ends])
    for t in range(is_known_RT.shape[1])[::-1]:
        alive_R = has_any_R & (end_R >= history.steps_T[t])
        if alive_R.any() and is_known_RT[alive_R, t].mean() > 0.5:
            return int(history.steps_T[t])
    return None


def _columns(
    model: LastValuesModel, encodings: Sequence[HyperparameterEncoding], history: History, step: int
) -> Iterator[PolicyColumn]:
    """The columns that move the forecast; one that was constant has no spread, and says nothing."""
    known = {name: given for encoding in encodings for name, given in _hyperparameter_columns(encoding)}
    scaler = model.scaler
    for f, name in enumerate(model.names_F):
        if np.isfinite(scaler.spread_F[f]) and model.weight_F[f]:
            given: dict[str, Any] = known.get(name, {})
            if name in history.values:
                given = {"source": "metric", "name": name, "at": recorded_last(history, name, step)}
            yield PolicyColumn(
                **given,
                fill=float(scaler.fill_F[f]),
                low=float(scaler.low_F[f]),
                high=float(scaler.high_F[f]),
                mean=float(scaler.mean_F[f]),
                spread=float(scaler.spread_F[f]),
                weight=float(model.weight_F[f]),
            )


def _hyperparameter_columns(encoding: HyperparameterEncoding) -> Iterator[tuple[str, dict[str, Any]]]:
    given = {"source": "hyperparameter", "name": encoding.path, "encoding": encoding.kind}
    names = list(encoding.columns([]))
    levels = encoding.levels or (None,)
    for name, level in zip(names, levels, strict=True):
        yield name, {**given, "level": level}
