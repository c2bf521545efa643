"""Plain-text summary of an analysis: outcomes, then forecasts, a finding per line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from analysis.forecasting.evaluation import PRIMARY, Evaluation, WindowEvaluation
from analysis.forecasting.run_forecasts import RunForecasts
from analysis.forecasting.scoring.score_table import LOSS_BASELINE, TIME_BASELINE
from analysis.outcomes.equal_runs import equal_runs_text
from analysis.outcomes.outcomes import OUTCOME_KINDS, Outcomes, failed_without_outcome
from analysis.summary.in_training import expected_of
from analysis.summary.near import describe_unmet, describe_unscored
from analysis.summary.setting_table import WIDTH, setting_table, wrap
from analysis.summary.settings import SettingSummary, describe_intervals
from analysis.uncertainty.intervals import short
from pipeline.counted import counted
from pipeline.store.computed_by import numerics_text
from pipeline.store.history import History

UNSCORED = (
    "No scores of the predictors: scores say how well runs that converge after a window are told from those that do "
    "not, and at no window are there both among the runs with a known outcome."
)
OF_FITTED = "Intervals are of these fitted forecasts; variation from training them is not included."


def summary_text(
    history: History,
    outcomes: Outcomes,
    settings: tuple[SettingSummary, ...],
    evaluation: Evaluation | None,
    problem: str,
    provenance: Mapping[str, Any],
    forecasts: RunForecasts | None = None,
    *,
    with_scores: bool = False,
    width: int = WIDTH,
) -> str:
    """Outcomes, one line per setting; one line per window on its forecasts; then what the figures mean.

    Every undefined figure reads `n/a`. `forecasts` are of the runs in training. Lines have at most `width` columns.
    With scores a table per window of every predictor follows, up to 100 columns wide.
    """
    told = partial(wrap, width=width)
    counts = ", ".join(f"{outcomes.count(kind)} {kind}" for kind in OUTCOME_KINDS)
    lines = [
        *told(f"{history.name}: {counted(len(history.runs), 'run')} of {counted(len(settings), 'setting')}, {counts}"),
        *setting_table(settings, width=width),
        *(told(unmet) if (unmet := describe_unmet(history, outcomes)) else []),
        *([] if forecasts is None else told(_in_training(forecasts))),
        "",
        *(told(f"No forecasts: {problem}") if evaluation is None else finding_lines(evaluation, width)),
        "",
        *told(f"Converged means {outcomes.criterion}; the budget is {history.budget} steps."),
        *(line for sentence in describe_intervals(settings) for line in told(sentence)),
        *(line for sentence in _shared_notes(evaluation) for line in told(sentence)),
        *(told(describe_forks(history)) if describe_forks(history) else []),
        *(told(describe_failed(history, outcomes)) if describe_failed(history, outcomes) else []),
        *told(describe_provenance(provenance)),
        *(line for note in provenance_notes(provenance) for line in told(note)),
    ]
    if with_scores and evaluation is not None:
        lines += ["", *_score_lines(evaluation, width)]
    return "\n".join(line.rstrip() for line in lines)


def _shared_notes(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return []
    unscored = describe_unscored(evaluation)
    return [*(f"Note: {sentence}." for sentence in evaluation.notes), *([unscored] if unscored else []), OF_FITTED]


def finding_lines(evaluation: Evaluation, width: int = WIDTH) -> list[str]:
    """How well the forecasts from each window tell the seeds of a setting apart, beside the last loss: a line each."""
    lines = wrap(f"AUROC between left-out seeds of a setting: {PRIMARY}, beside {LOSS_BASELINE} alone", width)
    for window in evaluation.windows:
        lines += wrap(f"  {_finding(window)}", width, indent="    ")
    return lines


def _finding(window: WindowEvaluation) -> str:
    share = f"first {100 * window.fraction:.3g}%" if window.fraction else "initialisation"
    head = f"{share} (step {window.last_step}), {window.num_at_risk} runs: "
    if window.problem:
        return f"{head}n/a: {window.problem}"
    figures = [window.scores[name].auroc_within.text() for name in (PRIMARY, LOSS_BASELINE) if name in window.scores]
    return head + ", beside ".join(figures or ["n/a"]) + describe_cost(window.extra_compute)


def describe_cost(extra_compute: float) -> str:
    """What look-aheads cost, to stand behind a score that they have part in; empty where there are none.

    >>> describe_cost(0.05)
    ", with look-aheads that cost 5.0% of a run's training more"
    """
    return f", with look-aheads that cost {extra_compute:.1%} of a run's training more" if extra_compute else ""


def _in_training(forecasts: RunForecasts) -> str:
    """How many of the runs in training are expected to converge, and what that rests on."""
    told = f"{expected_of(forecasts)}. {'. '.join(forecasts.sentences())}."
    return f"In training: {counted(len(forecasts.runs), 'run')}; {told}"


def describe_provenance(provenance: Mapping[str, Any]) -> str:
    """`sweep_id abc, commit 0123...-dirty`, as far as known, the commit whole; of each source where there are several.

    >>> describe_provenance({"sources": {"a": {"sweep_id": "x", "git_commit": "1"}, "b": {"sweep_id": "y"}}})
    'a: sweep_id x, commit 1; b: sweep_id y, commit unknown'
    """
    if provenance.get("sources"):
        return "; ".join(f"{name}: {describe_provenance(of_one)}" for name, of_one in provenance["sources"].items())
    sweep_id = [f"sweep_id {provenance['sweep_id']}"] if provenance.get("sweep_id") else []
    several = f" (computed by {provenance['num_sources']} versions of the code)" if "num_sources" in provenance else ""
    return ", ".join([*sweep_id, f"commit {provenance.get('git_commit') or 'unknown'}{several}"])


def provenance_notes(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences on the runs of an analysis: how many equal others, and under which numerics, where these differ."""
    num_equal, by_numerics = provenance.get("num_equal_runs", 0), provenance.get("runs_by_numerics", {})
    equal = (f"{equal_runs_text(num_equal)}.",) if num_equal else ()
    return (*equal, numerics_text(by_numerics)) if by_numerics else equal


def describe_forks(history: History) -> str:
    """How many runs are forks, and made at which steps; empty without forks."""
    steps = [run.fork_step for run in history.runs if run.fork_step is not None]
    if not steps:
        return ""
    at = sorted(set(steps))
    are = "is a fork" if len(steps) == 1 else "are forks"
    return (
        f"{counted(len(steps), 'run')} {are}, made at {'step' if len(at) == 1 else 'steps'} {', '.join(map(str, at))}"
    )


def describe_failed(history: History, outcomes: Outcomes) -> str:
    """How many runs failed, how they count, and how much that can matter; empty without any."""
    num_failed = sum(end.reason == "failed" for end in history.ends)
    if not num_failed:
        return ""
    num_unknown, num_runs = int(failed_without_outcome(history, outcomes).sum()), len(history.runs)
    count_as = "all of them had an outcome before, which counts"
    if num_unknown:
        most = f"{num_unknown / num_runs:.2g}"
        count_as = f"{num_unknown} of them, without an outcome, are censored at their last step; whatever would have "
        count_as += f"become of them, the share of all runs that converge differs by {most} at most"
    return f"{counted(num_failed, 'run')} failed by an error: {count_as}"


def describe_evaluation(evaluation: Evaluation) -> list[str]:
    """Sentences on how the forecasts were made and scored, for the summary and the report alike."""
    return [
        f"Predictors see the window alone and are fitted on other seeds: {evaluation.held_out}.",
        *(f"Note: {sentence}." for sentence in evaluation.notes),
        f"In brackets: 95% over {evaluation.bootstrap} resamples of {evaluation.unit}.",
        OF_FITTED,
        "AUROC counts pairs inside a fold; 'in setting' also inside a setting, weighted by number of pairs.",
        *_of_constant(evaluation),
        f"Skill: share of the Brier score of {evaluation.reference} that is saved.",
        "Slope: of the calibration line, 1 is perfect.",
    ]


def _of_constant(evaluation: Evaluation) -> list[str]:
    """A sentence on the predictors that forecast the same for all runs of a setting, if there are any."""
    found = []
    for name in evaluation.predictors:
        scored = [window.scores[name].auroc_within for window in evaluation.windows if name in window.scores]
        scored = [estimate for estimate in scored if np.isfinite(estimate.value)]
        if scored and all((each.value, each.low, each.high) == (0.5, 0.5, 0.5) for each in scored):
            found.append(name)
    return [f"{', '.join(found)}: one forecast for all runs of a setting, so AUROC .50."] if found else []


def describe_window(window: WindowEvaluation) -> str:
    """What the figures of a window rest on: runs at risk, outcomes, settings, pairs; or why there are none."""
    head = f"window {window.fraction:.3g} (to step {window.last_step}): {window.num_at_risk} at risk"
    if window.num_not_started:
        head += f" ({window.num_not_started} not yet started: forks made later)"
    head += describe_cost(window.extra_compute)
    if window.problem:
        return f"{head}. n/a: {window.problem}"
    unscored = f", {window.num_unscored_folds} fold(s) without training runs" if window.num_unscored_folds else ""
    return (
        f"{head}, {window.num_scored} scored, {window.num_converged} converge (base rate {short(window.base_rate)}), "
        f"{window.num_diverged} diverge; {window.num_settings} settings, {window.num_mixed_settings} mixed; "
        f"{window.pairs_within} pairs in settings, {window.pairs_pooled} in all{unscored}"
        f"{'. ' + window.note if window.note else ''}"
    )


def score_text(evaluation: Evaluation, window: WindowEvaluation, predictor: str, score: str) -> str:
    """One figure with its interval; a dash where a baseline would be held against itself."""
    if (score, predictor) in (("auroc_gain", LOSS_BASELINE), ("brier_skill", evaluation.reference)) or (
        score == "integrated_brier_skill" and predictor == TIME_BASELINE
    ):
        return "-"
    estimate = getattr(window.scores[predictor], score)
    return short(estimate.value) if score in ("calibration_error", "debiased_error") else str(estimate.text())


def _score_lines(evaluation: Evaluation, width: int) -> list[str]:
    if not any(window.has_both for window in evaluation.windows):
        return wrap(UNSCORED, width)
    lines = wrap("Forecasts of convergence by the budget. " + " ".join(describe_evaluation(evaluation)), width)
    for window in evaluation.windows:
        lines += ["", *wrap(describe_window(window), width)]
        if not window.has_both:
            continue
        lines.append(_row("", "AUROC in setting", "AUROC", "Brier", "skill", "slope"))
        lines += [_predictor_line(evaluation, window, name) for name in evaluation.predictors]
        if {PRIMARY, LOSS_BASELINE} <= set(evaluation.predictors):
            lines.append(f"  AUROC in setting, {PRIMARY} less {LOSS_BASELINE}: {_gain_text(window)}")
    return lines


def _gain_text(window: WindowEvaluation) -> str:
    gain = window.scores[PRIMARY].auroc_gain
    return ("+" if np.isfinite(gain.value) and gain.value >= 0 else "") + gain.text()


def _predictor_line(evaluation: Evaluation, window: WindowEvaluation, name: str) -> str:
    scores = window.scores[name]
    return _row(
        name,
        scores.auroc_within.text(),
        short(scores.auroc_pooled.value),
        short(scores.brier.value),
        score_text(evaluation, window, name, "brier_skill"),
        scores.calibration_slope.text(),
    )


def _row(name: str, within: str, pooled: str, brier: str, skill: str, slope: str) -> str:
    return f"  {name:<21.21}{within:<17}{pooled:<6}{brier:<6}{skill:<23}{slope}"
