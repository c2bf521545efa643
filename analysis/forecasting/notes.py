"""What makes forecasts of running runs less trustworthy than their scores say, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.forecasting.fitted import FittedForecasts, values_text
from analysis.forecasting.run_forecasts import ForecastDraft
from analysis.forecasting.transfer import other_question
from analysis.outcomes.outcomes import CENSORED
from analysis.statistics.base import own_statistics


def notes_on_own_sweep(draft: ForecastDraft) -> tuple[str, ...]:
    """Of forecasts by finished runs of their own sweep: own statistics, new settings, and runs that were stopped."""
    history, copies_R, own = draft.history, draft.copies_R, own_statistics()
    notes = [own] if own else []
    forecast, finished = _settings(draft)
    num_new = sum(setting not in finished for setting in forecast)
    if num_new:
        notes.append(
            f"{num_new} of {len(forecast)} forecasts are of settings without a finished run: they rest on other "
            "settings, so runs may be ranked well and probabilities be wrong"
        )
    stopped_R = np.array([end.reason == "stopped" for end in history.ends], dtype=bool)
    if not stopped_R.any():
        return tuple(notes)
    if copies_R is not None and not np.any(copies_R[stopped_R]):
        notes.append(
            f"{stopped_R.sum()} runs were stopped by their forecasts; runs of the control share stand for them"
        )
    else:
        notes.append(
            f"{stopped_R.sum()} runs were stopped: where a rule chose them by their losses, weights do not help"
        )
    return tuple(notes)


def notes_on(draft: ForecastDraft, training: FittedForecasts) -> tuple[str, ...]:
    """Of forecasts by the finished runs of other sweeps: runs that were left out, other settings, another task."""
    return tuple(_notes_on(draft, training))


def _notes_on(draft: ForecastDraft, training: FittedForecasts) -> Iterator[str]:
    history = draft.history
    if training.num_left_out:
        yield f"{training.num_left_out} runs of {training.source} share a seed with runs here and were left out"
    if any(run.rank for run in draft.found.values()):
        for difference in other_question(history, draft.outcomes, training):
            yield f"{difference}: {training.source} ranks runs inside their setting, and its probabilities do not apply"
    forecast, finished = _settings(draft)
    num_new = sum(setting not in training.setting_ids and setting not in finished for setting in forecast)
    if num_new:
        yield (
            f"{num_new} of {len(forecast)} forecasts are of settings that {training.source} does not have: "
            "they rest on other settings, so runs may be ranked well and probabilities be wrong"
        )
    for what, there in (("task", training.task), ("model", training.model)):
        here = values_text(history, f"{what}.name")
        if here != there:
            yield f"{what}: learned from {there}, applied to {here}; ranks need not carry over, and may be backwards"


def _settings(draft: ForecastDraft) -> tuple[list[str], set[str]]:
    """The settings of the runs that have a forecast, one for each, and those that have a finished run."""
    settings = [run.setting_id for run in draft.history.runs]
    finished = {setting for setting, kind in zip(settings, draft.outcomes.kind_R, strict=True) if kind != CENSORED}
    return [settings[r] for r, run in draft.found.items() if not run.problem], finished
