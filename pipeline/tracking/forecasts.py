"""The newest forecast of a sweep, as rows and summaries of tracked runs carry it. Needs no wandb.

A run's forecast stands in the row of the step that it was made at, or the last one before; a setting's in its last row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.store.stored_forecast import RunProbability
from pipeline.tracking.rows import RUNNING, CommittedProgress, TrackedRow

Numbers = dict[str, float]


def run_forecast_numbers(found: RunProbability) -> Numbers:
    """Forecast of one run; without `forecast/median_step` where that is beyond the budget."""
    numbers = {
        "forecast/p_converged": found.converged,
        "forecast/p_diverged": found.diverged,
        "forecast/window": found.window,
        "forecast/step": float(found.step),
    }
    return numbers if found.median is None else {**numbers, "forecast/median_step": found.median}


def setting_forecast_numbers(
    progress_by_run: Mapping[str, CommittedProgress], probabilities: Mapping[str, RunProbability]
) -> Numbers:
    """Share of a setting's runs that are expected to converge, over those that ended or have a forecast.

    `forecast/num_runs` counts the latter; nothing without any.
    """
    running = {run_id for run_id, progress in progress_by_run.items() if progress.reason == RUNNING}
    expected = [probabilities[run_id].converged for run_id in running & probabilities.keys()]
    if not expected:
        return {}
    num_ended = len(progress_by_run) - len(running)
    num_converged = sum(progress.is_converged for progress in progress_by_run.values() if progress.reason != RUNNING)
    share = (num_converged + sum(expected)) / (num_ended + len(expected))
    return {"forecast/expected_converged_share": share, "forecast/num_runs": float(len(expected))}


def with_numbers(rows: Iterable[TrackedRow], steps: Sequence[int], at: float, numbers: Numbers) -> Iterator[TrackedRow]:
    """The rows, at increasing `steps`, with `numbers` in the last one at or before step `at`; none if all are later."""
    place = max((step for step in steps if step <= at), default=None)
    for step, row in rows:
        yield step, {**row, **numbers} if step == place else row
