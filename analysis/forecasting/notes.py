"""What makes forecasts of running runs less trustworthy than their scores say, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.forecasting.fitted import FittedForecasts, values_text
from analysis.outcomes.outcomes import CENSORED, Outcomes
from pipeline.arrays import Floats
from pipeline.store.history import History


def notes_on_own_sweep(
    history: History, outcomes: Outcomes, copies_R: Floats | None, forecast: Sequence[int]
) -> tuple[str, ...]:
    """Of forecasts of these runs by finished runs of their own sweep: new settings, and runs that were stopped."""
    notes = []
    settings = [run.setting_id for run in history.runs]
    finished = {setting for setting, kind in zip(settings, outcomes.kind_R, strict=True) if kind != CENSORED}
    num_new = sum(settings[r] not in finished for r in forecast)
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


def notes_on(training: FittedForecasts, history: History) -> tuple[str, ...]:
    """Of forecasts by the finished runs of other sweeps: runs that were left out, another task or model."""
    notes = []
    if training.num_left_out:
        notes.append(f"{training.num_left_out} runs of {training.source} share a seed with runs here and were left out")
    for what, there in (("task", training.task), ("model", training.model)):
        here = values_text(history, f"{what}.name")
        if here != there:
            notes.append(f"{what}: learned from {there}, applied to {here}; probabilities need not carry over")
    return tuple(notes)
