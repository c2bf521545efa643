"""Measures on Zhao (2023): criterion, budgets, accuracies, phase changes, head formation, fork agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.dynamics.fork_fates import ForkFates, fork_fates
from analysis.dynamics.phases import PhaseChanges, find_phase_changes, smooth_surrogates
from analysis.dynamics.stages import StageOrder, crossed_for_good, stage_order
from analysis.forecasting.evaluation import evaluate
from analysis.forecasting.scoring.score_table import LOSS_BASELINE, ForecastScores
from analysis.outcomes.outcomes import CONVERGED, UNCONVERGED, Outcomes, at_risk, decide_outcomes
from analysis.outcomes.subsets import evaluated_every, some_runs, within
from analysis.predictors.base import PREDICTORS
from pipeline.arrays import Floats
from pipeline.spec.criterion import Criterion
from pipeline.store.history import History

# Two evaluations, 100 steps apart: a sweep's evaluations in between are ignored.
EVALUATED_EVERY = 100
CRITERION = Criterion("label_accuracy", at_least=0.99, evaluations=2)
LAST_EVALUATIONS = 2
SETTING_A = "setting A, 8 keys and heads of width 4"
# Setting A at the first has mixed outcomes; at the second almost all runs have converged.
MIXED_BUDGET, LARGE_BUDGET = 1200, 2700
PREVIOUS_TOKEN, INDUCTION = "previous_token_score.l0h0", "induction_score.l1h0"
STAGE, OTHER_LEVELS = 0.5, (0.3, 0.7, 0.8)
# The accuracy of predicting label frequencies is .44 in setting A: a run that ends below this has not jumped.
STILL_LOW = 0.6
# Share of the mixed budget, and the step from which the previous-token score predicted the time.
EARLY_WINDOW, EARLY_STEP = 0.25, 400
# The predictor that the claims were judged by.
FORECASTER = "logistic"


def outcomes_of(history: History, budget: int | None = None, criterion: Criterion = CRITERION) -> Outcomes:
    """Outcomes of the runs by `budget` (default: the sweep's own), from evaluations 100 steps apart."""
    return decide_outcomes(
        evaluated_every(history if budget is None else within(history, budget), EVALUATED_EVERY), criterion
    )


def last_accuracies(history: History) -> Floats:
    """(R, LAST_EVALUATIONS) test accuracy at each run's last evaluations; NaN where a run has fewer."""
    accuracy_RT = evaluated_every(history, EVALUATED_EVERY).values["label_accuracy"]
    found_RE = np.full((len(accuracy_RT), LAST_EVALUATIONS), np.nan)
    for r, accuracy_T in enumerate(accuracy_RT):
        last = accuracy_T[np.isfinite(accuracy_T)][-LAST_EVALUATIONS:]
        found_RE[r, : len(last)] = last
    return found_RE


def head_width_R(history: History) -> Floats:
    """(R,) width of the heads of each run."""
    return np.array([run.hyperparameters["model.head_width"] for run in history.runs], dtype=np.float64)


def head_widths_of(history: History) -> list[float]:
    """The widths that occur, ascending."""
    return sorted(set(head_width_R(history).tolist()))


def phase_changes(history: History) -> PhaseChanges:
    """The phase change of every run's excess loss; 1 is the loss of predicting label frequencies."""
    return find_phase_changes(history.values["label_excess"], history.steps_T, chance=1.0, floor=0.0)


def smooth_changes(history: History, seed: int = 0) -> PhaseChanges:
    """The same of smooth curves: each run's best smooth fit, with noise like its own."""
    surrogate_RT = smooth_surrogates(history.values["label_excess"], history.steps_T, chance=1.0, floor=0.0, seed=seed)
    return find_phase_changes(surrogate_RT, history.steps_T, chance=1.0, floor=0.0)


def unconverged(history: History) -> History:
    """The runs that reached the budget without converging."""
    return some_runs(history, outcomes_of(history).is_kind_R(UNCONVERGED))


def converged(history: History) -> History:
    """The runs that converged."""
    return some_runs(history, outcomes_of(history).is_kind_R(CONVERGED))


def value_at(history: History, metric: str, step: int) -> Floats:
    """(R,) a metric at one step; NaN where it was not measured there."""
    at_T = history.steps_T == step
    if metric not in history.values or not at_T.any():
        return np.full(len(history.runs), np.nan)
    return np.asarray(history.values[metric][:, at_T][:, 0])


def early_scores(history: History) -> tuple[Mapping[str, ForecastScores], int, str]:
    """Scores of forecasts of convergence by the mixed budget, from its first quarter; runs scored; a note on them."""
    cut = within(history, MIXED_BUDGET)
    predictors = {name: PREDICTORS[name]() for name in (FORECASTER, LOSS_BASELINE, "setting_rate")}
    evaluation = evaluate(cut, outcomes_of(cut), (EARLY_WINDOW,), predictors)
    (window,) = evaluation.windows
    if window.problem:
        raise UndecidedError(window.problem)
    note = (
        f"At step {window.last_step} of {MIXED_BUDGET}: {window.num_scored} runs at risk, of which "
        f"{window.num_converged} converge; {window.pairs_within} pairs; {evaluation.held_out}; AUROC "
        f"{', '.join(f'{name} {scores.auroc_within.text()}' for name, scores in window.scores.items())}."
    )
    return window.scores, window.num_scored, note


def fates_of(sweeps: Sweeps, budget: int, kind: str | None = None) -> ForkFates:
    """Outcomes of the forks of setting A and of their parents within `budget`, as `fates_in` gives them."""
    return fates_in(sweeps["forks"].history, sweeps["fork_parents"].history, budget, kind)


def fates_in(forks: History, parents: History, budget: int, kind: str | None = None) -> ForkFates:
    """Outcomes of forks and of their parents within `budget`.

    For each fork step only forks of parents at risk there, that is not yet converged, and, if `kind` is given, only of
    parents with that outcome. Agreement with an unrelated run is computed among the parents at risk.
    """
    forks, parents = within(forks, budget), within(parents, budget)
    outcomes = outcomes_of(parents)
    step_N = np.array([run.fork_step for run in forks.runs], dtype=np.float64)
    found = []
    for step in np.unique(step_N):
        own, risk = some_runs(forks, step_N == step), some_runs(parents, at_risk(outcomes, step))
        found.append(fork_fates(own.runs, outcomes_of(own), risk.runs, outcomes_of(risk)))
    kind_of = dict(zip((run.run_id for run in parents.runs), outcomes.kind_R.tolist(), strict=True))
    keep_N = np.array([kind in (None, kind_of[str(run.parent)]) for each in found for run in each.forks], dtype=bool)
    return ForkFates(
        tuple(run for run, keep in zip((run for each in found for run in each.forks), keep_N, strict=True) if keep),
        np.concatenate([each.step_N for each in found])[keep_N],
        np.concatenate([each.agrees_N for each in found])[keep_N],
        np.concatenate([each.by_chance_N for each in found])[keep_N],
        sum(each.num_unknown for each in found),
    )


@dataclass(frozen=True)
class HeadSteps:
    """The first measured step from which each run's score stays at `level` or above; NaN where it does not."""

    level: float
    previous_token_R: Floats
    induction_R: Floats


def head_steps(history: History, level: float = STAGE) -> HeadSteps:
    """When the previous-token head of layer 1 and the induction head of layer 2 have formed."""
    criterion = Criterion(at_least=level, evaluations=2)
    steps = [
        crossed_for_good(history.values[m], history.steps_T, criterion).upper_R for m in (PREVIOUS_TOKEN, INDUCTION)
    ]
    return HeadSteps(level, *steps)


def order_by_own_rise(history: History, fraction: float = STAGE) -> StageOrder:
    """Which head first completes this fraction of its own rise, from its first score to its last, among converged runs.

    An order at one level for both scores depends on where each begins and ends; this one does not.
    """
    history = converged(history)
    criterion = Criterion(at_least=fraction, evaluations=2)

    def came(metric: str) -> Floats:
        score_RT = history.values[metric]
        first_R1, last_R1 = (_ends(score_RT)[:, [end]] for end in (0, 1))
        return crossed_for_good((score_RT - first_R1) / (last_R1 - first_R1), history.steps_T, criterion).upper_R

    return stage_order(came(PREVIOUS_TOKEN), came(INDUCTION), history.runs)


def _ends(values_RT: Floats) -> Floats:
    """(R, 2) the first and the last recorded value; NaN where there is none."""
    found_R2 = np.full((len(values_RT), 2), np.nan)
    for r, values_T in enumerate(values_RT):
        seen = values_T[np.isfinite(values_T)]
        if len(seen):
            found_R2[r] = seen[[0, -1]]
    return found_R2


def order_of_heads(history: History, level: float = STAGE) -> StageOrder:
    """Which of the two heads forms first."""
    found = head_steps(history, level)
    return stage_order(found.previous_token_R, found.induction_R, history.runs)
