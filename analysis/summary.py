"""The analysis as text for a terminal, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from analysis.evaluation import Evaluation, WindowEvaluation
from analysis.intervals import short

if TYPE_CHECKING:
    from analysis.analyse import Analysis, SettingSummary

WIDTH = 100
LABEL_WIDTH = 38


def summary_text(analysis: Analysis) -> str:
    """Sweep, one line per setting, and one table per window; every undefined figure reads `n/a`."""
    lines = [*_head(analysis), "", *_setting_lines(analysis), ""]
    if analysis.evaluation is None:
        lines += _wrap(f"No forecasts: {analysis.problem}")
    else:
        lines += _forecast_lines(analysis.evaluation)
    return "\n".join(line.rstrip() for line in lines)


def describe_provenance(analysis: Analysis) -> str:
    """`sweep_id abc, commit 1234567`, as far as known; a commit is cut to 12 characters."""
    parts = []
    if analysis.provenance.get("sweep_id"):
        parts.append(f"sweep_id {analysis.provenance['sweep_id']}")
    parts.append(f"commit {str(analysis.provenance.get('git_commit') or 'unknown')[:12]}")
    return ", ".join(parts)


def _head(analysis: Analysis) -> list[str]:
    counts = ", ".join(
        f"{analysis.outcomes.count(kind)} {kind}" for kind in ("converged", "diverged", "unconverged", "censored")
    )
    num_runs, num_settings = len(analysis.history.runs), len(analysis.settings)
    return [
        *_wrap(f"{analysis.history.name}: {num_runs} run(s) of {num_settings} setting(s), {counts}"),
        *_wrap(f"converged means {analysis.outcomes.criterion}; budget {analysis.history.budget} steps"),
        *_wrap(describe_provenance(analysis)),
    ]


def _setting_lines(analysis: Analysis) -> list[str]:
    header = (
        f"{'setting':<{LABEL_WIDTH}} {'runs':>5}  {'converged':<18}{'diverged':>8} {'censored':>8} {'half by step':>13}"
    )
    lines = [header, *(line for setting in analysis.settings for line in _setting_rows(setting))]
    lines += _wrap("In brackets: 95% Wilson intervals. Half by step: when half of the runs had converged.")
    if any(setting.is_estimated for setting in analysis.settings):
        lines += _wrap("*: some runs are censored; Aalen-Johansen estimate with a bootstrap band over init seeds.")
    return lines


def _setting_rows(setting: SettingSummary) -> list[str]:
    """One line, and further ones where the label is too long for its column: settings must stay tellable apart."""
    share = setting.converged.text() + ("*" if setting.is_estimated else "")
    first, *rest = textwrap.wrap(setting.label, LABEL_WIDTH, subsequent_indent="  ") or [""]
    figures = f"{setting.num_runs:>5}  {share:<18}{setting.num_diverged:>8} {setting.num_censored:>8}"
    return [f"{first:<{LABEL_WIDTH}} {figures} {short(setting.half_by, 0):>13}", *rest]


def _forecast_lines(evaluation: Evaluation) -> list[str]:
    lines = _wrap(
        f"Forecasts of convergence by the budget, on held-out seeds ({evaluation.held_out}). In brackets: 95% over "
        f"{evaluation.bootstrap} resamples of init seeds. AUROC counts pairs inside a fold; 'in setting' also inside "
        "a setting, weighted by number of pairs. Skill: Brier score saved against hyperparameters_only."
    )
    for window in evaluation.windows:
        lines += ["", *_wrap(describe_window(window)), _row("", "AUROC in setting", "AUROC", "Brier", "skill", "ECE")]
        lines += [_predictor_line(window, name) for name in evaluation.predictors]
    return lines


def describe_window(window: WindowEvaluation) -> str:
    """What the figures of a window rest on: runs at risk, outcomes, settings, pairs."""
    unscored = f", {window.num_unscored_folds} fold(s) without training runs" if window.num_unscored_folds else ""
    return (
        f"window {window.fraction:.3g} (to step {window.last_step}): {window.num_at_risk} at risk, "
        f"{window.num_censored} of them censored and left out; {window.num_scored} scored, "
        f"{window.num_converged} converge (base rate {short(window.base_rate)}), {window.num_diverged} diverge; "
        f"{window.num_settings} settings, {window.num_mixed_settings} mixed; {window.pairs_within} pairs in settings, "
        f"{window.pairs_pooled} in all{unscored}"
    )


def _predictor_line(window: WindowEvaluation, name: str) -> str:
    scores = window.scores[name]
    return _row(
        name,
        scores.auroc_within.text(),
        scores.auroc_pooled.text(),
        scores.brier.text(),
        scores.brier_skill.text(),
        short(scores.calibration_error.value),
    )


def _row(name: str, within: str, pooled: str, brier: str, skill: str, error: str) -> str:
    return f"  {name:<22.22}{within:<18}{pooled:<17}{brier:<17}{skill:<19}{error:>5}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=True) or [""]
